"""What the runner and its workers say to each other. Free of torch: the runner never loads it."""

from dataclasses import dataclass
from pathlib import Path

from experiments.stages.stage import Stage


@dataclass(frozen=True)
class Order:
    """What a worker is to do, on how many `cores`. `groups` are the tables and rows that need the
    stage; only where it is `on_gpu` may the worker touch the GPU; a training is watched with the
    validation songs or stems of `watched_with`."""

    stage: Stage
    root: Path
    groups: list[str]
    tags: list[str]
    cores: int
    on_gpu: bool
    watched_with: Stage | None = None


@dataclass(frozen=True)
class Counted:
    """What a worker is at: `done` of `total` units, and a word on how it goes."""

    done: float
    total: float
    word: str = ""


@dataclass(frozen=True)
class Said:
    """Something the user should read."""

    sentence: str


@dataclass(frozen=True)
class Measured:
    """Bytes of the GPU's memory that a training takes, and the `total` that the GPU has."""

    memory: float
    total: float


@dataclass(frozen=True)
class Finished:
    """`elsewhere` when another runner had computed it by the time the lock was free."""

    seconds: float
    elsewhere: bool


@dataclass(frozen=True)
class Failed:
    """Why a stage did not end."""

    message: str


Message = Counted | Said | Measured | Finished | Failed
