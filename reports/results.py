"""All that the reports read, in one value: collected from a store, or loaded from the small files
that `python -m reports export` wrote."""

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments import outputs, validation
from experiments.commands import resolved_rows
from experiments.examples import FOLDER as EXAMPLES
from experiments.naming import describe
from experiments.profiles import Profile, deviations, profile_named
from experiments.stages import Stage, closure, identity, inputs, kind, trained_seed, with_seed
from experiments.store import Store, write_json
from selfrefine.errors import InputError

FORMAT = 1
FILE = "results.json"
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
    finished stage behind them. Their files lie under `root`, as in a store."""

    data: str
    profile: str
    meaning: str
    deviations: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    stages: dict[str, Record]
    root: Path

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

    def folder(self, record: Record) -> Path:
        return self.root / record.kind / record.id

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


def collect(store: Store, profile: Profile, data: str) -> Results:
    """Every row's finished stages of seeds 0 to 9."""
    rows: dict[str, tuple[str, ...]] = {}
    stages: dict[str, Record] = {}
    for label, (_, stage) in resolved_rows(["*"], profile, data).items():
        seeds = dict.fromkeys(with_seed(stage, seed) for seed in range(MOST_SEEDS))
        done = [each for each in seeds if store.done(each)]
        rows[label] = tuple(identity(each) for each in done)
        # A row that did not end still shows what came before its end.
        for each in closure(done or [stage]):
            if identity(each) not in stages and store.done(each):
                stages[identity(each)] = record_of(each, store)
    return Results(
        data,
        profile.name,
        profile.scale.meaning,
        tuple(deviations(profile)),
        rows,
        stages,
        store.root,
    )


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


def export(results: Results, folder: Path, listened: list[str]) -> None:
    """Writes what `load` needs: every result, the classifiers' outputs on the test items, what
    trainings reached on validation songs, and the audio examples of the rows `listened` to."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = [
        (record, outputs.FILE)
        for record in results.stages.values()
        if record.kind == "recognition-outputs"
    ]
    copied += [
        (record, validation.FILE)
        for record in results.stages.values()
        if record.kind in ("classifier", "separator")
    ]
    copied += [
        (record, EXAMPLES) for label in listened if (record := results.first(label)) is not None
    ]
    for record, name in copied:
        source = results.folder(record) / name
        target = folder / record.kind / record.id / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
    written = {name: value for name, value in asdict(results).items() if name != "root"}
    write_json(folder / FILE, {"format": FORMAT, **written})


def load(folder: Path) -> Results:
    """Raises InputError for a folder that `export` did not write."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise InputError(f"{path}: format {found['format']}, this version reads {FORMAT}")
        return Results(
            found["data"],
            found["profile"],
            found["meaning"],
            tuple(found["deviations"]),
            {label: tuple(ids) for label, ids in found["rows"].items()},
            {
                id: Record(**{**record, "inputs": tuple(record["inputs"])})
                for id, record in found["stages"].items()
            },
            folder,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not results as `python -m reports export` writes them ({error})"
        ) from error


def outdated(results: Results) -> list[str]:
    """Rows whose results are not of the stages that the registry names today."""
    try:
        profile = profile_named(results.profile)
        rows = resolved_rows(["*"], profile, results.data)
    except InputError:  # the data is not on this machine, so nothing can be named
        return []
    return [
        label
        for label, (_, stage) in rows.items()
        if (record := results.first(label)) is not None
        and record.id != identity(with_seed(stage, record.seed))
    ]
