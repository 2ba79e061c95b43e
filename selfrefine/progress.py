"""What a long piece of work tells whoever waits for it: a command's progress bar, or the runner."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

Count = Callable[[float, float], None]
"""Takes how much of a piece of work is done, and how much there is."""


@dataclass(frozen=True)
class Progress:
    """The one carrier of news from the work to the user.

    `step` takes a training's reports, `count` how many stems, songs or items are done, `note`
    sentences that the user should read. By default steps and counts are ignored and notes are
    logged as warnings.
    """

    step: Callable[[StepReport], None] = ignore
    count: Count = ignore
    note: Note = log.warning


@contextmanager
def noted_once(note: Note) -> Iterator[Note]:
    """Yields a `Note` for what is said of many files: each sentence is passed on at the end, once,
    with the number of files that it is true of."""
    heard: Counter[str] = Counter()
    yield lambda sentence: heard.update([sentence])
    for sentence, files in heard.items():
        note(f"{files} {'file' if files == 1 else 'files'}: {sentence}")


def duration(seconds: float) -> str:
    """As is easiest to read: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
