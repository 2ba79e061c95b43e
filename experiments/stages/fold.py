"""A stem set without some of its songs, for a classifier that judges these."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet


@dataclass(frozen=True)
class Fold(StemSet):
    """`stems` without the songs of fold `number`: every `folds`th song, from that number on."""

    stems: Trimmed
    number: int
    folds: int

    def words(self) -> str:
        return f"{self.stems.words()}, without fold {self.number + 1} of {self.folds}"

    def data_words(self) -> str:
        return f"{self.stems.data_words()} without fold {self.number + 1}"

    def stem_seconds(self) -> float:
        return self.stems.stem_seconds() * (1 - 1 / self.folds)

    def refinements(self) -> int | None:
        return self.stems.refinements()

    def held_out(self, store: Store) -> set[str]:
        """The songs of the fold."""
        songs = list(dict.fromkeys(clip.song for clip in self.stems.clips(store).clips))
        return set(songs[self.number :: self.folds])

    def clips(self, store: Store) -> "AudioSet":
        from dataclasses import replace

        stems, out = self.stems.clips(store), self.held_out(store)
        return replace(stems, clips=tuple(clip for clip in stems.clips if clip.song not in out))

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def compute(self, work: Work) -> Result:
        return {"stems": len(self.clips(work.store).clips)}
