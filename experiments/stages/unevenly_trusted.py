"""Weighed labels that are trusted by how certain each is: the base of the kinds that do so."""

from dataclasses import dataclass

from experiments.stages.relabelling import audited_labels
from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.weighed import Weighed
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import Labels


@dataclass(frozen=True)
class UnevenlyTrusted(StemSet):
    """The stems of `labels`, not all of which are used alike. Stores no sound."""

    labels: Weighed

    def label_sets(self, store: Store) -> Labels:
        """The label set of every stem; empty where the stem is left out."""
        raise NotImplementedError

    def data_words(self) -> str:
        return self.words().replace("labels by", "w/")

    def stem_seconds(self) -> float:
        return self.labels.stem_seconds()

    def relabellings(self) -> int:
        return self.labels.relabellings()

    def trainings_from_start(self) -> int:
        return self.labels.trainings_from_start()

    def refinements(self) -> int | None:
        return self.labels.refinements()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        truth = self.labels.probabilities.stems.truth(work.store)
        return audited_labels(self.label_sets(work.store), truth)
