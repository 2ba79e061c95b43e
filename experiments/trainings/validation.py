"""What is measured on validation songs while a training runs: the stage that it is measured on, and
the file of it in the training's folder.

Watching changes no result, so it is no part of a stage. Free of torch: the runner plans with it and
reports read it.
"""

import csv
import os
from collections.abc import Callable
from pathlib import Path

from experiments.data import VALIDATION, DataScale, bind
from experiments.stages import Classifier, Separator, Songs, Stage, Trimmed, closure
from experiments.store import Store
from experiments.tracking.mode import wandb_mode
from selfrefine.errors import InputError

FILE = "validation.csv"
STEP = "step"


def validation_songs(data: str, scale: DataScale, say: Callable[[str], None]) -> Songs | None:
    """The songs that trainings are watched with. None where nobody watches, and, said so, for data
    without a validation split."""
    if wandb_mode() == "disabled":
        return None
    try:
        songs: Songs = bind(VALIDATION, data, scale)
    except InputError as error:
        say(f"note   trainings go unwatched: {error}")
        return None
    return songs


def watched_with(stage: Stage, songs: Songs | None) -> Stage | None:
    """What of the validation `songs` a training is watched with; None for what trains nothing."""
    if songs is None:
        return None
    match stage:
        case Classifier():
            return Trimmed(songs)
        case Separator():
            return songs
    return None


def needed_to_watch(stages: list[Stage], songs: Songs | None, store: Store) -> list[Stage]:
    """What the store lacks to watch the trainings among `stages` that are still to run."""
    watched = [watched_with(stage, songs) for stage in stages if not store.done(stage)]
    needed = closure([stage for stage in watched if stage is not None])
    return [stage for stage in needed if not store.done(stage)]


def add_validation(folder: Path, step: int, values: dict[str, float]) -> None:
    """Adds a line; what an earlier attempt had measured at this step or later is dropped."""
    lines = [line for line in read_validation(folder) if line[STEP] < step]
    lines.append({STEP: step, **values})
    names = dict.fromkeys(name for line in lines for name in line)
    partial = folder / f"{FILE}.partial"
    with partial.open("w", newline="") as file:
        table = csv.DictWriter(file, list(names), lineterminator="\n")
        table.writeheader()
        for line in lines:
            table.writerow({name: f"{value:.6g}" for name, value in line.items()})
    os.replace(partial, folder / FILE)


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
