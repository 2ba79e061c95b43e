"""The stems that confident learning keeps."""

from dataclasses import dataclass

from experiments.stages.out_of_fold import OutOfFold
from experiments.stages.relabelling import Relabelling
from experiments.store import Store
from selfrefine.classes import Labels


@dataclass(frozen=True)
class Confident(Relabelling):
    """The stems without those that confident learning calls wrong, under their given labels."""

    probabilities: OutOfFold

    def words(self) -> str:
        return f"labels by confident learning on {self.probabilities.of_fold.stems.words()}"

    def data_words(self) -> str:
        return "what confident learning keeps"

    def labels(self, store: Store) -> Labels:
        from selfrefine.refining.confident_learning import kept_by_confident_learning

        return kept_by_confident_learning(self.judged(store))
