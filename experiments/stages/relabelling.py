"""Stems under label sets that follow from a judgement: the base of the kinds that decide them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from experiments.stages.judgement import Judgement
from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import Labels

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet
    from selfrefine.refining.probabilities import StemProbability


@dataclass(frozen=True)
class Relabelling(StemSet):
    """The judged stems under new label sets; a stem whose set is empty is dropped. Only the labels
    are new, so a stage of this base stores no sound."""

    probabilities: Judgement

    def labels(self, store: Store) -> Labels:
        """The label set of every stem."""
        raise NotImplementedError

    def judged(self, store: Store) -> "list[StemProbability]":
        """The probabilities that decide the labels, a row a stem."""
        return self.probabilities.judged(store)

    def stem_seconds(self) -> float:
        return self.probabilities.stems.stem_seconds()

    def data_words(self) -> str:
        return self.words().replace("labels by", "w/")

    def relabellings(self) -> int:
        return self.probabilities.relabellings()

    def trainings_from_start(self) -> int:
        return self.probabilities.trainings_from_start()

    def clips(self, store: Store) -> "AudioSet":
        from selfrefine.clips.audio_set import with_labels

        return with_labels(self.probabilities.stems.clips(store), self.labels(store))

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        return audited_labels(self.labels(work.store), self.probabilities.stems.truth(work.store))


def audited_labels(labels: Labels, truth: Labels | None) -> Result:
    """How many stems became single-labelled, multi-labelled and dropped, and a comparison of the
    labels with the truth where it is known."""
    from selfrefine.metrics.label_sets import confusion, label_accuracy
    from selfrefine.refining.labels import count_labels

    result: Result = {**count_labels(labels)}
    if truth is not None:
        result["accuracy"] = asdict(label_accuracy(labels, truth))
        result["confusion"] = confusion(labels, truth)
    return result
