"""What the command line does: list, plan, run, show."""

import json
import shlex
from pathlib import Path

from experiments.data import NOISY, TEST, UNCORRUPTED, VALIDATION, bind, can_give
from experiments.engine.cost import Cost, expected_cost, measured_here
from experiments.engine.counted_gpu import DEVICE, counted_machine, counted_trial
from experiments.engine.estimates import estimated_seconds
from experiments.engine.machine import refuse_bad_machine
from experiments.engine.runner import FOR_WATCHING, machine_here, report_failures, run_missing, tell
from experiments.engine.slots import Machine, Needs, wall_seconds
from experiments.naming import describe
from experiments.own_songs import find_own_songs, own_songs
from experiments.profiles import Profile, profile_named, scaled
from experiments.registry import TARGETS, Row, rows_of
from experiments.stages import (
    DataSet,
    Stage,
    Trimmed,
    closure,
    expression,
    identity,
    inputs,
    tested_on,
    with_seed,
)
from experiments.store import Store
from experiments.trainings.validation import needed_to_watch, validation_songs
from selfrefine.errors import InputError

TESTS = ("band", "folder")
"""What rows are tested on: the data choice's own test songs, or those under $TEST_PATH."""


def scaled_row(row: Row, profile: Profile) -> Stage:
    """A row's stage at a scale; its data sets are still names."""
    stage: Stage = scaled(row.stage, profile)
    return stage if row.change is None else row.change(stage)


def on_test(stage: Stage, profile: Profile, test: str) -> Stage:
    """`stage` tested on the songs that `test` names. Raises InputError for a name that is none, and
    for own songs that cannot be used."""
    if "folder" not in tests_of(test):
        return stage
    tested: Stage = tested_on(stage, TEST, own_songs(profile.data.sample_rate))
    return tested


def resolved(row: Row, profile: Profile, data: str, test: str = "band") -> Stage:
    """A row's stage at a scale, on data and under a test: what is hashed, stored and run."""
    stage = on_test(scaled_row(row, profile), profile, test)
    bound: Stage = bind(stage, data, profile.data)
    return bound


def rows_on(names: list[str], data: str) -> dict[str, Row]:
    """By `table/row`, the rows that targets name, without those that the data choice cannot give.

    Raises InputError where that leaves none.
    """
    given = {label: row for label, row in named_rows(names).items() if can_give(data, row.stage)}
    if not given:
        raise InputError(f"{left_out(names, data)}; choose other rows, or another --data")
    return given


def named_rows(names: list[str]) -> dict[str, Row]:
    return {label: row for name in names for label, row in rows_of(name).items()}


def left_out(names: list[str], data: str) -> str:
    """Which of the rows that targets name a data choice cannot give, and why; "" for none."""
    labels = [label for label, row in named_rows(names).items() if not can_give(data, row.stage)]
    if not labels:
        return ""
    rows = "row needs" if len(labels) == 1 else "rows need"
    return (
        f"{len(labels)} {rows} the truth of the noisy set, which {data} does not know: "
        f"{', '.join(labels)}"
    )


def resolved_rows(
    names: list[str], profile: Profile, data: str, test: str = "band"
) -> dict[str, tuple[Row, Stage]]:
    """By `table/row`, the rows that targets name and their resolved stages. Rows that the data
    choice cannot give are left out."""
    return {
        label: (row, resolved(row, profile, data, test))
        for label, row in rows_on(names, data).items()
    }


def tests_of(test: str) -> tuple[str, ...]:
    """What is computed for a test: own songs are scored beside the data's own. Raises InputError
    for a name that is none."""
    if test not in TESTS:
        raise InputError(f"no test called {test!r}; choose one of {', '.join(TESTS)}")
    return TESTS[: TESTS.index(test) + 1]


def wanted_stages(
    names: list[str], profile: Profile, data: str, test: str, seeds: int
) -> list[Stage]:
    """The stages that targets end in, for every test and seed."""
    return [
        each
        for tested in tests_of(test)
        for _, stage in resolved_rows(names, profile, data, tested).values()
        for each in seeded(stage, seeds)
    ]


def seeded(stage: Stage, seeds: int) -> list[Stage]:
    """A stage once for every seed from 0; equal ones, with no training behind them, once."""
    return list(dict.fromkeys(with_seed(stage, seed) for seed in range(seeds)))


def groups_of(
    names: list[str],
    profile: Profile,
    data: str,
    seeds: int,
    watching: bool = False,
    test: str = "band",
) -> dict[Stage, list[str]]:
    """By stage that targets need, every table and row of the registry that needs it, those asked
    for first: whichever is run first, the stage is found under all. `watching` adds what trainings
    are watched with, in a group of its own first. What only the test on own songs needs is in
    groups that say so.

    Stages are compared before songs are put in their data sets' places, so that data which only
    other rows need are never looked at, and need not be there.
    """
    asked = rows_on(names, data)
    rows = asked | rows_on([*TARGETS], data)
    known: dict[Stage, dict[str, None]] = {}
    wanted: dict[Stage, None] = {}
    for tested in tests_of(test):
        suffix = "" if tested == "band" else " on own songs"
        needed = {
            label: closure(seeded(on_test(scaled_row(row, profile), profile, tested), seeds))
            for label, row in rows.items()
        }
        before = set(known)
        for label, stages in needed.items():
            groups = (label.split("/")[0] + suffix, label + suffix)
            for stage in stages:
                if stage not in before:
                    known.setdefault(stage, {}).update(dict.fromkeys(groups))
        wanted |= dict.fromkeys(stage for label in asked for stage in needed[label])
    for stage in closure([Trimmed(VALIDATION)]) if watching else []:
        if stage not in wanted:
            wanted[stage] = None
            known[stage] = {FOR_WATCHING: None} | known.get(stage, {})
    found: dict[Stage, dict[str, None]] = {}
    for stage in wanted:
        bound = bind(stage, data, profile.data)
        # What stands for a data set can be made of songs in turn.
        for each in closure([bound]) if isinstance(stage, DataSet) else [bound]:
            found.setdefault(each, {}).update(known[stage])
    if NOISY in wanted and UNCORRUPTED in known:
        # The songs behind the noisy set are those of the uncorrupted rows too.
        found[bind(UNCORRUPTED, data, profile.data)].update(known[UNCORRUPTED])
    return {stage: list(names) for stage, names in found.items()}


def list_targets(data: str = "band", test: str = "band") -> int:
    for table in TARGETS.values():
        rows = [row for row in table.rows if can_give(data, row.stage)]
        print(f"{table.name} ({len(rows)} rows): {table.title}")
        for row in rows:
            ours = " (ours, not the paper's)" if row.ours else ""
            print(f"  {table.name + '/' + row.name:36s} {', '.join(row.labels)}{ours}")
    print("all: the tables and the figure")
    say_left_out([*TARGETS], data)
    if "folder" in tests_of(test):
        songs = find_own_songs()
        print(f"also tested on {len(songs)} own songs: {', '.join(song.name for song in songs)}")
    return 0


def say_left_out(names: list[str], data: str) -> None:
    words = left_out(names, data)
    if words:
        tell(f"note   left out: {words}")


def plan(
    names: list[str],
    profile_name: str,
    data: str,
    store_path: Path,
    seeds: int,
    gpu: str | None = None,
    test: str = "band",
) -> int:
    """Times are of this machine, or as counted for the GPU named."""
    profile = profile_named(profile_name)
    stages = closure(wanted_stages(names, profile, data, test, seeds))
    say_left_out(names, data)
    store = Store(store_path)
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
    test: str = "band",
) -> int:
    profile = profile_named(profile_name)
    wanted = wanted_stages(names, profile, data, test, seeds)
    say_left_out(names, data)
    store = Store(store_path)
    if not all(store.done(stage) for stage in closure(wanted)):
        refuse_bad_machine()
    songs = validation_songs(data, profile.data, tell)
    groups = groups_of(names, profile, data, seeds, songs is not None, test)
    tags = [profile.name, data]
    failures = run_missing(wanted, store, groups, tags, workers, songs)
    if failures:
        again = ["python", "-m", "experiments", "run", *names, "--profile", profile.name]
        again += ["--data", data, "--store", str(store_path)]
        again += ["--seeds", str(seeds)] if seeds != 1 else []
        again += ["--test", test] if test != "band" else []
        report_failures(failures, shlex.join(again))
        return 1
    tell(f"{', '.join(names)}: all {len(closure(wanted))} stages are done")
    return 0


def show(
    names: list[str],
    profile_name: str,
    data: str,
    store_path: Path,
    seeds: int,
    test: str = "band",
) -> int:
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data, test)
    store = Store(store_path)
    for label, (row, target) in rows.items():
        print(f"{label}: {', '.join(row.labels)}")
        for stage in seeded(target, seeds):
            print(json.dumps(expression(stage), indent=1))
            if store.done(stage):
                print(json.dumps({"id": identity(stage), **store.record(stage)["run"]}, indent=1))
                print(json.dumps(store.result(stage), indent=1))
            else:
                print(f"{identity(stage)}: not run")
    return 0
