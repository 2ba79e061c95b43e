"""What the command line does: list, plan, run, show."""

import json
import shlex
from pathlib import Path

from experiments.data import bind
from experiments.estimates import estimated_seconds
from experiments.naming import describe
from experiments.profiles import Profile, profile_named, scaled
from experiments.registry import SeparationRow, rows_of, targets
from experiments.runner import report_failures, run_missing, tell
from experiments.stages import Stage, closure, expression, identity, inputs
from experiments.store import Store


def resolved(row: SeparationRow, profile: Profile, data: str) -> Stage:
    """A row's stage at a scale and on data: what is hashed, stored and run."""
    stage: Stage = bind(scaled(row.stage, profile), data, profile.data)
    return stage


def resolved_rows(
    names: list[str], profile: Profile, data: str
) -> dict[str, tuple[SeparationRow, Stage]]:
    """By `table/row`, the rows that targets name and their resolved stages."""
    wanted = dict.fromkeys(row for name in names for row in rows_of(name))
    labels = {
        rows[0]: label for label, rows in targets().items() if "/" in label and rows[0] in wanted
    }
    return {labels[row]: (row, resolved(row, profile, data)) for row in wanted}


def list_targets() -> int:
    for name, rows in targets().items():
        if "/" in name:
            row = rows[0]
            print(f"  {name:32s} {row.network} trained on {row.training_data}")
        else:
            print(f"{name} ({len(rows)} rows)")
    return 0


def plan(names: list[str], profile_name: str, data: str, store_path: Path) -> int:
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data)
    store = Store(store_path)
    stages = closure([stage for _, stage in rows.values()])
    left = 0.0
    unknown = 0
    for stage in stages:
        needs = " ".join(identity(needed) for needed in inputs(stage)) or "-"
        state = "done"
        if not store.done(stage):
            seconds = estimated_seconds(stage, store)
            resume = "resume" if store.started(stage) else "to run"
            state = f"{resume} ~{seconds:.0f} s" if seconds is not None else f"{resume} ?"
            left += seconds or 0.0
            unknown += seconds is None
        print(f"{identity(stage)}  {state:16s} {describe(stage):58s} needs {needs}")
    finished = sum(store.done(stage) for stage in stages)
    print(
        f"{len(stages)} stages, {finished} done, about {left / 60:.0f} core-minutes to run", end=""
    )
    print(f", {unknown} of unknown length" if unknown else "")
    return 0


def run(
    names: list[str], profile_name: str, data: str, store_path: Path, workers: int | None
) -> int:
    profile = profile_named(profile_name)
    rows = resolved_rows(names, profile, data)
    store = Store(store_path)
    groups: dict[Stage, list[str]] = {}
    for label, (_, target) in rows.items():
        for stage in closure([target]):
            known = groups.setdefault(stage, [])
            known += [name for name in (label.split("/")[0], label) if name not in known]
    wanted = [stage for _, stage in rows.values()]
    tags = [profile.name, data]
    failures = run_missing(wanted, store, groups, tags, workers)
    if failures:
        again = ["python", "-m", "experiments", "run", *names, "--profile", profile.name]
        again += ["--data", data, "--store", str(store_path)]
        report_failures(failures, shlex.join(again))
        return 1
    tell(f"{', '.join(names)}: all {len(closure(wanted))} stages are done")
    return 0


def show(names: list[str], profile_name: str, data: str, store_path: Path) -> int:
    profile = profile_named(profile_name)
    store = Store(store_path)
    for label, (row, stage) in resolved_rows(names, profile, data).items():
        print(f"{label}: {row.network} trained on {row.training_data}")
        print(json.dumps(expression(stage), indent=1))
        if store.done(stage):
            print(json.dumps({"id": identity(stage), **store.record(stage)["run"]}, indent=1))
            print(json.dumps(store.result(stage), indent=1))
        else:
            print(f"{identity(stage)}: not run")
    return 0
