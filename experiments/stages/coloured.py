"""Stems that a classifier learns from which others start from."""

from dataclasses import dataclass

from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import TRIMMED_PER_SECOND, Trimmed
from experiments.work import Cost, StepCostOf, Work


@dataclass(frozen=True)
class Coloured(StemSet):
    """Two stem sets in one, every stem twice: as it is, and through a random filter, so that a
    classifier does not take a set's own sound for the instrument's."""

    first: Trimmed
    second: Trimmed
    seed: int = 0

    def words(self) -> str:
        return f"{self.first.words()} and of {self.second.songs.words()}, coloured"

    def data_words(self) -> str:
        return "the band"

    def stem_seconds(self) -> float:
        return 2 * (self.first.stem_seconds() + self.second.stem_seconds())

    @property
    def start_of_others(self) -> bool:
        return True

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.stem_seconds() / TRIMMED_PER_SECOND)

    def compute(self, work: Work) -> Result:
        import numpy as np

        from selfrefine.audio.colouring import randomly_filtered
        from selfrefine.clips.audio_set import AudioSetWriter, open_audio_set

        sets = [open_audio_set(work.store.finished(each)) for each in (self.first, self.second)]
        total = sum(len(stems.clips) for stems in sets)
        rng = np.random.default_rng(self.seed)
        count = 0
        with AudioSetWriter(work.folder, sets[0].sample_rate) as writer:
            for stems in sets:
                for clip in stems.clips:
                    audio = stems.audio(clip)
                    writer.add(clip.song, clip.name, clip.label, audio)
                    filtered = randomly_filtered(audio, stems.sample_rate, rng)
                    writer.add(clip.song, f"{clip.name}, filtered", clip.label, filtered)
                    count += 1
                    work.progress.count(count, total)
        return {"stems": len(writer.clips)}
