"""The commands of `python -m experiments`: list, plan, run, show."""

import json
import shlex
from pathlib import Path

from experiments.arguments import seed_word
from experiments.data import can_give
from experiments.engine.estimates import estimated_seconds
from experiments.engine.known_gpus import KnownGpu, known_gpu, known_machine, known_step
from experiments.engine.machine import refuse_bad_machine
from experiments.engine.runner import machine_here, report_failures, run_missing, tell
from experiments.engine.slots import Machine, Needs, wall_seconds
from experiments.engine.step_costs import measured_here
from experiments.engine.watched import needed_to_watch, validation_songs
from experiments.profiles import profile_named
from experiments.registry import TARGETS
from experiments.stages.own_songs import find_own_songs
from experiments.stages.stage import Stage, closure, describe, expression, identity, inputs
from experiments.store import Store
from experiments.targets import (
    from_seeds,
    groups_of,
    left_out,
    resolved_rows,
    tests_of,
    wanted_stages,
)
from experiments.work import Cost
from selfrefine.errors import InputError
from selfrefine.progress import duration


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
    seeds: range,
    gpu: str | None = None,
    test: str = "band",
) -> int:
    """Prints each stage with its state and cost, then the total time.

    Times are for this machine, or for the GPU named `gpu`. Returns the exit code, 1 where a stage
    is damaged.
    """
    profile = profile_named(profile_name)
    stages = closure(wanted_stages(names, profile, data, test, seeds))
    say_left_out(names, data)
    store = Store(store_path)
    songs = validation_songs(data, profile.data, tell)
    stages += [each for each in needed_to_watch(stages, songs, store) if each not in stages]
    known = known_gpu(gpu) if gpu else None
    machine = known_machine() if known else machine_here(None)
    step_cost_of = known_step(known) if known else measured_here(store)
    seconds: dict[Stage, float] = {}
    faults: list[str] = []
    for stage in stages:
        needs = " ".join(identity(needed) for needed in inputs(stage)) or "-"
        state, memory = "done", ""
        if store.done(stage):
            try:
                store.finished(stage)
            except InputError as error:
                state = "damaged"
                faults.append(str(error))
        else:
            estimate = None if known else estimated_seconds(stage, store)
            cost = stage.cost(step_cost_of) if estimate is None else Cost(estimate)
            resume = "resume" if store.started(stage) else "to run"
            state, memory = f"{resume} ~{duration(cost.seconds)}", cost.memory
            seconds[stage] = cost.seconds
        print(f"{identity(stage)}  {state:16s} {describe(stage):58s} needs {needs}")
        if memory:
            print(f"{'':14s}{memory}")
    wall = wall_seconds(list(seconds), seconds.__getitem__, store.done, machine, Needs())
    print(
        f"{len(stages)} stages, {len(stages) - len(seconds) - len(faults)} done, about "
        f"{duration(sum(seconds.values()))} of one worker to run, {duration(wall)} on "
        f"{machine_words(machine, known)}"
    )
    return exit_code(faults)


def exit_code(faults: list[str]) -> int:
    """Tells the faults of stages that were passed over. 1 where there are any, else 0."""
    for fault in faults:
        tell(f"error: {fault}")
    return 1 if faults else 0


def machine_words(machine: Machine, gpu: KnownGpu | None) -> str:
    cores = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}"
    if gpu:
        return f"{cores} and {gpu.words}"
    return f"{cores} and the GPU" if machine.gpu else cores


def run(
    names: list[str],
    profile_name: str,
    data: str,
    store_path: Path,
    seeds: range,
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
        again += ["--seeds", seed_word(seeds)] if seeds != range(1) else []
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
    seeds: range,
    test: str = "band",
) -> int:
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data, test)
    store = Store(store_path)
    faults: list[str] = []
    for label, (row, target) in rows.items():
        print(f"{label}: {', '.join(row.labels)}")
        for stage in from_seeds(target, seeds):
            print(json.dumps(expression(stage), indent=1))
            if not store.done(stage):
                print(f"{identity(stage)}: not run")
                continue
            try:
                record = store.record(stage)
            except InputError as error:
                print(f"{identity(stage)}: damaged")
                faults.append(str(error))
                continue
            print(json.dumps({"id": identity(stage), **record["run"]}, indent=1))
            print(json.dumps(record["result"], indent=1))
    return exit_code(faults)
