"""A corrupted set's stems under their true label sets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.classes import Labels
from selfrefine.errors import InputError

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet


@dataclass(frozen=True)
class TrulyLabelled(StemSet):
    """`stems` with every label mended; a stem that holds no class is left out."""

    stems: Trimmed

    def words(self) -> str:
        return f"true labels of {self.stems.words()}"

    def data_words(self) -> str:
        return "true labels"

    def stem_seconds(self) -> float:
        return self.stems.stem_seconds()

    def labels(self, store: Store) -> Labels:
        """The true label set of every stem. Raises InputError for a set whose truth nobody
        knows."""
        truth = self.stems.truth(store)
        if truth is None:
            raise InputError(
                f"the true labels of the {self.stems.words()} are not known; choose --data band "
                "or multitrack"
            )
        return truth

    def clips(self, store: Store) -> "AudioSet":
        from selfrefine.clips.audio_set import with_labels

        return with_labels(self.stems.clips(store), self.labels(store))

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        from selfrefine.refining.labels import count_labels

        labels = self.labels(work.store)
        stems = self.stems.clips(work.store).clips
        kept = {(clip.song, clip.name): labels[clip.song, clip.name] for clip in stems}
        return {**count_labels(kept)}
