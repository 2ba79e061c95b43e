"""A stage as a W&B run."""

from pathlib import Path
from typing import Any

from experiments.stages.band_songs import BandSongs
from experiments.stages.folder_songs import FolderSongs
from experiments.stages.own_songs import OwnSongs
from experiments.stages.stage import (
    Stage,
    closure,
    describe,
    expression,
    identity,
    kind,
    trained_seed,
)
from experiments.store import Store
from experiments.tracking.run import Call, Opening, Tracker, flat

LINK = "wandb.json"
"""In a stage's folder: its run's id, and its address when it has one."""


ITERATION = "iteration"
"""Of a run's config: what tables by self-refining iteration are drawn against."""


def start_tracking(
    stage: Stage, groups: list[str], root: Path, tags: list[str], origin: dict[str, Any]
) -> Tracker:
    """A run for `stage`, grouped by the table that needs it first; `origin` says where it runs:
    commit, device and the like. The same stage resumed is the same run."""
    store = Store(root)
    return Tracker(
        Opening(
            id=run_id(stage),
            name=describe(stage),
            kind=kind(stage),
            groups=groups,
            tags=[*tags, f"seed {trained_seed(stage)}"],
            config=config_of(stage, store, origin),
            folder=store.root / "wandb",
            link=store.folder(stage) / LINK,
            show=lambda result: calls_of(stage, store, result),
        )
    )


def run_id(stage: Stage) -> str:
    return f"{kind(stage)}-{identity(stage)}"


def config_of(stage: Stage, store: Store, origin: dict[str, Any]) -> dict[str, Any]:
    """The resolved stage, its identity, its self-refining iteration, the data's fingerprints, and
    where it runs."""
    songs = [
        each for each in closure([stage]) if isinstance(each, BandSongs | FolderSongs | OwnSongs)
    ]
    data = {
        describe(each): identity(each) if isinstance(each, BandSongs) else each.fingerprint
        for each in songs
    }
    return {
        **expression(stage),
        "identity": identity(stage),
        ITERATION: stage.refinements(),
        "data_fingerprint": data,
        "origin": origin,
        "store": str(store.folder(stage)),
    }


def calls_of(stage: Stage, store: Store, result: dict[str, Any]) -> list[Call]:
    """Summary, what there is to see and hear, and lineage; what needs a server's answer last."""

    def content(run: Any) -> None:
        from experiments.tracking.content import content_of

        values = content_of(stage, store, result)
        if values:
            run.log(values)

    def lineage(run: Any) -> None:
        from experiments.tracking.lineage import log_lineage

        log_lineage(run, stage, store)

    return [lambda run: run.summary.update(summary_of(result)), content, lineage]


def summary_of(result: dict[str, Any]) -> dict[str, Any]:
    """A result for a run's summary; what is per track is in a table instead."""
    return flat({key: value for key, value in result.items() if key != "tracks"})
