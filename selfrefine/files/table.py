"""CSV tables on disk, which people may edit in a spreadsheet and give back.

Tables are written whole or not at all, as UTF-8 with a byte order mark, without which Excel spoils
accents. Names that are not valid UTF-8 keep their bytes. Text that a spreadsheet would take for a
formula gets an apostrophe in front, which is taken off when the table is read.

A table may come back with semicolons or tabs between its cells, in UTF-16, with decimal commas,
with its columns in another order, and with further columns and empty lines. A damaged one is
refused with the number of its line.
"""

import codecs
import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.special_file import refuse_special

BYTE_ORDER_MARK = "\ufeff"
SEPARATORS = (",", ";", "\t")

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""The beginning of a text that a spreadsheet takes for a formula, or of one that is guarded against
that."""
NEGATIVE = re.compile(r"-(\d+(\.\d*)?([eE][+-]?\d+)?|inf)")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a line of column names, then the rows."""
    with (
        written_whole(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        file.write(BYTE_ORDER_MARK)
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(map(guarded, rows))


def guarded(cells: Iterable[object]) -> Iterator[object]:
    """The cells of a line. Text that would start a formula gets an apostrophe in front; so does
    text that looks guarded already. A negative number stays a number."""
    for cell in cells:
        begins = isinstance(cell, str) and FORMULA.match(cell)
        yield f"'{cell}" if begins and not NEGATIVE.fullmatch(str(cell)) else cell


def unguarded(cell: str) -> str:
    """The text that `guarded` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def read_csv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of `numbered_rows`, without the numbers of their lines. Raises what it raises."""
    return [row for _, row in numbered_rows(path, needed)]


def numbered_rows(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines below the column names that hold something: the number of each, as a spreadsheet
    counts, and its cells by column.

    Cells that a line lacks are empty, unless they are of a `needed` column. Raises InputError for a
    file that cannot be read as a table, for one that lacks a `needed` column, and for a line with
    more cells than there are columns, or without a needed one.
    """
    try:
        refuse_special(path)
        # Read as bytes, so that a carriage return in a song's name does not end a line.
        text = decoded_table(path.read_bytes())
        columns, *lines = separated_lines(text, needed) or [[]]
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); check the path") from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; its first line must name columns")
    least = 1 + max((columns.index(name) for name in needed), default=0)
    rows = []
    for number, cells in enumerate(lines, start=2):
        if not any(cells):
            continue
        if len(cells) < least or any(cells[len(columns) :]):
            raise InputError(f"{path}, line {number}: not as many cells as columns; mend the line")
        filled = (*map(unguarded, cells), *[""] * (len(columns) - len(cells)))
        rows.append((number, dict(zip(columns, filled, strict=False))))
    return rows


def decoded_table(content: bytes) -> str:
    """The text of a table: UTF-16 where it begins with that mark, else UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", "surrogateescape")


def separated_lines(text: str, needed: Sequence[str]) -> list[list[str]]:
    """The cells of each line, by the separator that finds the most of the `needed` columns in the
    first line. Spaces around a column's name do not count."""

    def columns_by(separator: str) -> list[str]:
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        return [name.strip() for name in first]

    found = {separator: columns_by(separator) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda each: sum(name in found[each] for name in needed))
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=best))
    return [found[best], *lines[1:]] if lines else []


def number_in(cell: str) -> float:
    """The number in a cell, with a decimal point or comma. Raises ValueError for any other text,
    and for a number that is not finite."""
    number = float(cell.strip().replace(",", "."))
    if not math.isfinite(number):
        raise ValueError(f"{cell!r} is not finite")
    return number
