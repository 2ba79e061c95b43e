"""labels.csv: what refining decided of each stem, and reading it back, hand edits included."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, label_set_of
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, StemFile

COLUMNS = (
    "song",
    "file",
    "given",
    *CLASSES,
    "proposed",
    "refined",
    "decision",
    "confidence",
    "reason",
    "iteration",
    "seconds",
)


@dataclass(frozen=True)
class StemDecision:
    """What became of a stem.

    `file` is its path within the data set; `name` its name within its song. `probability` is per
    class in CLASSES' order, None for a stem that could not be used. `proposed` is the label set
    that the classifier finds, `refined` the one that stands, `confidence` the probability that
    `proposed` is exactly right, and `reason` says why the given one stands where it does not agree,
    or why a stem was left out. `iteration` is the first whose label set was the proposed one, 0
    where none was. `most_probable` is true where no class passes the threshold and `proposed` is
    the most probable one.
    """

    song: str
    name: str
    file: str
    given: tuple[str, ...]
    probability: tuple[float, ...] | None
    proposed: tuple[str, ...]
    refined: tuple[str, ...]
    confidence: float | None
    reason: str
    iteration: int
    seconds: float | None
    most_probable: bool = False

    @property
    def decision(self) -> str:
        if not self.refined:
            return "drop"
        if self.refined == self.given:
            return "keep"
        return "relabel" if len(self.refined) == 1 else "multi"

    @property
    def doubt(self) -> float:
        """How unsure the label set that stands is: low for what agrees with a sure classifier, high
        for what contradicts one; 0 for a stem that could not be used."""
        if self.confidence is None:
            return 0.0
        return self.confidence if self.refined != self.proposed else 1 - self.confidence


def file_word(root: Path, file: StemFile) -> str:
    """A stem's file in labels.csv: its path within the data set, a stream after a `#`."""
    path = file.path.relative_to(root).as_posix()
    return path if file.stream is None else f"{path}#{file.name}"


def labels_text(decisions: Iterable[StemDecision]) -> str:
    lines = [csv_line(COLUMNS)]
    for stem in decisions:
        values = [f"{p:.4f}" for p in stem.probability] if stem.probability else [""] * len(CLASSES)
        seconds = "" if stem.seconds is None else f"{stem.seconds:.2f}"
        confidence = "" if stem.confidence is None else f"{stem.confidence:.3f}"
        lines.append(
            csv_line(
                [
                    stem.song,
                    stem.file,
                    "+".join(stem.given),
                    *values,
                    "+".join(stem.proposed),
                    "+".join(stem.refined),
                    stem.decision,
                    confidence,
                    stem.reason,
                    stem.iteration,
                    seconds,
                ]
            )
        )
    return "".join(lines)


def csv_line(cells: Iterable[object]) -> str:
    """A line of a table. A cell that holds a line's end of any kind is quoted: csv does so for
    those of its own line ends alone."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n") + "\n"


def write_labels(path: Path, text: str) -> None:
    """Whole or not at all. Names that are not valid UTF-8 keep their bytes."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    os.replace(partial, path)


def read_labels(path: Path, root: Path, songs: list[SongFiles]) -> list[SongFiles]:
    """The songs under the refined labels of a labels.csv, stems without a label left out.

    Raises InputError, naming the line, for a class that is none, for a stem that is not in the
    data set, and for a stem of the data set without a line.
    """
    known = {file_word(root, file): file for song in songs for file in song.files if file.label}
    labels: dict[str, tuple[str, ...]] = {}
    for line, row in enumerate(table_rows(path, ("file", "refined")), start=2):
        word, refined = row["file"], (row["refined"] or "").strip()
        label = label_set_of(refined) if refined else ()
        if label is None:
            raise InputError(
                f"{path}, line {line}: {refined!r} is no label set; write classes of "
                f"{', '.join(CLASSES)} joined by +, or nothing to drop the stem"
            )
        if word not in known:
            raise InputError(f"{path}, line {line}: no file {word!r} in {root}; mend the line")
        if word in labels:
            raise InputError(f"{path}, line {line}: a second line for {word!r}; keep one")
        labels[word] = label
    missing = [word for word in known if word not in labels]
    if missing:
        raise InputError(
            f"{path}: no line for {missing[0]!r}"
            + (f" and {len(missing) - 1} other stems" if len(missing) > 1 else "")
            + f" of {root}; add them, or refine again"
        )
    relabelled = []
    for song in songs:
        files = [
            StemFile(file.name, label, file.path, file.stream)
            for file in song.files
            if file.label and (label := labels[file_word(root, file)])
        ]
        if files:
            relabelled.append(SongFiles(song.name, tuple(files)))
    if not relabelled:
        raise InputError(f"{path}: every stem is dropped; nothing is left to train on")
    return relabelled


def read_truth(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """True label sets by song and given label, from a truth.csv as `selfrefine corrupt` writes.

    Raises InputError for a file that is none.
    """
    truth = {}
    for line, row in enumerate(table_rows(path, ("song", "given", "true_label")), start=2):
        label = label_set_of(row["true_label"] or "")
        if label is None:
            raise InputError(
                f"{path}, line {line}: {row['true_label']!r} is no label set; write classes of "
                f"{', '.join(CLASSES)} joined by +"
            )
        truth[row["song"], row["given"]] = label
    if not truth:
        raise InputError(f"{path}: has no line below its heading; give the truth of some stems")
    return truth


def table_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """A CSV file's lines by column. Raises InputError where one of the needed columns is not."""
    try:
        # As bytes: a carriage return in a song's name is no line's end.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(table)
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); check the path") from error
    missing = [name for name in needed if name not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; its first line must name columns")
    short = [line for line, row in enumerate(rows, start=2) if None in row or None in row.values()]
    if short:
        raise InputError(f"{path}, line {short[0]}: not as many cells as columns; mend the line")
    return rows
