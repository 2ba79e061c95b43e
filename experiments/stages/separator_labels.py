"""Label sets that a separator's judgement gives."""

from dataclasses import dataclass, replace
from typing import Any

from experiments.profiles import Profile
from experiments.stages.relabelling import Relabelling
from experiments.stages.separator_judgement import SeparatorJudgement
from experiments.store import Store
from selfrefine.classes import Labels
from selfrefine.scales import PAPER_FILTER_DB


@dataclass(frozen=True)
class SeparatorFiltered(Relabelling):
    """The stems of which a separator's own output is `margin_db` dB above every other, under their
    given labels; the others are dropped."""

    probabilities: SeparatorJudgement
    margin_db: float = PAPER_FILTER_DB

    def words(self) -> str:
        return f"labels by {self.probabilities.separator.words()} at {self.margin_db:g} dB"

    def at_scale(self, profile: Profile) -> Any:
        if self.margin_db == PAPER_FILTER_DB:
            return replace(self, margin_db=profile.scale.filter_db)
        return self

    def labels(self, store: Store) -> Labels:
        from selfrefine.refining.separator_outputs import kept_by_margin

        return kept_by_margin(self.judged(store), self.margin_db)


@dataclass(frozen=True)
class SeparatorLabelled(Relabelling):
    """Every stem under the class of the separator's loudest output."""

    probabilities: SeparatorJudgement

    def words(self) -> str:
        return f"labels by the loudest output of {self.probabilities.separator.words()}"

    def labels(self, store: Store) -> Labels:
        from selfrefine.refining.separator_outputs import loudest_outputs

        return loudest_outputs(self.judged(store))
