"""What the command line does: list, plan, run, show."""

import json
import shlex
from pathlib import Path

from experiments.cost import Cost, expected_cost, measured_here
from experiments.counted_gpu import DEVICE, counted_machine, counted_trial
from experiments.data import VALIDATION, bind
from experiments.estimates import estimated_seconds
from experiments.machine import refuse_bad_machine
from experiments.naming import describe
from experiments.profiles import Profile, profile_named, scaled
from experiments.registry import TARGETS, Row, rows_of
from experiments.runner import FOR_WATCHING, machine_here, report_failures, run_missing, tell
from experiments.slots import Machine, Needs, wall_seconds
from experiments.stages import (
    DataSet,
    Stage,
    Trimmed,
    closure,
    expression,
    identity,
    inputs,
    with_seed,
)
from experiments.store import Store
from experiments.validation import needed_to_watch, validation_songs


def resolved(row: Row, profile: Profile, data: str) -> Stage:
    """A row's stage at a scale and on data: what is hashed, stored and run."""
    stage: Stage = bind(scaled(row.stage, profile), data, profile.data)
    return stage


def resolved_rows(names: list[str], profile: Profile, data: str) -> dict[str, tuple[Row, Stage]]:
    """By `table/row`, the rows that targets name and their resolved stages."""
    wanted = {label: row for name in names for label, row in rows_of(name).items()}
    return {label: (row, resolved(row, profile, data)) for label, row in wanted.items()}


def seeded(stage: Stage, seeds: int) -> list[Stage]:
    """A stage once for every seed from 0; equal ones, with no training behind them, once."""
    return list(dict.fromkeys(with_seed(stage, seed) for seed in range(seeds)))


def groups_of(
    names: list[str], profile: Profile, data: str, seeds: int, watching: bool = False
) -> dict[Stage, list[str]]:
    """By stage that targets need, every table and row of the registry that needs it, those asked
    for first: whichever is run first, the stage is found under all. `watching` adds what trainings
    are watched with, in a group of its own first.

    Stages are compared before songs are put in their data sets' places, so that data which only
    other rows need are never looked at, and need not be there.
    """
    asked = {label: row for name in names for label, row in rows_of(name).items()}
    others = {label: row for table in TARGETS for label, row in rows_of(table).items()}
    needed = {
        label: closure(seeded(scaled(row.stage, profile), seeds))
        for label, row in (asked | others).items()
    }
    known: dict[Stage, dict[str, None]] = {}
    for label, stages in needed.items():
        for stage in stages:
            known.setdefault(stage, {}).update(dict.fromkeys((label.split("/")[0], label)))
    wanted = dict.fromkeys(stage for label in asked for stage in needed[label])
    for stage in closure([Trimmed(VALIDATION)]) if watching else []:
        if stage not in wanted:
            wanted[stage] = None
            known[stage] = {FOR_WATCHING: None} | known.get(stage, {})
    groups: dict[Stage, dict[str, None]] = {}
    for stage in wanted:
        bound = bind(stage, data, profile.data)
        # What stands for a data set can be made of songs in turn.
        for each in closure([bound]) if isinstance(stage, DataSet) else [bound]:
            groups.setdefault(each, {}).update(known[stage])
    return {stage: list(found) for stage, found in groups.items()}


def list_targets() -> int:
    for table in TARGETS.values():
        print(f"{table.name} ({len(table.rows)} rows): {table.title}")
        for row in table.rows:
            print(f"  {table.name + '/' + row.name:36s} {', '.join(row.labels)}")
    print("all: the tables and the figure")
    return 0


def plan(
    names: list[str],
    profile_name: str,
    data: str,
    store_path: Path,
    seeds: int,
    gpu: str | None = None,
) -> int:
    """Times are of this machine, or as counted for the GPU named."""
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data)
    store = Store(store_path)
    stages = closure([each for _, stage in rows.values() for each in seeded(stage, seeds)])
    songs = validation_songs(data, profile.data, tell)
    stages += [each for each in needed_to_watch(stages, songs, store) if each not in stages]
    machine = counted_machine(gpu) if gpu else machine_here(None)
    trial_of = counted_trial if gpu else measured_here(store)
    seconds: dict[Stage, float] = {}
    for stage in stages:
        needs = " ".join(identity(needed) for needed in inputs(stage)) or "-"
        state, memory = "done", ""
        if not store.done(stage):
            known = None if gpu else estimated_seconds(stage, store)
            cost = expected_cost(stage, trial_of) if known is None else Cost(known)
            resume = "resume" if store.started(stage) else "to run"
            state, memory = f"{resume} ~{duration(cost.seconds)}", cost.memory
            seconds[stage] = cost.seconds
        print(f"{identity(stage)}  {state:16s} {describe(stage):58s} needs {needs}")
        if memory:
            print(f"{'':14s}{memory}")
    wall = wall_seconds(list(seconds), seconds.__getitem__, store.done, machine, Needs())
    print(
        f"{len(stages)} stages, {len(stages) - len(seconds)} done, about "
        f"{duration(sum(seconds.values()))} of one worker to run, {duration(wall)} on "
        f"{machine_words(machine, gpu)}"
    )
    return 0


def machine_words(machine: Machine, gpu: str | None) -> str:
    cores = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}"
    if gpu:
        return f"{cores} and {DEVICE}"
    return f"{cores} and the GPU" if machine.gpu else cores


def duration(seconds: float) -> str:
    """As is easiest to read: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def run(
    names: list[str],
    profile_name: str,
    data: str,
    store_path: Path,
    seeds: int,
    workers: int | None,
) -> int:
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data)
    store = Store(store_path)
    wanted = [stage for _, target in rows.values() for stage in seeded(target, seeds)]
    if not all(store.done(stage) for stage in closure(wanted)):
        refuse_bad_machine()
    songs = validation_songs(data, profile.data, tell)
    groups = groups_of(names, profile, data, seeds, watching=songs is not None)
    tags = [profile.name, data]
    failures = run_missing(wanted, store, groups, tags, workers, songs)
    if failures:
        again = ["python", "-m", "experiments", "run", *names, "--profile", profile.name]
        again += ["--data", data, "--store", str(store_path)]
        again += ["--seeds", str(seeds)] if seeds != 1 else []
        report_failures(failures, shlex.join(again))
        return 1
    tell(f"{', '.join(names)}: all {len(closure(wanted))} stages are done")
    return 0


def show(names: list[str], profile_name: str, data: str, store_path: Path, seeds: int) -> int:
    profile = profile_named(profile_name)
    store = Store(store_path)
    for label, (row, target) in resolved_rows(names, profile, data).items():
        print(f"{label}: {', '.join(row.labels)}")
        for stage in seeded(target, seeds):
            print(json.dumps(expression(stage), indent=1))
            if store.done(stage):
                print(json.dumps({"id": identity(stage), **store.record(stage)["run"]}, indent=1))
                print(json.dumps(store.result(stage), indent=1))
            else:
                print(f"{identity(stage)}: not run")
    return 0
