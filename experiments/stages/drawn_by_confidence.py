"""Weighed labels, each used as often as it is certain."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.unevenly_trusted import UnevenlyTrusted
from experiments.store import Store
from selfrefine.classes import Labels

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet
    from selfrefine.clips.trimming import Key


@dataclass(frozen=True)
class DrawnByConfidence(UnevenlyTrusted):
    """`labels`, where a second of a stem is drawn in proportion to the confidence in its label set.

    Soft labels for a separator: among the stems of a class, and among those of several classes,
    each one's loss has over many mixtures the weight of the confidence that its label is right. How
    often a mixture has a stem of several classes stays as it is. A stem whose given label stands
    against a more probable one is not drawn.
    """

    def words(self) -> str:
        return f"{self.labels.words()}, drawn by confidence"

    def shares(self, store: Store) -> "dict[Key, float]":
        return {
            key: found.confidence if found.refined == found.proposed else 0.0
            for key, found in self.labels.verdicts(store).items()
        }

    def clips(self, store: Store) -> "AudioSet":
        from dataclasses import replace

        from selfrefine.clips.audio_set import with_labels

        stems = self.labels.probabilities.stems.clips(store)
        return replace(with_labels(stems, self.label_sets(store)), draw_shares=self.shares(store))

    def label_sets(self, store: Store) -> Labels:
        shares = self.shares(store)
        labels = self.labels.labels(store)
        return {key: label if shares[key] > 0 else () for key, label in labels.items()}
