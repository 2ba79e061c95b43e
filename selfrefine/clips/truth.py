"""The true contents of a corrupted set's stems: truth.csv for whole stems, stretches.csv for parts
of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, Labels, LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.names import met_names
from selfrefine.files.table import number_in, numbered_rows, write_csv

TRUTH_FLOOR_DB = -20.0
"""A class counts as present in a stem from this share of the stem's energy up. Bleed is usually
below it, and a track that is filed wrongly above it."""

STEM_COLUMNS = ("song", "given", "true_label", *(f"{name}_energy" for name in CLASSES), "tracks")
PIECE_COLUMNS = ("song", "given", "start", "end", "true_label")


@dataclass(frozen=True)
class StemTruth:
    """The true contents of a stem file.

    `energy_share` is the energy of each class' tracks over the sum of all tracks' energies, in
    CLASSES' order. `tracks` are each track's name, class and own share.
    """

    song: str
    given: str
    tracks: tuple[tuple[str, str, float], ...]
    energy_share: tuple[float, ...]

    def label(self, floor_db: float) -> LabelSet:
        """The classes at `floor_db` or more, relative to the whole stem's energy."""
        floor = 10 ** (floor_db / 10)
        shares = zip(CLASSES, self.energy_share, strict=True)
        return tuple(name for name, share in shares if share >= floor)


@dataclass(frozen=True)
class Piece:
    """A part of a stem that holds the classes of `label`, from `start` to `end`, in s of its file.
    `label` is empty where the stem is silent."""

    song: str
    given: str
    start: float
    end: float
    label: LabelSet


def write_truth(path: Path, truths: Iterable[StemTruth]) -> None:
    """Writes truth.csv, a line per stem file."""
    rows = []
    for truth in truths:
        tracks = "; ".join(f"{name} [{stem}] {share:.4f}" for name, stem, share in truth.tracks)
        shares = [f"{share:.6f}" for share in truth.energy_share]
        label = label_words(truth.label(TRUTH_FLOOR_DB))
        rows.append([truth.song, truth.given, label, *shares, tracks])
    write_csv(path, STEM_COLUMNS, rows)


def read_truth(path: Path) -> Labels:
    """True label sets by (song, given label). That of a stem without any class is empty.

    Raises InputError for words that are no label set and for a stem with two truths, naming the
    line, and for a file that is no such table or has no stem.
    """
    truth: Labels = {}
    for line, row in numbered_rows(path, ("song", "given", "true_label")):
        key, label = (row["song"], row["given"]), true_label(path, line, row["true_label"])
        if truth.setdefault(key, label) != label:
            raise InputError(
                f"{path}, line {line}: a second truth of {key[1]} of {key[0]}; keep one"
            )
    if not truth:
        raise InputError(f"{path}: has no line below its heading; give the truth of some stems")
    return truth


def under_names(truth: Labels, songs: Iterable[str]) -> Labels:
    """The true label sets under the names of `songs`, which may differ from those in the table in
    their Unicode form. Those of other songs are left out."""
    met = met_names((song for song, _ in truth), songs)
    return {(met[song], given): label for (song, given), label in truth.items() if song in met}


def write_pieces(path: Path, pieces: Iterable[Piece]) -> None:
    """Writes stretches.csv, a line per piece of a stem file."""
    rows = (
        (
            piece.song,
            piece.given,
            f"{piece.start:.6f}",
            f"{piece.end:.6f}",
            label_words(piece.label),
        )
        for piece in pieces
    )
    write_csv(path, PIECE_COLUMNS, rows)


def read_pieces(path: Path) -> dict[tuple[str, str], tuple[Piece, ...]]:
    """The pieces by (song, given label). Raises InputError for a file that `write_pieces` did not
    write, naming the line."""
    pieces: dict[tuple[str, str], tuple[Piece, ...]] = {}
    for line, row in numbered_rows(path, PIECE_COLUMNS):
        label = true_label(path, line, row["true_label"])
        try:
            times = number_in(row["start"]), number_in(row["end"])
        except ValueError as error:
            raise InputError(f"{path}, line {line}: not a piece of a stem ({error})") from error
        key = (row["song"], row["given"])
        pieces[key] = (*pieces.get(key, ()), Piece(*key, *times, label))
    return pieces


def true_label(path: Path, line: int, words: str) -> LabelSet:
    """The label set that `words` name. Raises InputError, naming the line, where they name none."""
    label = label_set_of(words.strip())
    if label is None:
        raise InputError(
            f"{path}, line {line}: {words!r} is no label set; write classes of "
            f"{', '.join(CLASSES)} joined by +"
        )
    return label
