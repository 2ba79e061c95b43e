"""The file of a RecognitionOutputs stage: true labels and outputs, an item a line.

Free of torch: reports read it.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.errors import InputError

FILE = "outputs.csv"
SINGLE, MULTI = "single", "multi"
"""The two tests of Tables 1 and 4: single-labelled stems, and random mixtures."""


@dataclass(frozen=True)
class Output:
    """What a classifier made of one item; `truth` and `values` are in CLASSES' order."""

    test: str
    item: str
    truth: tuple[bool, ...]
    values: tuple[float, ...]


def write_outputs(folder: Path, rows: list[Output]) -> None:
    partial = folder / f"{FILE}.partial"
    with partial.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["test", "item", "labels", *CLASSES])
        for row in rows:
            labels = [name for name, held in zip(CLASSES, row.truth, strict=True) if held]
            values = [f"{value:.5f}" for value in row.values]
            table.writerow([row.test, row.item, "+".join(labels), *values])
    os.replace(partial, folder / FILE)


def read_outputs(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By test, the truth (bool) and the outputs, each `(item, class)`. Raises InputError for a
    file that `write_outputs` did not write."""
    path = folder / FILE
    truth: dict[str, list[list[bool]]] = {SINGLE: [], MULTI: []}
    values: dict[str, list[list[float]]] = {SINGLE: [], MULTI: []}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                held = row["labels"].split("+")
                truth[row["test"]].append([name in held for name in CLASSES])
                values[row["test"]].append([float(row[name]) for name in CLASSES])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: not a table of outputs ({error}); delete {folder} and run again"
        ) from error
    shape = (-1, len(CLASSES))
    return {
        test: (
            np.array(truth[test], dtype=bool).reshape(shape),
            np.array(values[test], dtype=float).reshape(shape),
        )
        for test in (SINGLE, MULTI)
    }
