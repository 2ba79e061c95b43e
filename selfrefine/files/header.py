"""The headers of stems' files: sample rate, channels and length, without decoding."""

from contextlib import suppress
from dataclasses import dataclass

import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import openable, refuse_truncated
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.stem_mp4 import stream_header

HEADER_TOLERANCE_S = 0.1
"""The header of a lossy file only estimates its length. It is wrong by this much at most, in s."""


@dataclass(frozen=True)
class Header:
    """The header of an audio file: `sample_rate` in Hz, `samples` per channel, and `subtype` as
    libsndfile names it."""

    sample_rate: int
    channels: int
    samples: int
    subtype: str

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def read_header(file: StemFile) -> Header:
    """The header of a stem's file. Raises InputError for a file that is missing, truncated or not
    audio."""
    if file.stream is not None:
        return Header(*stream_header(file.path, file.stream), "AAC")
    refuse_truncated(file.path)
    try:
        info = soundfile.info(openable(file.path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"{file.path}: cannot be read as audio ({error}); replace it or take it out of the "
            "folder"
        ) from error
    return Header(info.samplerate, info.channels, info.frames, info.subtype)


def listed_seconds(songs: list[SongFiles]) -> float:
    """The length of all stems together, in s, by their headers; mixtures are left out. A file whose
    header cannot be read counts as 0, and is reported when its audio is read."""
    seconds = 0.0
    for song in songs:
        for file in song.files:
            if file.label:
                with suppress(InputError):
                    seconds += read_header(file).seconds
    return seconds
