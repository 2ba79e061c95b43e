"""Native Instruments' stem files, the format of MUSDB18: five audio streams in one .mp4.

They are read by stempeg, which needs ffmpeg and ffprobe on the PATH.
"""

import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

from selfrefine.errors import InputError
from selfrefine.optional import from_extra

STEM_MP4 = ".stem.mp4"
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""The contents of the streams, in MUSDB18's order."""


def decode_stream(path: Path, stream: int) -> tuple[np.ndarray, int]:
    """A stream's audio as float32 `(channel, sample)`, and its sample rate in Hz. Raises InputError
    for a stream that cannot be read or is empty, and where stempeg or ffmpeg is missing."""
    stempeg = import_stempeg(path)
    try:
        audio, rate = stempeg.read_stems(str(path), stem_id=stream, dtype=np.float32)
    # stempeg raises errors of many types, even Warning.
    except Exception as error:
        raise unreadable(path, error) from error
    if audio.size == 0:
        raise InputError(f"{path}: stream {stream} holds no samples; copy the file again")
    return np.ascontiguousarray(np.atleast_2d(audio.T), dtype=np.float32), int(rate)


def stream_header(path: Path, stream: int) -> tuple[int, int, int]:
    """The sample rate in Hz, the channels and the samples of a stream, without decoding it. Raises
    InputError for a file that cannot be read, and where stempeg or ffmpeg is missing."""
    stempeg = import_stempeg(path)
    try:
        info = stempeg.Info(str(path))
        if info.nb_audio_streams != len(STREAMS):
            raise ValueError(f"{info.nb_audio_streams} audio streams, not {len(STREAMS)}")
        return int(info.rate(stream)), int(info.channels(stream)), int(info.samples(stream))
    except Exception as error:
        raise unreadable(path, error) from error


def import_stempeg(path: Path) -> ModuleType:
    try:
        with warnings.catch_warnings(), from_extra("musdb", needed_by=f"{path}: a stem file"):
            warnings.simplefilter("ignore")
            import stempeg
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path}: a stem file needs ffmpeg and ffprobe on the PATH ({error}); install them, or "
            "use the data set's wav version"
        ) from error
    return stempeg


def unreadable(path: Path, error: Exception) -> InputError:
    words = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"{path}: cannot be read as a stem file ({words[-1]}); copy it again or take it out"
    )
