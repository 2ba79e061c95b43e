"""Reads and writes the file of a training's scores on validation songs, in the training's
folder."""

import csv
from pathlib import Path

from selfrefine.files.atomic import written_whole

FILE = "validation.csv"
STEP = "step"

FOR_WATCHING = "validation"
"""The group of the stages that no row needs and that are made only for watching trainings."""


def add_validation(folder: Path, step: int, values: dict[str, float]) -> None:
    """Adds a line for `step`. Lines of an earlier attempt at this step or later are removed."""
    lines = [line for line in read_validation(folder) if line[STEP] < step]
    lines.append({STEP: step, **values})
    names = dict.fromkeys(name for line in lines for name in line)
    with written_whole(folder / FILE) as partial, partial.open("w", newline="") as file:
        table = csv.DictWriter(file, list(names), lineterminator="\n")
        table.writeheader()
        for line in lines:
            table.writerow({name: f"{value:.6g}" for name, value in line.items()})


def read_validation(folder: Path) -> list[dict[str, float]]:
    """The lines of the file in the order of steps.

    A line has `step` and measures such as "sdr" and "sdr/vocals", without those that could not be
    measured. The result is empty for a training that was not watched and for a broken file.
    """
    try:
        with (folder / FILE).open(newline="") as file:
            return [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError):
        return []
