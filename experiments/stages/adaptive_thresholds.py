"""Thresholds chosen on data (Table 3, "adaptive thresholds")."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.integrity import DONE, damaged
from experiments.stages.recognition_outputs import RecognitionOutputs
from experiments.stages.stage import Result, Stage
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import CLASSES


@dataclass(frozen=True)
class AdaptiveThresholds(Stage):
    """Per class the threshold of the highest F1 on a split, averaged over its single-labelled stems
    and its random mixtures."""

    unit: ClassVar[str] = "class"

    outputs: RecognitionOutputs

    def words(self) -> str:
        songs = self.outputs.stems.songs.words()
        return f"thresholds of {self.outputs.classifier.words()} chosen on {songs}"

    def refinements(self) -> int | None:
        return self.outputs.refinements()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        from selfrefine.metrics.recognition import best_thresholds

        best = best_thresholds(list(self.outputs.tests(work.store).values())).tolist()
        return {"thresholds": dict(zip(CLASSES, best, strict=True))}

    def chosen(self, store: Store) -> tuple[float, ...]:
        """The thresholds in CLASSES' order. Raises InputError for a record without one above 0 and
        at most 1 for each class."""
        folder, result = store.folder(self), store.result(self)
        try:
            found = result["thresholds"]
            values = tuple(float(found[name]) for name in CLASSES)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder / DONE, f"no thresholds: {error!r}", folder) from error
        if not all(0 < value <= 1 for value in values):
            raise damaged(folder / DONE, f"its thresholds are {values}", folder)
        return values
