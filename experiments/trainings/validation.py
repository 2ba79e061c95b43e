"""The file of what a training reaches on validation songs while it runs, in its own folder."""

import csv
from pathlib import Path

from selfrefine.files.atomic import written_whole

FILE = "validation.csv"
STEP = "step"

FOR_WATCHING = "validation"
"""The group of stages that no row needs: they are made to watch trainings with."""


def add_validation(folder: Path, step: int, values: dict[str, float]) -> None:
    """Adds a line; what an earlier attempt had measured at this step or later is dropped."""
    lines = [line for line in read_validation(folder) if line[STEP] < step]
    lines.append({STEP: step, **values})
    names = dict.fromkeys(name for line in lines for name in line)
    with written_whole(folder / FILE) as partial, partial.open("w", newline="") as file:
        table = csv.DictWriter(file, list(names), lineterminator="\n")
        table.writeheader()
        for line in lines:
            table.writerow({name: f"{value:.6g}" for name, value in line.items()})


def read_validation(folder: Path) -> list[dict[str, float]]:
    """A line per look, by step: `step`, and measures such as "sdr" and "sdr/vocals" as far as they
    could be measured. Nothing for a training that nobody watched, or a file that is broken."""
    try:
        with (folder / FILE).open(newline="") as file:
            return [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError):
        return []
