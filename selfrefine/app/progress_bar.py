"""One line of progress on stderr for the commands that work on a folder."""

import sys
from types import TracebackType

from tqdm import tqdm

from selfrefine.progress import Progress, StepReport


class ProgressBar:
    """Shows training steps and stems done; a new kind of work starts a new line."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.work: tuple[str, float] | None = None

    @property
    def progress(self) -> Progress:
        """The `Progress` whose reports this bar shows."""
        return Progress(self.step, self.count, self.note)

    def step(self, report: StepReport) -> None:
        """Shows a report of a training."""
        self.show("training", "step", report.step, report.steps)
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {report.loss:.3f}", refresh=False)

    def count(self, done: float, total: float) -> None:
        """Shows how many stems are read or judged."""
        self.show("stems", "stem", done, total)

    def note(self, sentence: str) -> None:
        tqdm.write(sentence, file=sys.stderr)

    def show(self, words: str, unit: str, done: float, total: float) -> None:
        if self.bar is None or self.work != (words, total) or done < self.bar.n:
            self.close()
            self.bar = tqdm(desc=words, unit=unit, total=total, file=sys.stderr, disable=None)
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
