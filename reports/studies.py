"""Reads the studies that `python -m sweeps show` wrote, for the page."""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from selfrefine.errors import InputError

FOLDER = "sweeps"

WIDE = 1.8
"""A picture whose width is more than this multiple of its height gets the full width of the
page."""


@dataclass(frozen=True)
class Picture:
    """A PNG file, and whether it gets the full width of the page."""

    title: str
    path: Path
    wide: bool


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
        found = json.loads(path.read_bytes())
        pictures = [(title, path.with_name(name)) for title, name in found.pop("pictures")]
        study = ShownStudy(pictures=[], **found)
        words = [study.name, study.meaning, study.about, study.winner, *study.head]
        words += [*(title for title, _ in pictures), *(cell for row in study.rows for cell in row)]
        lists = (study.head, study.rows, *study.rows)
        if not all(isinstance(each, list) for each in lists):
            raise ValueError("its head and its rows are no lists")
        if not all(isinstance(word, str) for word in words):
            raise ValueError("not all of it is text")
        if any(len(row) != len(study.head) for row in study.rows):
            raise ValueError("a row has not as many cells as the head")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not as `python -m sweeps show` writes it ({error}); show the study again, "
            "or delete the file"
        ) from error
    return replace(study, pictures=[Picture(t, file, is_wide(file, study)) for t, file in pictures])


def is_wide(path: Path, study: ShownStudy) -> bool:
    try:
        # In a PNG file width and height (pixels) follow the signature and the first chunk's head.
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
    except (OSError, struct.error) as error:
        raise InputError(f"{path}: no such picture; show {study.name} again") from error
    return bool(width > WIDE * height)
