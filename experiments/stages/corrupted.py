"""Songs whose tracks are filed under wrong stems: label noise with its truth beside it."""

from dataclasses import asdict, dataclass

from experiments.integrity import damaged
from experiments.stages.songs import DECODED_PER_SECOND, Songs
from experiments.stages.stage import Result
from experiments.store import Store
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import Labels
from selfrefine.settings import Corruption

TRUTH = "truth.csv"


@dataclass(frozen=True)
class Corrupted(Songs):
    """`songs`, kept track by track, with `noise` drawn for each song from `seed`."""

    songs: Songs
    noise: Corruption
    seed: int = 0

    def words(self) -> str:
        return f"{self.songs.words()}, corrupted"

    def stem_seconds(self) -> float:
        return self.songs.stem_seconds()

    def is_noisy(self) -> bool:
        return True

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.stem_seconds() / DECODED_PER_SECOND)

    def truth(self, store: Store) -> Labels:
        """The true label set of every stem. Raises InputError for a table that is not of all
        stems."""
        from selfrefine.clips.truth import read_truth

        folder = store.finished(self)
        truth = read_truth(folder / TRUTH)
        stems = store.result(self).get("stems")
        if len(truth) != stems:
            what = f"it has {len(truth)} stems instead of {stems}"
            raise damaged(folder / TRUTH, what, folder)
        return truth

    def compute(self, work: Work) -> Result:
        import numpy as np

        from selfrefine.clips.audio_set import AudioSetWriter, by_song, open_audio_set
        from selfrefine.clips.corruption import draw_parts, stem_truth, sum_parts
        from selfrefine.clips.truth import read_truth, write_truth
        from selfrefine.metrics.label_sets import confusion, label_accuracy

        tracks = open_audio_set(work.store.finished(self.songs))
        songs = by_song(tracks)
        truths = []
        with AudioSetWriter(work.folder, tracks.sample_rate) as writer:
            for number, (song, clips) in enumerate(songs.items()):
                rng = np.random.default_rng([self.seed, number])
                for given, parts in draw_parts(clips, self.noise, rng).items():
                    writer.add(song, given, (given,), sum_parts(tracks, parts))
                    truths.append(stem_truth(tracks, song, given, parts))
                work.progress.count(number + 1, len(songs))
        write_truth(work.folder / TRUTH, truths)
        as_given: Labels = {(truth.song, truth.given): (truth.given,) for truth in truths}
        truth = read_truth(work.folder / TRUTH)
        return {
            "stems": len(truths),
            "accuracy": asdict(label_accuracy(as_given, truth)),
            "confusion": confusion(as_given, truth),
        }
