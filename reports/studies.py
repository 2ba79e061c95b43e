"""Reads the studies that `python -m sweeps show` wrote, for the page."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from selfrefine.errors import InputError

FOLDER = "sweeps"


WIDE = 1.8
"""A picture whose width is more than this multiple of its height gets the full width of the
page."""


@dataclass(frozen=True)
class Picture:
    """A PNG file."""

    title: str
    path: Path

    @property
    def wide(self) -> bool:
        # In a PNG file width and height (pixels) follow the signature and the first chunk's head.
        width, height = struct.unpack(">II", self.path.read_bytes()[16:24])
        return width > WIDE * height


@dataclass(frozen=True)
class ShownStudy:
    """A study's best trials under `head`, its pictures, and its winner as a row of the registry."""

    name: str
    meaning: str
    about: str
    head: list[str]
    rows: list[list[str]]
    pictures: list[Picture]
    winner: str


def shown_studies(folder: Path) -> list[ShownStudy]:
    """The studies next to the reports in `folder`. Raises InputError for a file that `sweeps show`
    did not write, and for a missing picture."""
    return [shown_study(path) for path in sorted((folder / FOLDER).glob("*.json"))]


def shown_study(path: Path) -> ShownStudy:
    try:
        found = json.loads(path.read_text())
        pictures = [Picture(title, path.with_name(name)) for title, name in found.pop("pictures")]
        study = ShownStudy(pictures=pictures, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not as `python -m sweeps show` writes it ({error}); show the study again, "
            "or delete the file"
        ) from error
    for picture in pictures:
        if not picture.path.is_file():
            raise InputError(f"{picture.path}: no such picture; show {study.name} again")
    return study
