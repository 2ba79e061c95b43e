"""What a stem's file says of itself, read without decoding it."""

from dataclasses import dataclass

import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import openable, refuse_truncated
from selfrefine.files.layouts import StemFile
from selfrefine.files.stem_mp4 import stream_header


@dataclass(frozen=True)
class Header:
    """`sample_rate` in Hz, `samples` per channel, `subtype` in libsndfile's words."""

    sample_rate: int
    channels: int
    samples: int
    subtype: str

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def read_header(file: StemFile) -> Header:
    """Raises InputError for a file that is missing, truncated or no audio."""
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
