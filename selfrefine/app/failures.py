"""The songs or files that a command cannot do, while it goes on with the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfrefine.errors import InputError, system_words
from selfrefine.progress import Note


class Failures:
    """What failed out of `total` songs or files.

    `things` and `done` make the sentences, as in "2 of 5 songs were not scored". Where there are
    several things, each failure is noted at once, and named again at the end.
    """

    def __init__(self, things: str, done: str, total: int, note: Note) -> None:
        self.things = things
        self.done = done
        self.total = total
        self.note = note
        self.reasons: list[tuple[str, str]] = []

    def add(self, name: str, reason: str) -> None:
        """Notes that `name` failed, for a reason that names the file."""
        self.reasons.append((name, reason))
        if self.total > 1:
            self.note(f"not {self.done}: {reason}")

    @contextmanager
    def caught(self, name: str) -> Iterator[None]:
        """Adds `name` where the block raises InputError, or an error of the system."""
        try:
            yield
        except InputError as error:
            self.add(name, str(error))
        except OSError as error:
            self.add(name, system_words(error))

    def exit_code(self) -> int:
        """0 where nothing failed; else 1, and the failures are noted. Raises InputError where
        everything failed."""
        if not self.reasons:
            return 0
        if len(self.reasons) == self.total:
            first = self.reasons[0][1]
            raise InputError(
                first
                if self.total == 1
                else f"none of {self.total} {self.things} was {self.done}; the first: {first}"
            )
        names = ", ".join(name for name, _ in self.reasons)
        self.note(
            f"{len(self.reasons)} of {self.total} {self.things} were not {self.done}: {names}"
        )
        return 1
