"""Reading and writing audio files, as stereo at one sample rate."""

import math
import os
import struct
from pathlib import Path

import numpy as np
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.progress import Note

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")


def read_stereo(path: Path, sample_rate: int, note: Note) -> np.ndarray:
    """A file's audio as float32 `(channel=2, sample)` at `sample_rate` Hz.

    Mono becomes two equal channels, more than two channels are folded down to two, and another
    sample rate is resampled; each of these is noted. Raises what `decode` raises.
    """
    return as_stereo(*decode(path), sample_rate, note)


def as_stereo(audio: np.ndarray, rate: int, sample_rate: int, note: Note) -> np.ndarray:
    """Converts `(channel, sample)` at `rate` Hz to float32 `(channel=2, sample)` at `sample_rate`
    Hz. Each kind of conversion is noted."""
    if audio.shape[0] == 1:
        note("mono audio is made stereo")
        audio = np.repeat(audio, 2, axis=0)
    elif audio.shape[0] > 2:
        note("audio of more than two channels is folded down to stereo")
        audio = np.stack([audio[0::2].mean(axis=0), audio[1::2].mean(axis=0)])
    if rate != sample_rate:
        note(f"audio of {rate} Hz is resampled to {sample_rate} Hz")
        audio = resample(audio, rate, sample_rate)
    return np.ascontiguousarray(audio, dtype=np.float32)


def decode(path: Path) -> tuple[np.ndarray, int]:
    """A file's audio as float32 `(channel, sample)`, and its sample rate in Hz.

    Raises InputError for a file that is missing, empty, truncated, not audio, or holds samples that
    are not finite.
    """
    refuse_truncated(path)
    try:
        audio, rate = soundfile.read(openable(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as audio ({error}); replace it or take it out of the folder"
        ) from error
    if len(audio) == 0:
        raise InputError(f"{path}: holds no samples; replace it or take it out of the folder")
    if not np.isfinite(audio).all():
        raise InputError(
            f"{path}: holds samples that are not finite; render it again or take it out"
        )
    return audio.T, rate


def openable(path: Path) -> str | bytes:
    """A path in a form that soundfile accepts: as bytes where the name is not valid Unicode, since
    soundfile refuses such text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


def refuse_truncated(path: Path) -> None:
    """Raises InputError for a WAV file that is shorter than its own header says.

    libsndfile reads such a file as a shorter one, without an error.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    if len(head) == 12 and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        stated = struct.unpack("<I", head[4:8])[0] + 8
        # A file that was written to a pipe states no length.
        streamed = stated >= 0xFFFFFFFF - 8
        if stated > size + 1 and not streamed:
            raise InputError(
                f"{path}: truncated ({size} bytes of the {stated} its header states); "
                "copy it again or take it out of the folder"
            )


def resample(audio: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resamples `(channel, sample)` from `rate` Hz to `new_rate` Hz by a polyphase filter."""
    # Imported here, so that planning, which lists folders with this module, does not wait for it.
    from scipy.signal import resample_poly

    common = math.gcd(rate, new_rate)
    return resample_poly(audio, new_rate // common, rate // common, axis=-1).astype(np.float32)


def write_wav(path: Path, audio: np.ndarray, sample_rate: int) -> None:
    """Writes `(channel, sample)` as 16-bit WAV, or as 32-bit float where 16 bits would clip.

    The file appears whole or not at all. Raises InputError where the disk does not take it.
    """
    subtype = "PCM_16" if np.abs(audio).max(initial=0.0) <= 1.0 else "FLOAT"
    try:
        with written_whole(path) as partial:
            soundfile.write(openable(partial), audio.T, sample_rate, subtype=subtype, format="WAV")
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: cannot be written ({error}); free space on the disk, or choose another folder"
        ) from error
