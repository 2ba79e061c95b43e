"""labels.csv: what refining decided of each stem, and reading it back, hand edits included."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.table import read_csv

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
    """What refining decided of a stem.

    `file` is its path within the data set; `name` its name within its song. `probability` is per
    class in CLASSES' order, None for a stem that could not be used. `proposed` is the label set
    that the classifier finds, `refined` the one that stands, and `confidence` the probability that
    `proposed` is exactly right. `reason` says why the given label set stands against the proposed
    one, or why a stem was left out. `iteration` is the first from which on the label set stayed the
    proposed one, 0 where none was. `most_probable` is true where no class passes the threshold and
    `proposed` is the most probable one.
    """

    song: str
    name: str
    file: str
    given: LabelSet
    probability: tuple[float, ...] | None
    proposed: LabelSet
    refined: LabelSet
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
        """The probability that the label set that stands is wrong, by the classifier; 0 for a stem
        that could not be used."""
        if self.confidence is None:
            return 0.0
        return self.confidence if self.refined != self.proposed else 1 - self.confidence


def listed_file(root: Path, file: StemFile) -> str:
    """A stem's file as labels.csv lists it: its path within the data set, a stream after a `#`."""
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
                    label_words(stem.given),
                    *values,
                    label_words(stem.proposed),
                    label_words(stem.refined),
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


def read_labels(path: Path, root: Path, songs: list[SongFiles]) -> list[SongFiles]:
    """The songs under the refined labels of a labels.csv, stems without a label left out.

    Raises InputError, naming the line, for a class that is none, for a stem that is not in the
    data set, and for a stem of the data set without a line.
    """
    known = {listed_file(root, file): file for song in songs for file in song.files if file.label}
    labels: dict[str, LabelSet] = {}
    for line, row in enumerate(read_csv(path, ("file", "refined")), start=2):
        word, refined = row["file"], row["refined"].strip()
        label = label_set_of(refined)
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
            if file.label and (label := labels[listed_file(root, file)])
        ]
        if files:
            relabelled.append(SongFiles(song.name, tuple(files)))
    if not relabelled:
        raise InputError(f"{path}: every stem is dropped; nothing is left to train on")
    return relabelled
