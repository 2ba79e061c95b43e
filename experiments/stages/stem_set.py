"""What trainings draw from: stems under label sets. The base of the kinds that give them."""

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
        """What a training on the set is called by: "noisy", "w/ Psi_noisy at 0.9"."""
        raise NotImplementedError

    def clips(self, store: Store) -> "AudioSet":
        """The stems under their label sets, those with an empty one left out."""
        from selfrefine.clips.audio_set import open_audio_set

        return open_audio_set(store.folder(self))

    def relabellings(self) -> int:
        """How many classifiers in a row gave labels: each but the first learnt from the labels of
        the one before. 0 where the labels are as given."""
        return 0

    def trainings_from_start(self) -> int:
        """How many of these were trained on from a start."""
        return 0

    @property
    def start_of_others(self) -> bool:
        """Whether a classifier that learns from the set is one that others start from."""
        return False

    def reading(self) -> str:
        """In words, how the labels are made where it is not the usual way; else ""."""
        return ""
