"""What a separator says of the classes in each stem of a set."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.stages.judgement import Judgement
from experiments.stages.separator import Separator
from experiments.stages.stage import Result
from experiments.stages.training import WEIGHTS
from experiments.work import Cost, StepCostOf, Work


@dataclass(frozen=True)
class SeparatorJudgement(Judgement):
    """For each stem the share of every output of `separator` in the power of all of them."""

    on_gpu: ClassVar[bool] = True

    separator: Separator

    def words(self) -> str:
        return f"{self.separator.words()} as judge of {self.stems.words()}"

    def relabellings(self) -> int:
        return 1 + self.separator.trained_on.relabellings()

    def refinements(self) -> int | None:
        before = self.separator.refinements()
        return None if before is None else before + 1

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return self.separator.applied_cost(self.stems.stem_seconds(), step_cost_of)

    def compute(self, work: Work) -> Result:
        from selfrefine.models.separator import build_separator
        from selfrefine.models.weights import load_model
        from selfrefine.refining.probabilities import PROBABILITIES, write_probabilities
        from selfrefine.refining.separator_outputs import output_shares
        from selfrefine.training.device import training_device

        device = training_device()
        settings = self.separator.settings
        weights = work.store.finished(self.separator) / WEIGHTS
        model = load_model(build_separator(settings), weights, device)
        stems = self.stems.clips(work.store)
        rows = []
        for row in output_shares(model, settings, stems, device):
            rows.append(row)
            work.progress.count(len(rows), len(stems.clips))
        write_probabilities(work.folder / PROBABILITIES, rows)
        return {"stems": len(rows)}
