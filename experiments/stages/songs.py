"""Songs as they are, before silence is cut: the base of the kinds that stand for songs."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.stages.stage import Stage
from selfrefine.files.header import listed_seconds
from selfrefine.files.layouts import SongFiles

DECODED_PER_SECOND = 150.0
"""Seconds of a stem that a core decodes, resamples and stores in a second."""


@dataclass(frozen=True)
class Songs(Stage):
    """`private` songs are a user's own: no sound of them leaves their folder, and what is tested on
    them says so."""

    private: ClassVar[bool] = False

    def stem_seconds(self) -> float:
        """Seconds of all stems together, silence included."""
        raise NotImplementedError

    def is_noisy(self) -> bool:
        """Whether their labels are noisy: they were corrupted, or are the real noisy set."""
        return False

    def is_uncorrupted(self) -> bool:
        """Whether they are the songs that the noisy set is made from, before labels go wrong."""
        return False

    def tested_words(self) -> str:
        """The part of a score's name that says what it is tested on; "" for a data set's songs."""
        return "on own songs " if self.private else ""


def seconds_of_stems(songs: list[SongFiles]) -> float:
    """Seconds of the stems of songs by their files' headers; the tracks of a class are one stem."""
    stems = [{file.label: file for file in song.files} for song in songs]
    return listed_seconds(
        [SongFiles(song.name, tuple(own.values())) for song, own in zip(songs, stems, strict=True)]
    )
