"""Label sets that thresholds give (section 4.2): the paper's way of relabelling."""

from dataclasses import dataclass, replace
from typing import Any

from experiments.profiles import Profile
from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.probabilities import Probabilities
from experiments.stages.recognition_outputs import PAPER_THRESHOLDS, Thresholds
from experiments.stages.relabelling import Relabelling
from experiments.stages.stage import Result
from experiments.store import Store
from experiments.work import Work
from selfrefine.classes import Labels
from selfrefine.settings import added

MOST_PROBABLE = True
"""The registry's choice for a stem that passes no threshold: it keeps its most probable class, or
is dropped. The paper leaves it unsaid."""


@dataclass(frozen=True)
class Relabelled(Relabelling):
    """Every stem under the classes whose probability is at least their threshold. Where no class
    passes, the stem is dropped, or with `most_probable` keeps its most probable class."""

    probabilities: Probabilities
    thresholds: Thresholds | AdaptiveThresholds = PAPER_THRESHOLDS
    most_probable: bool = added(False, as_before=False)

    def words(self) -> str:
        by = self.probabilities.classifier.words()
        return f"labels by {by} at {self.threshold_words()}{self.reading()}"

    def threshold_words(self) -> str:
        if isinstance(self.thresholds, AdaptiveThresholds):
            return f"adaptive thresholds from {self.thresholds.outputs.stems.songs.words()}"
        low, high = min(self.thresholds), max(self.thresholds)
        return f"{low:g}" if low == high else f"{low:g}-{high:g}"

    def reading(self) -> str:
        """A note on stems that pass no threshold, where the registry chooses otherwise; else ""."""
        if self.most_probable == MOST_PROBABLE:
            return ""
        return " (most probable)" if self.most_probable else " (drop)"

    def refinements(self) -> int | None:
        return self.probabilities.refinements()

    def at_scale(self, profile: Profile) -> Any:
        if self.thresholds == PAPER_THRESHOLDS:
            return replace(self, thresholds=(profile.scale.threshold,) * 4)
        return self

    def chosen_thresholds(self, store: Store) -> tuple[float, ...]:
        """Per class, in CLASSES' order."""
        if isinstance(self.thresholds, AdaptiveThresholds):
            return self.thresholds.chosen(store)
        return self.thresholds

    def labels(self, store: Store) -> Labels:
        from selfrefine.refining.labels import thresholded_labels

        thresholds = self.chosen_thresholds(store)
        return thresholded_labels(self.judged(store), thresholds, self.most_probable)

    def compute(self, work: Work) -> Result:
        thresholds = list(self.chosen_thresholds(work.store))
        return {**super().compute(work), "thresholds": thresholds}
