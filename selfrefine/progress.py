"""The reports of long work while it runs, to a command's progress bar or to the runner."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """One report of a training, after `step` of `steps` steps.

    `seconds` is the mean time of a step since the last report. `data_seconds` is the part of it
    that is spent on the step's batch: the time in which the step waits for the batch. A GPU draws
    batches itself; there it is at least the time that a draw alone takes.
    """

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

Count = Callable[[float, float], None]
"""Takes how much of the work is done, and how much there is in all."""


@dataclass(frozen=True)
class Progress:
    """The functions by which work reports to the user.

    `step` takes the reports of a training. `count` takes how many stems, songs, bytes or seconds
    are done. `note` takes sentences that the user should read. By default steps and counts are
    ignored, and notes are logged as warnings.
    """

    step: Callable[[StepReport], None] = ignore
    count: Count = ignore
    note: Note = log.warning


@contextmanager
def noted_once(note: Note) -> Iterator[Note]:
    """Yields a `Note` for sentences that are true of many files. At the end of the block each
    sentence goes to `note` once, with the number of files that it was noted for."""
    heard: Counter[str] = Counter()
    yield lambda sentence: heard.update([sentence])
    for sentence, files in heard.items():
        note(f"{counted(files, 'file')}: {sentence}")


def counted(number: int, thing: str) -> str:
    """A number of things in words: "1 song", "3 songs"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """A duration in the unit that is easiest to read: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
