"""Weighed labels of which the doubtful ones are not trusted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.weighed import Weighed
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import Labels

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet
    from selfrefine.clips.trimming import Key


@dataclass(frozen=True)
class Doubted(StemSet):
    """`labels`, of which those are doubtful whose label set is right with less than the probability
    `sure`.

    A doubtful stem has the given and the proposed classes together. It is `heard` in mixtures, or
    left out. With `compared` it has a loss, as a multi-labelled stem has, else none.

    That a doubtful label gives no loss rather than a wrong one is the teacher-student method of
    Fonseca, Hershey, Plakal, Ellis, Jansen and Moore, "Addressing missing labels in large-scale
    sound event recognition", arXiv 2005.00878.
    """

    labels: Weighed
    sure: float
    heard: bool
    compared: bool

    def words(self) -> str:
        how = "left out"
        if self.heard:
            how = "merged" if self.compared else "without loss"
        return f"{self.labels.words()}, doubtful ones {how}"

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

    def doubtful(self, store: Store) -> "set[Key]":
        """The song and name of each stem whose label set is doubtful."""
        return {
            key
            for key, found in self.labels.verdicts(store).items()
            if found.refined != found.proposed or found.confidence < self.sure
        }

    def label_sets(self, store: Store) -> Labels:
        """The label set of every stem, that of a doubtful one with all that it may hold."""
        from selfrefine.classes import CLASSES

        found, doubtful = self.labels.verdicts(store), self.doubtful(store)
        given = {(row.song, row.name): row.given for row in self.labels.judged(store)}
        sets = {}
        for key, verdict in found.items():
            either = {*given[key], *verdict.proposed}
            both = tuple(name for name in CLASSES if name in either)
            sets[key] = verdict.refined if key not in doubtful else both if self.heard else ()
        return sets

    def clips(self, store: Store) -> "AudioSet":
        from dataclasses import replace

        from selfrefine.clips.audio_set import with_labels

        stems = with_labels(self.labels.probabilities.stems.clips(store), self.label_sets(store))
        if self.compared:
            return stems
        return replace(stems, without_loss=frozenset(self.doubtful(store)))

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        from selfrefine.refining.labels import count_labels

        doubtful = self.doubtful(work.store)
        return {**count_labels(self.label_sets(work.store)), "doubtful": len(doubtful)}
