"""Stages that wait, to test what happens to their workers meanwhile, and a runner for them, which
finds a GPU in the folder `dev` of its place."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments.engine import processes, runner
from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.work import Work
from selfrefine.errors import InputError


@dataclass(frozen=True)
class Meeting(Stage):
    """A stage that ends when all stages that are expected in the folder `place` run at once."""

    place: str
    name: str
    expected: tuple[str, ...]

    def words(self) -> str:
        return f"a meeting of {self.name}"

    def compute(self, work: Work) -> dict[str, Any]:
        """Waits for the others. Returns the device and the cores of this stage."""
        import torch

        place = Path(self.place)
        (place / self.name).touch()
        deadline = time.monotonic() + 60
        while not all((place / name).exists() for name in self.expected):
            if time.monotonic() > deadline:
                raise InputError("nobody came")
            time.sleep(0.01)
        return {
            "device": os.environ.get("SELFREFINE_DEVICE"),
            "granted": work.cores,
            "threads": torch.get_num_threads(),
        }


@dataclass(frozen=True)
class GpuMeeting(Meeting):
    on_gpu: ClassVar[bool] = True


@dataclass(frozen=True)
class Parent(Stage):
    """A stage that never ends and has two children: a fork, which keeps the pipe to the runner
    open, and a fresh process. It writes its process id into the folder `place`."""

    place: str

    def words(self) -> str:
        return "a parent"

    def compute(self, work: Work) -> dict[str, Any]:
        for method in ("fork", "spawn"):
            multiprocessing.get_context(method).Process(target=time.sleep, args=(600,)).start()
        partial = Path(self.place) / "partial"
        partial.write_text(str(os.getpid()))
        partial.rename(partial.with_name("worker"))
        work.progress.count(1, 2)
        time.sleep(600)
        return {}


def meeting(place: str) -> list[Stage]:
    names = ("gpu", "cpu")
    return [GpuMeeting(place, "gpu", names), Meeting(place, "cpu", names)]


def parents(place: str) -> list[Stage]:
    return [Parent(place)]


def run(stages: str, place: str) -> None:
    """Computes the stages that the function named `stages` returns. Prints why any failed."""
    # Where the tests run in the background, a shell has them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    processes.DEVICES = Path(place) / "dev"
    store = Store(Path(place) / "runs")
    try:
        failures = runner.run_missing(globals()[stages](place), store, {}, [], None)
    except KeyboardInterrupt:
        sys.exit(130)  # as the command line does
    for failure in failures:
        print(failure.message)
