"""What the runner and its workers say to each other. Free of torch: the runner never loads it."""

from dataclasses import dataclass
from pathlib import Path

from experiments.stages import Stage


@dataclass(frozen=True)
class Order:
    """What a worker is to do. `groups` are the tables and rows that need the stage, `parent` the
    runner's process id; a training is watched with the validation songs or stems of
    `watched_with`."""

    stage: Stage
    root: Path
    groups: list[str]
    tags: list[str]
    threads: int
    parent: int
    watched_with: Stage | None = None


@dataclass(frozen=True)
class Progress:
    """What a worker is at: `done` of `total` units, and a word on how it goes."""

    done: int
    total: int
    word: str = ""


@dataclass(frozen=True)
class Said:
    """Something the user should read."""

    sentence: str


@dataclass(frozen=True)
class Finished:
    """`elsewhere` when another runner had computed it by the time the lock was free."""

    seconds: float
    elsewhere: bool


@dataclass(frozen=True)
class Failed:
    """Why a stage did not end."""

    message: str


Message = Progress | Said | Finished | Failed
