"""A classifier's outputs for every stem of a set (section 4.2)."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.stages.classifier import Classifier
from experiments.stages.judgement import Judgement
from experiments.stages.stage import Result
from experiments.work import Cost, StepCostOf, Work


@dataclass(frozen=True)
class Probabilities(Judgement):
    """The probability of each class in each of `stems`, averaged over its windows."""

    on_gpu: ClassVar[bool] = True

    classifier: Classifier
    windows_per_segment: int = 4

    def words(self) -> str:
        return f"{self.classifier.words()} on {self.stems.words()}"

    def refinements(self) -> int | None:
        return self.classifier.refinements()

    def relabellings(self) -> int:
        return 1 + self.classifier.trained_on.relabellings()

    def trainings_from_start(self) -> int:
        return self.classifier.trainings_from_start()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        heard = self.windows_per_segment * self.stems.stem_seconds()
        return self.classifier.applied_cost(heard, step_cost_of)

    def compute(self, work: Work) -> Result:
        import numpy as np

        from selfrefine.refining.probabilities import judge_stems
        from selfrefine.training.device import training_device

        device = training_device()
        stems = self.stems.clips(work.store)
        settings = self.classifier.settings
        model = self.classifier.trained_model(work.store, device)
        rows = judge_stems(
            model, stems, settings, self.windows_per_segment, work.folder, device, work.progress
        )
        outputs = np.array([row.probability for row in rows])
        unsure = float(((outputs > 0.1) & (outputs < 0.9)).mean())
        return {"stems": len(rows), "unsure": unsure}
