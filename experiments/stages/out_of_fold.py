"""The judgement of every stem by a classifier that did not learn from the stem's song."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.fold import Fold
from experiments.stages.judgement import Judgement
from experiments.stages.probabilities import Probabilities
from experiments.stages.stage import Result
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work

if TYPE_CHECKING:
    from selfrefine.refining.probabilities import StemProbability


@dataclass(frozen=True)
class OutOfFold(Judgement):
    """What `of_fold` says of the songs that its classifier did not learn from, and `before` of
    those of the other folds."""

    of_fold: Probabilities
    before: "OutOfFold | None" = None

    @property
    def fold(self) -> Fold:
        fold = self.of_fold.classifier.trained_on
        assert isinstance(fold, Fold)
        return fold

    def words(self) -> str:
        fold = self.fold
        return f"{self.stems.words()} as judged out of fold, {fold.number + 1} of {fold.folds}"

    def relabellings(self) -> int:
        return self.of_fold.relabellings()

    def refinements(self) -> int | None:
        return self.of_fold.refinements()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def judged_so_far(self, store: Store) -> "list[StemProbability]":
        out = self.fold.held_out(store)
        own = [row for row in self.of_fold.judged(store) if row.song in out]
        return (self.before.judged_so_far(store) if self.before else []) + own

    def compute(self, work: Work) -> Result:
        from selfrefine.refining.probabilities import PROBABILITIES, write_probabilities

        rows = self.judged_so_far(work.store)
        write_probabilities(work.folder / PROBABILITIES, rows)
        return {"stems": len(rows)}
