"""A stem set: every stem of every song, silence removed."""

from dataclasses import dataclass, field

from experiments.stages.corrupted import Corrupted
from experiments.stages.songs import Songs
from experiments.stages.stage import Result
from experiments.stages.stem_set import StemSet
from experiments.store import Store
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES, Labels
from selfrefine.settings import SilenceRemoval

TRIMMED_PER_SECOND = 400.0
"""Seconds of a stem that a core trims in a second."""


@dataclass(frozen=True)
class Trimmed(StemSet):
    """The stems of `songs` under their given labels, silence removed (section 4.1)."""

    unit = "song"

    songs: Songs
    silence: SilenceRemoval = field(default_factory=SilenceRemoval)

    def words(self) -> str:
        return f"stems of {self.songs.words()}"

    def data_words(self) -> str:
        if self.songs.is_noisy():
            return "noisy"
        return "uncorrupted" if self.songs.is_uncorrupted() else "clean"

    def refinements(self) -> int | None:
        return 0 if self.songs.is_noisy() else None

    def stem_seconds(self) -> float:
        return self.songs.stem_seconds()

    def truth(self, store: Store) -> Labels | None:
        """The true label set of every stem, empty for a stem that holds no class; None where
        nobody knows it."""
        return self.songs.truth(store) if isinstance(self.songs, Corrupted) else None

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.stem_seconds() / TRIMMED_PER_SECOND)

    def compute(self, work: Work) -> Result:
        from selfrefine.audio.silence import remove_silence
        from selfrefine.clips.audio_set import AudioSetWriter, by_song, open_audio_set
        from selfrefine.clips.song_signals import sum_clips

        songs = open_audio_set(work.store.finished(self.songs))
        seconds = dict.fromkeys(CLASSES, 0.0)
        silent = []
        grouped = by_song(songs)
        with AudioSetWriter(work.folder, songs.sample_rate) as writer:
            for number, (song, clips) in enumerate(grouped.items()):
                for name in CLASSES:
                    of_class = [clip for clip in clips if clip.label == (name,)]
                    if not of_class:
                        continue
                    stem = sum_clips(songs, of_class)
                    audio = remove_silence(stem, songs.sample_rate, self.silence)
                    if audio.shape[1] == 0:
                        silent.append(f"{song}/{name}")
                        continue
                    writer.add(song, name, (name,), audio)
                    seconds[name] += audio.shape[1] / songs.sample_rate
                work.progress.count(number + 1, len(grouped))
        if silent:
            names = ", ".join(silent)
            work.progress.note(f"{len(silent)} stems are silent and left out: {names}")
        minutes = {name: round(value / 60, 2) for name, value in seconds.items()}
        return {"stems": len(writer.clips), "minutes": minutes, "silent": silent}
