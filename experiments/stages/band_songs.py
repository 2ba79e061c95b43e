"""Songs of the embedded band."""

from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

from experiments.stages.songs import Songs
from experiments.stages.stage import Result
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES

NOISY_DOMAIN = "b"
"""The band's domain that stands for the label-noise set; "a" stands for MUSDB18."""

PLAYED_SHARE = 4.4e-6
"""The share of a song's length that making it takes, per Hz of its sample rate: .07 at 16 kHz."""


@dataclass(frozen=True)
class BandSongs(Songs):
    """Songs of one domain, kept track by track; a clip's label is its track's class."""

    many_cores: ClassVar[bool] = True

    domain: str
    first: int
    songs: int
    seconds: float
    sample_rate: int
    seed: int

    def words(self) -> str:
        return f"band {self.domain}, songs {self.first}-{self.first + self.songs - 1}"

    def stem_seconds(self) -> float:
        return self.songs * self.seconds * len(CLASSES)

    def is_uncorrupted(self) -> bool:
        return self.domain == NOISY_DOMAIN

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.songs * self.seconds * PLAYED_SHARE * self.sample_rate)

    def compute(self, work: Work) -> Result:
        from selfrefine.band import play_songs
        from selfrefine.clips.audio_set import AudioSetWriter

        indices = range(self.first, self.first + self.songs)
        songs = play_songs(
            self.domain, self.seed, indices, self.seconds, self.sample_rate, work.cores
        )
        with closing(songs), AudioSetWriter(work.folder, self.sample_rate) as writer:
            for played, (index, tracks) in enumerate(zip(indices, songs, strict=True), start=1):
                for track in tracks:
                    writer.add(f"{self.domain}{index:03d}", track.name, (track.stem,), track.audio)
                work.progress.count(played, self.songs)
        return {"songs": self.songs, "seconds": self.songs * self.seconds}
