"""Messages between the runner and its workers. This module does not import torch, which the runner
never loads."""

from dataclasses import dataclass
from pathlib import Path

from experiments.stages.stage import Stage


@dataclass(frozen=True)
class Order:
    """Tells a worker to compute `stage` in the store at `root`, on `cores` cores.

    `groups` are the tables and rows that need the stage, and `tags` mark its W&B run. The worker
    uses the GPU only if `on_gpu` is true. A training is watched with the validation songs or stems
    of `watched_with`.
    """

    stage: Stage
    root: Path
    groups: list[str]
    tags: list[str]
    cores: int
    on_gpu: bool
    watched_with: Stage | None = None


@dataclass(frozen=True)
class Counted:
    """Progress of a worker: `done` of `total` units, and a short text on its state."""

    done: float
    total: float
    word: str = ""


@dataclass(frozen=True)
class Said:
    """A sentence that the user should read."""

    sentence: str


@dataclass(frozen=True)
class Measured:
    """Bytes of GPU memory that a training takes, and the `total` bytes of the GPU."""

    memory: float
    total: float


@dataclass(frozen=True)
class Finished:
    """The end of a stage after `seconds`. `elsewhere` is true if another runner computed it while
    this worker waited for the lock."""

    seconds: float
    elsewhere: bool


@dataclass(frozen=True)
class Failed:
    """The failure of a stage, and its reason."""

    message: str


Message = Counted | Said | Measured | Finished | Failed
