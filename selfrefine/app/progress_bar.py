"""One line of progress on stderr, for all commands. Where stderr is no terminal, the heartbeat
says the same each half minute."""

import sys
from types import TracebackType

from tqdm import tqdm

from selfrefine.app.heartbeat import NOW
from selfrefine.errors import printable
from selfrefine.progress import Progress, StepReport


class ProgressBar:
    """Shows training steps, and how much is done of what a command counts; a new kind of work
    starts a new line.

    `words` and `unit` say what is counted. With `scaled`, numbers are shown as in 1.5M.
    """

    def __init__(self, words: str = "stems", unit: str = "stem", scaled: bool = False) -> None:
        self.words = words
        self.unit = unit
        self.scaled = scaled
        self.bar: tqdm | None = None
        self.work: tuple[str, float] | None = None
        NOW.words = words

    @property
    def progress(self) -> Progress:
        """The `Progress` whose reports this bar shows."""
        return Progress(self.step, self.count, self.note)

    def step(self, report: StepReport) -> None:
        """Shows a report of a training."""
        self.show("training", "step", report.step, report.steps)
        loss = f"loss {report.loss:.3f}"
        NOW.words += f", {loss}"
        if self.bar is not None:
            self.bar.set_postfix_str(loss, refresh=False)

    def count(self, done: float, total: float) -> None:
        """Shows how much is done."""
        self.show(self.words, self.unit, done, total)

    def begin(self, words: str) -> None:
        """Starts a new line for other work."""
        self.close()
        self.words = NOW.words = words

    def note(self, sentence: str) -> None:
        """Prints a sentence on stderr, on a line of its own."""
        tqdm.write(printable(sentence), file=sys.stderr)

    def print(self, line: str) -> None:
        """Prints a line of results on stdout."""
        tqdm.write(line, file=sys.stdout)

    def show(self, words: str, unit: str, done: float, total: float) -> None:
        numbers = [tqdm.format_sizeof(n) if self.scaled else f"{n:g}" for n in (done, total)]
        NOW.words = f"{words}, {unit} {numbers[0]} of {numbers[1]}"
        if self.bar is None or self.work != (words, total) or done < self.bar.n:
            self.close()
            self.bar = tqdm(
                desc=words,
                unit=unit,
                unit_scale=self.scaled,
                total=total,
                file=sys.stderr,
                disable=None,
            )
            self.work = (words, total)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
