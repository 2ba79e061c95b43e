"""All work that needs a GPU, in one command, for a machine that may have no network and no `.venv`.

    make gpu-day [MINUTES=9]        (python3 -m benchmarks.gpu_day [--minutes 9] [--output DIR])

Checks the installed packages. Then runs the GPU tests, the benchmarks at the paper's sizes, ways
that may make a step faster, Table 2 at `lite` with its X-UMX rows first, and the paper's `plan` by
trials on the device. Every step has a time limit. The command can be stopped and started again:
finished steps are not repeated, and trainings resume from their checkpoints. With --minutes it ends
within that time, and the next call continues.

The output folder gets a few small files that can be committed: summary.md, log.txt, the benchmarks'
table, the ways, the plan, and Table 2 with its results.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.parts import BENCHMARKS
from benchmarks.processes import end_group
from experiments.engine.processes import allocator_settings
from selfrefine.files.atomic import write_text

ROOT = Path(__file__).parent.parent
CODE = ("benchmarks", "experiments", "reports", "selfrefine", "tests")
"""Packages on which a step's outcome may depend."""

REQUIRED = {
    "torch": "everything", "torchaudio": "Hybrid Demucs", "timm": "the classifier",
    "numba": "drawing and effects", "scipy": "effects", "soundfile": "audio files",
    "tqdm": "the runner", "pytest": "the tests", "pandas": "reports", "tabulate": "reports",
    "jinja2": "reports", "matplotlib": "reports", "pedalboard": "the band, and tests of effects",
    "pyloudnorm": "tests of loudness",
}  # fmt: skip
"""Modules, and the purpose of each."""
USEFUL = {
    "triton": "effects on the GPU", "openunmix": "the peer of X-UMX",
    "pretty_midi": "the band", "espeakng_loader": "the band", "pyworld": "the band",
    "museval": "the peer of scoring",
}  # fmt: skip

BAND = ("pretty_midi", "espeakng_loader", "pyworld")
"""Modules that the songs of `lite` need."""

TRAINING_TESTS = ("tests/test_gpu_training.py", "tests/test_gpu_compiling.py")
WAYS = "ways of a step"
PROFILE = "where a step's time goes"

LONG_BENCHMARKS = {"mixing": 480, "training": 500}
"""Time limits (s) of the benchmarks that need more than two minutes."""

QUIET = {"WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"}
LOG_LINES = 300
"""Number of last lines that are kept of a step's output."""
GRACE_SECONDS = 10.0
"""Time (s) between asking a step to end and killing it."""
LEAST_SECONDS = 60.0
"""Time (s) that must be left of --minutes to begin a step that resumes from checkpoints."""


@dataclass(frozen=True)
class Step:
    """A command with a limit of `seconds`. If it `goes_on` from checkpoints, it may begin with less
    time left. It `needs` these modules in addition to the required ones."""

    name: str
    seconds: float
    words: tuple[str, ...]
    goes_on: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step. `code` is its exit code, or None if it ran out of time. `tail` is the
    end of its output."""

    code: int | None
    seconds: float
    commit: str
    tail: str


def steps_of(store: Path, output: Path) -> list[Step]:
    lite = ("--profile", "lite", "--store", str(store))
    bench = ("benchmarks", "--profile", "paper", "--resume", "--output", str(store / "benchmarks"))
    run = ("experiments", "run")
    return [
        Step("tests", 240, pytest_words(*(f"--ignore={path}" for path in TRAINING_TESTS))),
        Step("tests of trainings", 500, pytest_words(*TRAINING_TESTS)),
        *(
            Step(
                f"benchmark {name}",
                LONG_BENCHMARKS.get(name, 120),
                (*bench, "--only", name),
                needs=("openunmix",) if name == "training" else (),
            )
            for name in BENCHMARKS
        ),
        Step(PROFILE, 180, ("benchmarks.gpu_profile",)),
        Step(WAYS, 500, ("benchmarks.gpu_variants", "--seconds", "120")),
        Step(
            "lite: classifiers and X-UMX", 1800, (*run, "table2/x-umx-*", *lite),
            goes_on=True, needs=BAND,
        ),
        Step("lite: Demucs", 2400, (*run, "table2", *lite), goes_on=True, needs=BAND),
        Step("lite: table", 120, ("reports", "table2", *lite, "--output", str(store / "reports"))),
        Step("lite: results", 60, ("reports", "export", *lite, "--to", str(output / "lite"))),
        Step(
            "plan of the paper", 500,
            ("experiments", "plan", "tables", "--profile", "paper", "--store", str(store)),
        ),
    ]  # fmt: skip


def pytest_words(*words: str) -> tuple[str, ...]:
    return ("pytest", "-m", "gpu", "-rA", "-p", "no:cacheprovider", *words)


def run_day(
    steps: list[Step], folder: Path, commit: str, seconds: float | None
) -> dict[str, Outcome]:
    """Runs the unfinished steps, within `seconds` if given. Returns all outcomes.

    A step that failed or ran out of time is run again by the next call; the other steps still run.
    A step that needs more time than is left waits for the next call, unless it is the first of this
    call. Outcomes are written to `folder` after each step.
    """
    began = time.monotonic()
    known = read_outcomes(folder)
    ran = {name for name, outcome in known.items() if outcome.commit == commit}
    done = {name for name in ran if known[name].code == 0}
    begun = False
    # Steps that never ran come first: a step that always fails would leave no time for the others.
    for step in sorted(steps, key=lambda step: step.name in ran):
        if step.name in done:
            continue
        if lacking := [name for name in step.needs if find_spec(name) is None]:
            print(f"skipped {step.name}: install {', '.join(lacking)}", flush=True)
            continue
        limit = step.seconds
        if seconds is not None:
            left = seconds - (time.monotonic() - began) - GRACE_SECONDS
            least = LEAST_SECONDS if step.goes_on else step.seconds
            if left < least and begun:
                print(f"later   {step.name}: not within the time that is left", flush=True)
                continue
            limit = max(0.0, min(limit, left))
        begun = True
        print(f"start   {step.name}, at most {limit / 60:.0f} min", flush=True)
        known[step.name] = run_step(step, limit, commit)
        write_outcomes(folder, known)
        print(f"{state_of(known[step.name]):7s} {step.name}", flush=True)
    return known


def run_step(step: Step, limit: float, commit: str) -> Outcome:
    """Runs a step for at most `limit` seconds. Prints its output at once, and keeps the end of
    it."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *step.words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **QUIET, **allocator_settings()},
        process_group=0,
    )
    assert process.stdout is not None
    over = threading.Event()

    def interrupt() -> None:
        over.set()
        # SIGINT first, so that the runner ends its workers, which have their own process groups.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        end_group(process.pid)

    timer = threading.Timer(limit, interrupt)
    timer.daemon = True
    lines: deque[str] = deque(maxlen=LOG_LINES)
    try:
        timer.start()
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        code: int | None = process.wait()
    finally:
        timer.cancel()
        end_group(process.pid)
    seconds = round(time.monotonic() - began, 1)
    return Outcome(None if over.is_set() else code, seconds, commit, "".join(lines))


def state_of(outcome: Outcome) -> str:
    if outcome.code is None:
        return "unended"
    return "done" if outcome.code == 0 else "FAILED"


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    try:
        kept = json.loads((folder / "outcomes.json").read_text())
        return {name: Outcome(**fields) for name, fields in kept.items()}
    except (OSError, ValueError, TypeError):
        return {}


def write_outcomes(folder: Path, outcomes: dict[str, Outcome]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: vars(outcome) for name, outcome in outcomes.items()}
    write_text(folder / "outcomes.json", json.dumps(kept, indent=1))


def write_output(
    steps: list[Step],
    outcomes: dict[str, Outcome],
    store: Path,
    output: Path,
    origin: tuple[str, ...],
) -> None:
    """Writes the files that can be committed. `origin` has the facts of the machine and code."""
    output.mkdir(parents=True, exist_ok=True)
    rows = ["| step | outcome | s | at most, s |", "|---|---|---|---|"]
    log = []
    for step in steps:
        outcome = outcomes.get(step.name)
        taken = f"{outcome.seconds:.0f}" if outcome else "-"
        state = state_of(outcome) if outcome else "not run"
        rows.append(f"| {step.name} | {state} | {taken} | {step.seconds:.0f} |")
        if outcome:
            log.append(f"==== {step.name}: {state}, commit {outcome.commit}\n{outcome.tail}\n")
    facts = [f"- {fact}" for fact in origin]
    write_text(output / "summary.md", "\n".join(["# A day on a GPU", "", *facts, "", *rows, ""]))
    write_text(output / "log.txt", "\n".join(log))
    planned = outcomes.get("plan of the paper")
    if planned is not None and planned.code == 0:
        write_text(output / "plan-paper.txt", planned.tail)
    for name, file in ((WAYS, "gpu-variants.md"), (PROFILE, "gpu-profile.md")):
        if name in outcomes:
            write_text(output / file, outcomes[name].tail)
    made = [*(store / "benchmarks").glob("*.md"), store / "reports/band-lite/table2.md"]
    for path in made:
        if path.exists():
            shutil.copyfile(path, output / path.name)


def installed() -> int:
    """Prints the installed modules. Returns 1 if a required one is missing or there is no GPU, else
    0."""
    missing = []
    for name, purpose in (REQUIRED | USEFUL).items():
        there = find_spec(name) is not None
        word = module_version(name) if there else "MISSING"
        print(f"{name:16s} {word:12s} {purpose}")
        if not there and name in REQUIRED:
            missing.append(name)
    if missing:
        print(f"error: install {', '.join(missing)}", file=sys.stderr)
        return 1
    import torch

    if not torch.cuda.is_available():
        print("error: torch finds no GPU here", file=sys.stderr)
        return 1
    print(f"{torch.cuda.get_device_name()}; {torch.cuda.get_device_properties(0)}")
    return 0


def module_version(name: str) -> str:
    distributions = {"espeakng_loader": "espeakng-loader", "pyworld": "pyworld-prebuilt"}
    try:
        return version(distributions.get(name, name))
    except PackageNotFoundError:
        return "there"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu_day", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, help="time limit of this call in minutes")
    parser.add_argument("--output", type=Path, help="default: results/gpu/<device>")
    parser.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
    parser.add_argument("--list", action="store_true", help="the steps and their times; runs none")
    args = parser.parse_args()
    if args.list:
        for step in steps_of(args.store, Path("results/gpu")):
            print(f"{step.seconds:6.0f} s  {step.name}")
        return 0
    # Checked first, since the imports below need torch.
    if installed():
        return 1
    from benchmarks.clock import code_digest, device_name, origin
    from experiments.commit import commit_of_code

    device = re.sub(r"\W+", "-", device_name().lower()).strip("-")
    output = args.output or Path("results/gpu") / device
    steps = steps_of(args.store, output)
    seconds = None if args.minutes is None else 60 * args.minutes
    outcomes: dict[str, Outcome] = {}
    commit = f"{commit_of_code()}, code {code_digest(CODE)}"
    try:
        outcomes = run_day(steps, args.store / "gpu-day", commit, seconds)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    finally:
        outcomes = outcomes or read_outcomes(args.store / "gpu-day")
        write_output(steps, outcomes, args.store, output, origin())
    print(f"written to {output}")
    return 0 if all(s.name in outcomes and outcomes[s.name].code == 0 for s in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
