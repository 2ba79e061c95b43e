"""Kills a run again and again, at random moments in every kind of stage, and compares what it
leaves with an unbroken run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import soundfile

from experiments.profiles import PROFILES
from experiments.stages.stage import Stage, closure, describe, identity, kind
from experiments.stages.training import Training
from experiments.store import Store
from experiments.targets import resolved_rows
from experiments.trainings.validation import FILE as VALIDATION_SCORES
from selfrefine.errors import InputError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "WANDB_MODE": "disabled",
    # A checkpoint after each step, so that a kill may fall into the writing of one.
    "SELFREFINE_CHECKPOINT_SECONDS": "0",
}
TIMED = (
    "step_seconds",
    "data_share",
    "flops_per_second",
    "peak_flops_per_second",
    "memory_bytes",
    "resumed_at_seconds",
)
"""What a result says of the machine's speed, which no two runs share."""
ABOUT = ("done.json", "verified.json", "lock", "error.log", "wandb.json", VALIDATION_SCORES)
"""Files of a stage's folder that are not what it computed; done.json is compared in parts. How
often a training is watched depends on its time."""


@dataclass
class Kills:
    """Kills by kind of stage. `faults` says what a run said or left that it should not."""

    landed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run_words(targets: list[str], store: Path) -> list[str]:
    words = ["-m", "experiments", "run", *targets, "--profile", "smoke", "--store", str(store)]
    return [sys.executable, *words]


def stages_of(targets: list[str]) -> dict[str, Stage]:
    """The stages of the targets at smoke, by identity."""
    rows = resolved_rows(targets, PROFILES["smoke"], "band")
    return {identity(stage): stage for stage in closure([stage for _, stage in rows.values()])}


def unbroken_run(targets: list[str], store: Path) -> None:
    subprocess.run(run_words(targets, store), cwd=ROOT, env=ENVIRONMENT, check=True)


def killed_run(
    targets: list[str],
    whole: Path,
    broken: Path,
    kills: int,
    least_a_training: int,
    chance: random.Random,
    tell: Callable[[str], None],
) -> Kills:
    """Runs the targets into the store `broken`, with about `kills` SIGKILLs, and compares it with
    `whole`, the store of an unbroken run of them.

    Each kind of stage gets the same share of the kills, and each kind of training
    `least_a_training` at least. A kill counts where the stage that it was meant for had begun and
    was not done. A stage that was done too early is deleted, and the next kill comes sooner.
    """
    stages = stages_of(targets)
    kinds = {kind(stage): stage for stage in stages.values()}
    share = -(-kills // len(kinds))
    left = {
        name: max(share, least_a_training) if isinstance(stage, Training) else share
        for name, stage in kinds.items()
    }
    seconds = {id: seconds_of(Store(whole), stage) for id, stage in stages.items()}
    found = Kills()
    while (hit := run_until_kill(targets, broken, stages, left, seconds, chance)) is not None:
        stage = stages[hit]
        if Store(broken).done(stage):
            seconds[hit] /= 2
            shutil.rmtree(Store(broken).folder(stage))
            continue
        left[kind(stage)] -= 1
        found.landed[kind(stage)] += 1
        tell(f"kill {found.landed.total()}: {describe(stage)}")
    last = subprocess.run(
        run_words(targets, broken), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    if last.returncode or "FAILED" in last.stderr:
        found.faults.append(f"the last run ends with {last.returncode}: {last.stderr[-500:]}")
    found.faults += differences(list(stages.values()), Store(whole), Store(broken))
    return found


def seconds_of(store: Store, stage: Stage) -> float:
    return float(store.record(stage)["run"]["seconds"])


def run_until_kill(
    targets: list[str],
    store: Path,
    stages: dict[str, Stage],
    left: dict[str, int],
    seconds: dict[str, float],
    chance: random.Random,
) -> str | None:
    """Runs until a stage begins whose kind has kills `left`, and kills the run at a random moment
    of the stage's time. Returns the stage's identity; None where the run came to its end."""
    run = subprocess.Popen(
        run_words(targets, store),
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        word, _, rest = line.partition(" ")
        id = rest.split()[0] if word == "start" else ""
        if id in stages and left[kind(stages[id])] > 0:
            # A process is there some hundredths of a second after its line.
            time.sleep(0.05 + chance.random() * seconds[id])
            # The runner alone, whose workers must end by themselves; or all at once.
            if chance.random() < 0.5:
                run.kill()
            else:
                kill_all_of(run.pid)
            run.wait()
            return id
    run.wait()
    return None


def kill_all_of(leader: int) -> None:
    """Kills every process of a session at once, as the end of a machine does."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def differences(stages: list[Stage], whole: Store, broken: Store) -> list[str]:
    """Where two stores' results of the stages differ: files by their content, records by all but
    times."""
    found = []
    for stage in stages:
        name = describe(stage)
        try:
            records = [timeless(store.record(stage)) for store in (whole, broken)]
        except InputError as error:
            found.append(f"{name}: {error}")
            continue
        if records[0] != records[1]:
            found.append(f"{name}: results differ: {records[0]} and {records[1]}")
        first, second = (files_of(store.folder(stage)) for store in (whole, broken))
        for path in sorted(first.keys() | second.keys()):
            if first.get(path) != second.get(path):
                found.append(f"{name}: {path} differs")
    return found


def timeless(record: dict[str, Any]) -> str:
    result = {name: value for name, value in record["result"].items() if name not in TIMED}
    return json.dumps([record["stage"], result], sort_keys=True)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ABOUT and not path.name.startswith(".")
    }


def content(path: Path) -> bytes:
    """A file's bytes; of an Ogg file its samples, since a stream has a random serial number."""
    if path.suffix == ".ogg":
        return soundfile.read(path, dtype="float32")[0].tobytes()
    return path.read_bytes()
