"""All results that the reports read, in one value. It is collected from a store here, or loaded
from the small files that `python -m reports export` writes (`reports.exported`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.examples import FOLDER as EXAMPLES
from experiments.profiles import Profile, deviations, profile_named
from experiments.rows import Row
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
"""The file that tracking writes into a stage's folder, with the address of its run."""
MOST_SEEDS = 10
"""Number of seeds, from 0, that are looked for in a store."""


@dataclass(frozen=True)
class Record:
    """A finished stage. `inputs` are the identities of its inputs. `run` says where and when it
    ran. `link` is its page at W&B, or ""."""

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
    """All results of one choice of data, profile and test.

    `rows` has the identities of a row's finished stages, one per seed, by `table/row`. `stages` has
    every finished stage that these depend on, by identity.

    Three fields are by identity. `outputs` has a classifier's tests: by test, the truth and the
    outputs, each `(item, class)`. `looks` has a training's scores on validation songs. `examples`
    has the folders of audio examples.

    `test` is "folder" if the rows were tested on a user's own songs. `data_rows` then has the same
    separators tested on the data's own test songs.
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
        """Name of the folder of the reports."""
        return f"{self.data}-{self.profile}{'-on-folder' if self.on_folder else ''}"

    @property
    def test_songs(self) -> str:
        """The songs on which separators are tested, in words, like "36 songs of a folder"."""
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
        """A row's finished stages in the order of seeds. Empty if it was not run."""
        return [self.stages[id] for id in self.rows.get(label, ())]

    def first(self, label: str) -> Record | None:
        """The row's run from the lowest seed, or None."""
        return next(iter(self.runs(label)), None)

    def trained(self, label: str) -> Record | None:
        """The training that a row's first run tests, or None."""
        record = self.first(label)
        if record is None:
            return None
        kinds = ("classifier", "separator")
        return next((each for each in reversed(self.behind(record)) if each.kind in kinds), None)

    def behind(self, record: Record) -> list[Record]:
        """The record and every stage on which it depends, inputs first."""
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
        """Sum of the seconds of all stages."""
        return sum(record.run.get("seconds", 0.0) for record in self.stages.values())


def collect(store: Store, profile: Profile, data: str, test: str = "band") -> Results:
    """Reads every row's finished stages of seeds 0 to 9 from a store. Raises InputError for an
    unknown test, for own songs that cannot be used, and for a damaged stage."""
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
    """The folders of the stages that have a file or folder of this name, by identity."""
    folders = {id: store.root / record.kind / id for id, record in stages.items()}
    return {id: folder for id, folder in folders.items() if (folder / name).exists()}


def finished_rows(
    rows: Mapping[str, tuple[Row, Stage]], store: Store, stages: dict[str, Record]
) -> dict[str, tuple[str, ...]]:
    """The identities of the rows' finished stages, by `table/row`. The stages on which these depend
    are added to `stages`."""
    found: dict[str, tuple[str, ...]] = {}
    for label, (_, stage) in rows.items():
        seeds = dict.fromkeys(seeded(stage, seed) for seed in range(MOST_SEEDS))
        done = [each for each in seeds if store.done(each)]
        found[label] = tuple(identity(each) for each in done)
        # An unfinished row still contributes its finished inputs.
        for each in closure(done or [stage]):
            if identity(each) not in stages and store.done(each):
                stages[identity(each)] = record_of(each, store)
    return found


def record_of(stage: Stage, store: Store) -> Record:
    written = store.record(stage)
    if any((store.folder(stage) / name).exists() for name in (OUTPUTS, LOOKS, EXAMPLES)):
        store.finished(stage)  # refuses files that are not as the stage left them
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
    """The address that tracking wrote into the file at `path`; "" if tracking was off or offline,
    or the file cannot be read."""
    try:
        return str(json.loads(path.read_bytes())["url"] or "")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def outdated(results: Results) -> list[str]:
    """The rows whose results belong to other stages than those in today's registry."""
    try:
        profile = profile_named(results.profile)
        rows = resolved_rows(["*"], profile, results.data, results.test)
    except InputError:  # the songs are not on this machine, so the stages have no identity
        return []
    return [
        label
        for label, (_, stage) in rows.items()
        if (record := results.first(label)) is not None
        and record.id != identity(seeded(stage, record.seed))
    ]
