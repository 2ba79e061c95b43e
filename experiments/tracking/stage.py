"""Describes a stage as a W&B run."""

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
"""File in a stage's folder with the id of its run, and the run's address if it has one."""


ITERATION = "iteration"
"""Key of a run's config for its self-refining iteration, the x axis of the plots of Tables 4 and
5."""


def start_tracking(
    stage: Stage, groups: list[str], root: Path, tags: list[str], origin: dict[str, Any]
) -> Tracker:
    """Starts the run of `stage`, grouped by the first table that needs it.

    `origin` says where the stage runs: commit, device and so on. A resumed stage continues its run.
    """
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
    """The resolved stage, its identity, its self-refining iteration, the fingerprints of its data,
    its origin and its folder."""
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
    """The calls that send the summary, the content and the lineage. Lineage is last, since it needs
    an answer from the server."""

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
    """A result for a run's summary, without the values per track, which are in a table."""
    return flat({key: value for key, value in result.items() if key != "tracks"})
