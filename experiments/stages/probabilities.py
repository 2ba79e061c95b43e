"""A classifier's outputs for every stem of a set (section 4.2)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.integrity import damaged
from experiments.stages.classifier import Classifier
from experiments.stages.stage import Result, Stage
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import Cost, StepCostOf, Work

if TYPE_CHECKING:
    from selfrefine.refining.probabilities import StemProbability


@dataclass(frozen=True)
class Probabilities(Stage):
    """The probability of each class in each of `stems`, averaged over its windows."""

    unit: ClassVar[str] = "stem"
    on_gpu: ClassVar[bool] = True

    stems: Trimmed
    classifier: Classifier
    windows_per_segment: int = 4

    def words(self) -> str:
        return f"{self.classifier.words()} on {self.stems.words()}"

    def refinements(self) -> int | None:
        return self.classifier.refinements()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        heard = self.windows_per_segment * self.stems.stem_seconds()
        return self.classifier.applied_cost(heard, step_cost_of)

    def judged(self, store: Store) -> "list[StemProbability]":
        """A row a stem. Raises InputError for a table that is not of all stems."""
        from selfrefine.refining.probabilities import PROBABILITIES, read_probabilities

        folder = store.finished(self)
        rows = read_probabilities(folder / PROBABILITIES)
        stems = store.result(self).get("stems")
        found = len({(row.song, row.name) for row in rows})
        if not len(rows) == found == stems:
            what = f"it has {found} stems in {len(rows)} lines instead of {stems}"
            raise damaged(folder / PROBABILITIES, what, folder)
        return rows

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
