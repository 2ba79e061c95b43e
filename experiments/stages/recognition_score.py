"""How well a classifier recognises instruments (Tables 1 and 4)."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from experiments.profiles import Profile
from experiments.stages.recognition_outputs import (
    PAPER_THRESHOLDS,
    RecognitionOutputs,
    Thresholds,
)
from experiments.stages.stage import Result, Stage
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import CLASSES


@dataclass(frozen=True)
class RecognitionScore(Stage):
    """Accuracy, F1, precision and recall of a classifier's outputs, per class and averaged."""

    unit: ClassVar[str] = "class"

    outputs: RecognitionOutputs
    thresholds: Thresholds = PAPER_THRESHOLDS

    def words(self) -> str:
        where = self.outputs.stems.songs.tested_words()
        return f"recognition {where}by {self.outputs.classifier.words()}"

    def refinements(self) -> int | None:
        return self.outputs.refinements()

    def at_scale(self, profile: Profile) -> Any:
        if self.thresholds == PAPER_THRESHOLDS:
            return replace(self, thresholds=(profile.scale.threshold,) * 4)
        return self

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        import numpy as np

        from selfrefine.metrics.recognition import recognition

        tests = self.outputs.tests(work.store)
        result: Result = {"thresholds": list(self.thresholds)}
        for test, (truth, outputs) in tests.items():
            scores = asdict(recognition(truth, outputs, np.array(self.thresholds)))
            result[test] = {
                measure: dict(zip(CLASSES, values.tolist(), strict=True))
                | {"avg": float(values.mean())}
                for measure, values in scores.items()
            }
        return result
