"""Leaving out the stems whose labels in a labels.csv are not certain enough."""

from pathlib import Path

from selfrefine.app.labels_table import BY_HAND, decision_word, listed_file
from selfrefine.classes import LabelSet, label_set_of
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles
from selfrefine.files.names import met_names
from selfrefine.files.table import number_in, numbered_rows
from selfrefine.refining.decisions import NOT_SURE

NEEDED = ("file", "given", "proposed", "refined", "decision", "confidence", "reason")


def leave_out_doubtful(
    table: Path, root: Path, songs: list[SongFiles], least: float
) -> list[SongFiles]:
    """The songs, as `read_labels` gives them, without the stems whose label is doubtful.

    A label is doubtful if it is right with less than the probability `least`, or if it stands
    though the classifier found another one. A decision by hand is certain, and so is a label of
    which the table has no confidence. Raises InputError for a table without one of the columns
    `NEEDED`, for a confidence that is no probability and a cell that is no label set, naming the
    line, for a classifier that was not trusted, and where every stem is doubtful.
    """
    words = [listed_file(root, file) for song in songs for file in song.files]
    rows = numbered_rows(table, NEEDED)
    met = met_names((row["file"] for _, row in rows), words)
    doubtful = {
        met.get(row["file"], row["file"])
        for line, row in rows
        if label_is_doubtful(row, least, f"{table}, line {line}")
    }
    kept = [
        SongFiles(
            song.name,
            tuple(file for file in song.files if listed_file(root, file) not in doubtful),
        )
        for song in songs
    ]
    if not any(song.files for song in kept):
        raise InputError(
            f"{table}: no stem is left whose label is right with the probability {least:g}; give a "
            "lower --least-confidence"
        )
    return [song for song in kept if song.files]


def label_is_doubtful(row: dict[str, str], least: float, where: str) -> bool:
    cell = row["confidence"].strip()
    if not cell or row["reason"].strip() == BY_HAND:
        return False
    try:
        confidence = number_in(cell)
    except ValueError:
        confidence = -1.0
    if not 0 <= confidence <= 1:
        raise InputError(
            f"{where}: the confidence {cell!r} is no number from 0 to 1; mend it, or leave it empty"
        )
    given, proposed, refined = (
        label_set_in(row[name], where) for name in ("given", "proposed", "refined")
    )
    if row["decision"].strip() not in ("", decision_word(given, refined)):
        return False  # a person changed the label in a spreadsheet, and the word no longer fits
    if refined == proposed:
        return confidence < least
    if refined != given:
        return False  # a person wrote a third one
    if row["reason"].strip() != NOT_SURE:
        raise InputError(
            f"{where}: the classifier was not trusted ({row['reason'].strip()}), so that its "
            "confidence says nothing; leave --least-confidence out"
        )
    return True


def label_set_in(cell: str, where: str) -> LabelSet:
    found = label_set_of(cell.strip())
    if found is None:
        raise InputError(f"{where}: {cell!r} is no label set; mend the line")
    return found
