"""Stages whose disk, memory or inputs fail while `place` has no file `mended`, and a runner for
them."""

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import runner
from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.work import Work

SAMPLES = 1 << 20


@dataclass(frozen=True)
class Counted(Stage):
    """A stage that counts in `place` how often it was computed, and leaves a temporary folder."""

    place: str
    name: str

    def words(self) -> str:
        return self.name

    def compute(self, work: Work) -> dict[str, Any]:
        tempfile.mkdtemp()
        with (Path(self.place) / f"{self.name}.computed").open("a") as file:
            file.write("x")
        self.act(work)
        (work.folder / "samples").write_bytes(bytes(range(256)) * (SAMPLES // 256))
        return {"n": 1}

    def act(self, work: Work) -> None:
        """What goes wrong."""

    @property
    def mended(self) -> bool:
        return (Path(self.place) / "mended").exists()


@dataclass(frozen=True)
class Thief(Counted):
    """Deletes the finished stage that it is made from."""

    victim: Counted

    def act(self, work: Work) -> None:
        shutil.rmtree(work.store.folder(self.victim))


@dataclass(frozen=True)
class Reader(Counted):
    """Reads two finished stages."""

    first: Counted
    second: Counted

    def act(self, work: Work) -> None:
        assert (work.store.finished(self.first) / "samples").stat().st_size == SAMPLES
        work.store.finished(self.second)


@dataclass(frozen=True)
class Robbed(Counted):
    """Finds that the finished stage that it is made from was deleted before it began."""

    victim: Counted

    def act(self, work: Work) -> None:
        robbed = Path(self.place) / "robbed"
        if not robbed.exists():
            robbed.touch()
            (work.store.folder(self.victim) / "done.json").unlink()
        work.store.finished(self.victim)


@dataclass(frozen=True)
class Limited(Counted):
    """May write small files only, which the library that it writes with says in its own way."""

    def act(self, work: Work) -> None:
        import torch

        if not self.mended:
            resource.setrlimit(resource.RLIMIT_FSIZE, (SAMPLES // 2, SAMPLES // 2))
            torch.save(torch.zeros(SAMPLES), work.folder / "zeros.pt")


@dataclass(frozen=True)
class Killed(Counted):
    def act(self, work: Work) -> None:
        if not self.mended:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Unknown(Counted):
    def act(self, work: Work) -> None:
        if not self.mended:
            raise KeyError("the first line\nthe second")


@dataclass(frozen=True)
class Silent(Counted):
    """Says nothing for a while."""

    def act(self, work: Work) -> None:
        time.sleep(1.0)


def faulty(place: str) -> dict[str, Counted]:
    stolen, lost = Counted(place, "stolen"), Counted(place, "lost")
    thief = Thief(place, "thief", stolen)
    stages = [
        Reader(place, "reader", thief, stolen),
        Robbed(place, "robbed", lost),
        Counted(place, "full"),
        Counted(place, "file"),
        Limited(place, "limited"),
        Killed(place, "killed"),
        Unknown(place, "unknown"),
        Silent(place, "silent"),
    ]
    return {stage.name: stage for stage in [stolen, lost, thief, *stages]}


def samples(store: Store, stage: Counted) -> np.ndarray:
    return np.fromfile(store.finished(stage) / "samples", np.uint8)


def run(place: str) -> None:
    """Computes the stages. Prints the name and the reason of each that failed."""
    runner.QUIET_SECONDS = 0.4
    store = Store(Path(place) / "runs")
    for failure in runner.run_missing(list(faulty(place).values()), store, {}, [], 2):
        print(f"{failure.stage.words()}\t{failure.message}")
    sys.exit(0)
