"""Thresholds chosen on data (Table 3, "adaptive thresholds")."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.stages.recognition_outputs import RecognitionOutputs, read_outputs
from experiments.stages.stage import Result, Stage
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

        tests = read_outputs(work.store.folder(self.outputs))
        best = best_thresholds(list(tests.values())).tolist()
        return {"thresholds": dict(zip(CLASSES, best, strict=True))}
