"""A table of the label sets of a relabelled set, and their confusion with the true label sets or,
if these are unknown, with the given ones."""

import csv
import io
from collections import Counter
from typing import Any

from experiments.stages.relabelling import Relabelling
from experiments.store import Store
from selfrefine.classes import CLASSES, label_words
from selfrefine.files.table import guarded


def label_rows(stage: Relabelling, store: Store) -> list[dict[str, Any]]:
    """One row per stem: song, stem, given label set, refined label set, the true one if it is
    known, seconds, and each class' probability."""
    judged = stage.judged(store)
    labels = stage.labels(store)
    truth = stage.probabilities.stems.truth(store)
    rows = []
    for stem in judged:
        row: dict[str, Any] = {
            "song": stem.song,
            "stem": stem.name,
            "given": label_words(stem.given),
            "label": label_words(labels[stem.song, stem.name]),
        }
        if truth is not None:
            row["true"] = label_words(truth[stem.song, stem.name])
        row["seconds"] = stem.seconds
        rows.append(row | dict(zip(CLASSES, stem.probability, strict=True)))
    return rows


def table_text(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    table.writeheader()
    table.writerows(dict(zip(row, guarded(row.values()), strict=True)) for row in rows)
    return out.getvalue()


def compared_with(rows: list[dict[str, Any]]) -> str:
    """The column with which refined labels are compared: "true" if the truth is known, else
    "given"."""
    return "true" if rows and "true" in rows[0] else "given"


def confusion_counts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Counts of stems by true (or given) label set and refined label set. An empty refined label
    set means a dropped stem."""
    known = compared_with(rows)
    pairs = Counter((row[known], row["label"]) for row in rows)
    return [
        {known: actual, "label": label, "stems": count}
        for (actual, label), count in sorted(pairs.items())
    ]
