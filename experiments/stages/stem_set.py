"""Stems under label sets, which trainings draw from: the base of the kinds that give them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.stages.stage import Stage
from experiments.store import Store

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet


@dataclass(frozen=True)
class StemSet(Stage):
    """Stems without silence, each under a label set."""

    unit: ClassVar[str] = "stem"

    def stem_seconds(self) -> float:
        """Seconds of all stems together, as if no silence were cut."""
        raise NotImplementedError

    def data_words(self) -> str:
        """The name of the set in a training's name: "noisy", "w/ Psi_noisy at 0.9"."""
        raise NotImplementedError

    def clips(self, store: Store) -> "AudioSet":
        """The stems under their label sets, those with an empty one left out."""
        from selfrefine.clips.audio_set import open_audio_set

        return open_audio_set(store.finished(self))

    def relabellings(self) -> int:
        """The number of classifiers behind the labels, each trained on the labels of the one
        before; 0 where the labels are as given."""
        return 0

    def relabelled_word(self) -> str:
        """The name of a classifier that learns from relabelled stems: Psi_refined."""
        return "refined"

    def trainings_from_start(self) -> int:
        """The number of these that were trained on from a start."""
        return 0

    @property
    def start_of_others(self) -> bool:
        """Whether other classifiers start from one that learns from the set."""
        return False

    def reading(self) -> str:
        """A note on how the labels are made, where it is not the usual way; else ""."""
        return ""
