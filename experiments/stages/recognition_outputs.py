"""A classifier's outputs where every label is right, to test it with (section 5.1).

`outputs.csv` in its folder has true labels and outputs, an item a line.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.integrity import damaged
from experiments.profiles import Profile
from experiments.stages.classifier import Classifier
from experiments.stages.stage import Result, Stage
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES, label_set_of, label_words
from selfrefine.files.atomic import written_whole
from selfrefine.scales import PAPER_THRESHOLD

if TYPE_CHECKING:
    import numpy as np

Tests = dict[str, tuple["np.ndarray", "np.ndarray"]]
"""The truth (bool) and a classifier's outputs, each `(item, class)`, by test."""

FILE = "outputs.csv"
COLUMNS = ("test", "item", "labels", *CLASSES)
SINGLE, MULTI = "single", "multi"
"""The two tests of Tables 1 and 4: single-labelled stems, and random mixtures."""

Thresholds = tuple[float, float, float, float]
"""Per class, in CLASSES' order."""

PAPER_THRESHOLDS: Thresholds = (PAPER_THRESHOLD,) * 4
"""A profile has its own in their place."""


@dataclass(frozen=True)
class RecognitionOutputs(Stage):
    """The outputs of `classifier` for the single-labelled stems of a split, and for `mixtures`
    random mixtures of them."""

    unit: ClassVar[str] = "item"
    on_gpu: ClassVar[bool] = True

    stems: Trimmed
    classifier: Classifier
    mixtures: int = 3941
    windows_per_segment: int = 4
    seed: int = 0

    def words(self) -> str:
        return f"{self.classifier.words()} on {self.stems.words()} and mixtures of them"

    def refinements(self) -> int | None:
        return self.classifier.refinements()

    def at_scale(self, profile: Profile) -> Any:
        return replace(self, mixtures=profile.mixtures)

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        heard = self.windows_per_segment * self.stems.stem_seconds()
        return self.classifier.applied_cost(heard, step_cost_of)

    def tests(self, store: Store) -> Tests:
        """Raises InputError for a table that is not of all items."""
        folder = store.finished(self)
        tests = read_outputs(folder)
        found = {test: len(truth) for test, (truth, _) in tests.items()}
        items = store.result(self).get("items")
        if found != items:
            raise damaged(folder / FILE, f"it has {found} items instead of {items}", folder)
        return tests

    def compute(self, work: Work) -> Result:
        from selfrefine.metrics.recognition import unsure_share
        from selfrefine.refining.mixture_outputs import mixture_outputs
        from selfrefine.refining.probabilities import stem_windows
        from selfrefine.training.device import training_device

        device = training_device()
        stems = self.stems.clips(work.store)
        settings = self.classifier.settings
        model = self.classifier.trained_model(work.store, device)
        items = len(stems.clips) + self.mixtures
        rows = []
        for stem, _ in stem_windows(model, stems, settings, self.windows_per_segment, device):
            truth = tuple(name in stem.given for name in CLASSES)
            rows.append(Output(SINGLE, f"{stem.song}/{stem.name}", truth, stem.probability))
            work.progress.count(len(rows), items)
        mixtures = mixture_outputs(model, stems, settings, self.mixtures, self.seed, device)
        for number, (truth, values) in enumerate(mixtures):
            rows.append(Output(MULTI, str(number), truth, values))
            work.progress.count(len(rows), items)
        write_outputs(work.folder, rows)
        tests = read_outputs(work.folder)
        return {
            "items": {test: len(truth) for test, (truth, _) in tests.items()},
            "unsure": {test: unsure_share(outputs) for test, (_, outputs) in tests.items()},
        }


@dataclass(frozen=True)
class Output:
    """A classifier's outputs for one item; `truth` and `values` are in CLASSES' order."""

    test: str
    item: str
    truth: tuple[bool, ...]
    values: tuple[float, ...]


def write_outputs(folder: Path, rows: list[Output]) -> None:
    with (
        written_whole(folder / FILE) as partial,
        # A song's name may not be valid Unicode.
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            label = [name for name, held in zip(CLASSES, row.truth, strict=True) if held]
            values = [f"{value:.5f}" for value in row.values]
            table.writerow([row.test, row.item, label_words(label), *values])


def read_outputs(folder: Path) -> Tests:
    """Raises InputError for a file that `write_outputs` did not write."""
    path = folder / FILE
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            table = csv.DictReader(file)
            if table.fieldnames != [*COLUMNS]:
                raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
            return outputs_of_rows(table)
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise damaged(path, f"not a table of outputs: {error}", folder) from error


def outputs_of_rows(rows: Iterable[dict[str, str]]) -> Tests:
    """As `read_outputs`, of the rows of one classifier's table. Raises KeyError, ValueError or
    TypeError for rows that are none."""
    import numpy as np

    truth: dict[str, list[list[bool]]] = {SINGLE: [], MULTI: []}
    values: dict[str, list[list[float]]] = {SINGLE: [], MULTI: []}
    for row in rows:
        held = label_set_of(row["labels"])
        outputs = [float(row[name]) for name in CLASSES]
        if None in row or held is None or not all(0 <= output <= 1 for output in outputs):
            raise ValueError(f"item {row.get('item')}: labels {row['labels']}, outputs {outputs}")
        truth[row["test"]].append([name in held for name in CLASSES])
        values[row["test"]].append(outputs)
    shape = (-1, len(CLASSES))
    return {
        test: (
            np.array(truth[test], dtype=bool).reshape(shape),
            np.array(values[test], dtype=float).reshape(shape),
        )
        for test in (SINGLE, MULTI)
    }
