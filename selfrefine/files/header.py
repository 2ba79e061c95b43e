"""The headers of stems' files: sample rate, channels and length, without decoding."""

from contextlib import suppress
from dataclasses import dataclass

from selfrefine.errors import InputError
from selfrefine.files.audio_file import open_audio, promised_samples
from selfrefine.files.ffmpeg_audio import ffmpeg_facts, is_for_ffmpeg
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.stem_mp4 import stream_header
from selfrefine.progress import Note, ignore


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

    @property
    def promised(self) -> int:
        """So many samples must be read, or the file is cut."""
        return promised_samples(self.samples, self.sample_rate, self.subtype)


def read_header(file: StemFile, note: Note = ignore) -> Header:
    """The header of a stem's file, with the length that it has, which is noted where its header
    states another one. Raises InputError for a file that is missing, truncated or not audio."""
    if file.stream is not None:
        return Header(*stream_header(file.path, file.stream), "AAC")
    if is_for_ffmpeg(file.path):
        found = ffmpeg_facts(file.path)
        return Header(found.sample_rate, found.channels, found.samples, found.codec)
    with open_audio(file.path, note) as opened:
        return Header(opened.samplerate, opened.channels, opened.frames, opened.subtype)


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
