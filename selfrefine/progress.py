"""What a long piece of work tells whoever waits for it: a command's progress bar, or the runner."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """One report of a training. `seconds` and `data_seconds` are means per step since the report
    before. Data is what a step waits for; on a GPU, whose own work drawing is, it is what a draw
    alone takes there."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    data_seconds: float


def ignore(*values: object) -> None:
    """Does nothing."""


Note = Callable[[str], None]
"""Takes a sentence that the user should read."""


@dataclass(frozen=True)
class Progress:
    """The one carrier of news from the work to the user.

    `step` takes a training's reports. `count(done, total)` takes how many stems, songs or items are
    done. `note` takes sentences that the user should read. By default steps and counts are ignored
    and notes are logged as warnings.
    """

    step: Callable[[StepReport], None] = ignore
    count: Callable[[int, int], None] = ignore
    note: Note = log.warning
