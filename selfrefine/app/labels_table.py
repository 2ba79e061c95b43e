"""labels.csv, the table of refining's decisions. It can be read back after edits by hand."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.names import met_names
from selfrefine.files.table import BYTE_ORDER_MARK, guarded, numbered_rows

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

BY_HAND = "by hand"
"""The reason in labels.csv where a person decided."""


@dataclass(frozen=True)
class StemDecision:
    """The decision of refining for a stem.

    `file` is its path within the data set, `name` its name within its song, and `seconds` the
    length of the whole file. `probability` is per class in CLASSES' order. `proposed` is the label
    set that the classifier finds, `refined` the one that stands, and `confidence` the probability
    that `proposed` is exactly right. `probability`, `confidence` and `seconds` are None for a stem
    that could not be used.

    `reason` says why the given label set stands against the proposed one, why a stem was left out,
    or that `proposed` is the most probable class alone. `most_probable` is true in the last case,
    where no class passes the threshold. `iteration` is the first one from which on the proposed
    label set did not change; it is 0 for the start, and for a stem that could not be used.
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
        return decision_word(self.given, self.refined)

    @property
    def doubt(self) -> float:
        """How probable it is, by the classifier, that the label set that stands is wrong; 0 for a
        stem that could not be used."""
        if self.confidence is None:
            return 0.0
        return self.confidence if self.refined != self.proposed else 1 - self.confidence


def decision_word(given: LabelSet, refined: LabelSet) -> str:
    if not refined:
        return "drop"
    if refined == given:
        return "keep"
    return "relabel" if len(refined) == 1 else "multi"


def listed_file(root: Path, file: StemFile) -> str:
    """A stem's file as labels.csv lists it: its path within the data set, and for a stream `#` and
    the stem's name."""
    path = file.path.relative_to(root).as_posix()
    return path if file.stream is None else f"{path}#{file.name}"


def labels_text(decisions: Iterable[StemDecision]) -> str:
    lines = [BYTE_ORDER_MARK, csv_line(COLUMNS)]
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
    """A line of a table, which ends with LF. A cell with CR or LF is quoted, and none can start a
    formula. The csv module quotes only the characters of its own line end, so it is given CR LF."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(guarded(cells))
    return out.getvalue().removesuffix("\r\n") + "\n"


def read_labels(path: Path, root: Path, songs: list[SongFiles]) -> list[SongFiles]:
    """The songs under the refined labels of a labels.csv. Stems without a label are left out.

    Raises InputError for words that are no label set and for a stem that is not in the data set,
    naming the line; for a stem of the data set without a line; and where no stem has a label.
    """
    known = {listed_file(root, file): file for song in songs for file in song.files if file.label}
    labels: dict[str, LabelSet] = {}
    rows = numbered_rows(path, ("file", "refined"))
    met = met_names((row["file"] for _, row in rows), known)
    for line, row in rows:
        word, refined = met.get(row["file"], row["file"]), row["refined"].strip()
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
