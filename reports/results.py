"""All that the reports read, in one value. It is collected from a store here, or loaded from the
small files that `python -m reports export` writes (`reports.exported`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.examples import FOLDER as EXAMPLES
from experiments.profiles import Profile, deviations, profile_named
from experiments.registry import Row
from experiments.stages.recognition_outputs import FILE as OUTPUTS
from experiments.stages.recognition_outputs import Tests, read_outputs
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import (
    Stage,
    closure,
    describe,
    identity,
    inputs,
    kind,
    seeded,
    trained_seed,
)
from experiments.store import Store
from experiments.targets import resolved_rows, tests_of
from experiments.trainings.validation import FILE as LOOKS
from experiments.trainings.validation import read_validation
from selfrefine.errors import InputError

LINK = "wandb.json"
"""Tracking's file in a stage's folder, with the address of its run."""
MOST_SEEDS = 10
"""Seeds from 0 that are looked for in a store."""


@dataclass(frozen=True)
class Record:
    """A finished stage. `inputs` are identities; `run` says where and when it ran, `link` is its
    page at W&B, "" without one."""

    id: str
    kind: str
    name: str
    seed: int
    inputs: tuple[str, ...]
    result: dict[str, Any]
    run: dict[str, Any]
    link: str = ""


@dataclass(frozen=True)
class Results:
    """`rows` has by `table/row` the identities of the finished stages, one a seed; `stages` every
    finished stage behind them.

    By identity, `outputs` has what classifiers say of the test items, by test the truth and the
    outputs `(item, class)`; `looks` what trainings reached on validation songs; `examples` the
    folders of sound.

    `test` is "folder" where the rows were tested on a user's own songs. `data_rows` then has the
    same separators tested on the data's own test songs.
    """

    data: str
    profile: str
    meaning: str
    deviations: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    stages: dict[str, Record]
    outputs: dict[str, Tests]
    looks: dict[str, list[dict[str, float]]]
    examples: dict[str, Path]
    test: str = "band"
    data_rows: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def on_folder(self) -> bool:
        return self.test == "folder"

    @property
    def name(self) -> str:
        """Of the folder that reports go to."""
        return f"{self.data}-{self.profile}{'-on-folder' if self.on_folder else ''}"

    @property
    def test_songs(self) -> str:
        """What the separators are tested on, as text: "36 songs of a folder"."""
        if not self.on_folder:
            return "the data's own test songs"
        scores = (each for each in map(self.first, self.rows) if each is not None)
        tracks = (len(each.result["tracks"]) for each in scores if "tracks" in each.result)
        count = next(tracks, None)
        return "songs of a folder" if count is None else f"{count} songs of a folder"

    def on_data(self) -> "Results":
        """The same trainings, tested on the data's own test songs."""
        return replace(self, test="band", rows=self.data_rows, data_rows={})

    def runs(self, label: str) -> list[Record]:
        """A row's finished stages by seed; none when it was not run."""
        return [self.stages[id] for id in self.rows.get(label, ())]

    def first(self, label: str) -> Record | None:
        """The run from the lowest seed."""
        return next(iter(self.runs(label)), None)

    def trained(self, label: str) -> Record | None:
        """The training that a row's first run tests."""
        record = self.first(label)
        if record is None:
            return None
        kinds = ("classifier", "separator")
        return next((each for each in reversed(self.behind(record)) if each.kind in kinds), None)

    def behind(self, record: Record) -> list[Record]:
        """The record and every stage that it was made from, inputs first."""
        found: dict[str, Record] = {}

        def visit(each: Record) -> None:
            for id in each.inputs:
                if id in self.stages and id not in found:
                    visit(self.stages[id])
            found[each.id] = each

        visit(record)
        return list(found.values())

    @cached_property
    def wall_seconds(self) -> float:
        """Of all stages together, as if one had run after another."""
        return sum(record.run.get("seconds", 0.0) for record in self.stages.values())


def collect(store: Store, profile: Profile, data: str, test: str = "band") -> Results:
    """Every row's finished stages of seeds 0 to 9. Raises InputError for a test that is none, and
    for own songs that cannot be used."""
    tests_of(test)
    stages: dict[str, Record] = {}
    rows = finished_rows(resolved_rows(["*"], profile, data, test), store, stages)
    data_rows = {}
    if test == "folder":
        scores = {
            label: (row, stage)
            for label, (row, stage) in resolved_rows(["*"], profile, data).items()
            if isinstance(stage, SeparationScore)
        }
        data_rows = finished_rows(scores, store, stages)
    return Results(
        data,
        profile.name,
        profile.scale.meaning,
        tuple(deviations(profile)),
        rows,
        stages,
        {id: read_outputs(place) for id, place in folders_with(OUTPUTS, stages, store).items()},
        {id: read_validation(place) for id, place in folders_with(LOOKS, stages, store).items()},
        {id: place / EXAMPLES for id, place in folders_with(EXAMPLES, stages, store).items()},
        test,
        data_rows,
    )


def folders_with(name: str, stages: dict[str, Record], store: Store) -> dict[str, Path]:
    """By identity, the folders of the stages that left a file or folder of that name."""
    folders = {id: store.root / record.kind / id for id, record in stages.items()}
    return {id: folder for id, folder in folders.items() if (folder / name).exists()}


def finished_rows(
    rows: Mapping[str, tuple[Row, Stage]], store: Store, stages: dict[str, Record]
) -> dict[str, tuple[str, ...]]:
    """By `table/row`, the identities of the finished stages; `stages` gets all that is behind
    them."""
    found: dict[str, tuple[str, ...]] = {}
    for label, (_, stage) in rows.items():
        seeds = dict.fromkeys(seeded(stage, seed) for seed in range(MOST_SEEDS))
        done = [each for each in seeds if store.done(each)]
        found[label] = tuple(identity(each) for each in done)
        # A row that did not end still shows what came before its end.
        for each in closure(done or [stage]):
            if identity(each) not in stages and store.done(each):
                stages[identity(each)] = record_of(each, store)
    return found


def record_of(stage: Stage, store: Store) -> Record:
    written = store.record(stage)
    return Record(
        identity(stage),
        kind(stage),
        describe(stage),
        trained_seed(stage),
        tuple(identity(needed) for needed in inputs(stage)),
        written["result"],
        written["run"],
        tracking_link(store.folder(stage) / LINK),
    )


def tracking_link(path: Path) -> str:
    """What tracking left beside a result; "" when it was off, offline, or left nothing readable."""
    try:
        return json.loads(path.read_text())["url"] or ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def outdated(results: Results) -> list[str]:
    """Rows whose results are not of the stages that the registry names today."""
    try:
        profile = profile_named(results.profile)
        rows = resolved_rows(["*"], profile, results.data, results.test)
    except InputError:  # the songs are not on this machine, so nothing can be named
        return []
    return [
        label
        for label, (_, stage) in rows.items()
        if (record := results.first(label)) is not None
        and record.id != identity(seeded(stage, record.seed))
    ]
