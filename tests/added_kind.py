"""A new kind of stage, in one file, as a user would add it. Run as a script, it also adds a row to
the registry and then does what `python -m experiments` does."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.method import noisy, score
from experiments.registry import TARGETS
from experiments.rows import Row, Table
from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import TABLE_SECONDS, Cost, StepCostOf, Work
from selfrefine.settings import PAPER_XUMX

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet


@dataclass(frozen=True)
class LongestOfSong(StemSet):
    """The stem with the most sound of every song in `stems`."""

    stems: Trimmed

    def words(self) -> str:
        return f"longest {self.stems.words()}"

    def data_words(self) -> str:
        return f"the longest of {self.stems.data_words()}"

    def stem_seconds(self) -> float:
        return self.stems.stem_seconds() / 4

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(TABLE_SECONDS)

    def clips(self, store: Store) -> "AudioSet":
        from selfrefine.clips.audio_set import with_labels

        stems = self.stems.clips(store)
        kept = set(store.result(self)["kept"])
        labels = {
            (clip.song, clip.name): clip.label if f"{clip.song}/{clip.name}" in kept else ()
            for clip in stems.clips
        }
        return with_labels(stems, labels)

    def compute(self, work: Work) -> Result:
        longest: dict[str, tuple[int, str]] = {}
        for clip in self.stems.clips(work.store).clips:
            found = (clip.length, f"{clip.song}/{clip.name}")
            longest[clip.song] = max(found, longest.get(clip.song, found))
        return {"kept": [name for _, name in longest.values()]}


ROW = Row("longest", ("longest stems",), score(PAPER_XUMX, LongestOfSong(noisy)), ours=True)
TABLE = Table("added", "A table of a row that was added", ("training data",), (ROW,))

if __name__ == "__main__":
    # Under its own name, so that workers find the class.
    from tests import added_kind

    TARGETS[TABLE.name] = added_kind.TABLE
    from experiments.__main__ import main

    sys.exit(main())
