"""CSV tables on disk. They are written whole or not at all, and a damaged one is refused with the
number of its line.

Names that are not valid UTF-8 keep their bytes.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a line of column names, then the rows."""
    with (
        written_whole(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def read_csv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines below the column names, each as cells by column. The first is line 2 of the file.

    Raises InputError for a file that cannot be read as a table, for one that lacks a `needed`
    column, and for a line with more or fewer cells than there are columns.
    """
    try:
        # Read as bytes, so that a carriage return in a song's name does not end a line.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(table)
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); check the path") from error
    missing = [name for name in needed if name not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; its first line must name columns")
    uneven = [line for line, row in enumerate(rows, start=2) if None in row or None in row.values()]
    if uneven:
        raise InputError(f"{path}, line {uneven[0]}: not as many cells as columns; mend the line")
    return rows
