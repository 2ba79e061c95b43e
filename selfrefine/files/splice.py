"""The parts of a file that make a sound one, where its own header states a wrong length."""

from dataclasses import dataclass
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.files.spliced_file import FilePart


@dataclass(frozen=True)
class Splice:
    """`pieces` are read instead of the file. `stated` is the length in s by its header, None where
    that states none; `held` is what the file holds, in s."""

    pieces: tuple[FilePart, ...]
    stated: float | None
    held: float

    def words(self, path: Path) -> str:
        """The two lengths, for the user."""
        stated = "no length" if self.stated is None else f"a length of {self.stated:.2f} s"
        return f"{path}: its header states {stated}, it holds {self.held:.2f} s: all of it is read"


def truncated(path: Path, how: str) -> InputError:
    """The error for a file that is shorter than it should be; `how` says what is missing."""
    return InputError(f"{path}: truncated ({how}); copy it again or take it out of the folder")


def cut_words(held: str, stated: str) -> str:
    """What is missing where a header states more than a file holds."""
    return f"{held} of the {stated} its header states"
