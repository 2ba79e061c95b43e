"""Reading and writing audio files, as stereo at one sample rate."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.completeness import splice_of
from selfrefine.files.downmix import folded_down
from selfrefine.files.ffmpeg_audio import FFMPEG_SUFFIXES, decoded_by_ffmpeg, is_for_ffmpeg
from selfrefine.files.spliced_file import SplicedFile
from selfrefine.progress import Note, ignore

SNDFILE_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif", ".aifc", ".oga", ".opus", ".w64", ".rf64"),
    *(".wave", ".bwf", ".caf", ".au", ".snd", ".mp2", ".voc", ".avr", ".paf", ".pvf", ".sph"),
    *(".nist", ".sf", ".ircam", ".8svx", ".iff"),
)
"""Endings of files that libsndfile reads."""

AUDIO_SUFFIXES = (*SNDFILE_SUFFIXES, *FFMPEG_SUFFIXES)
"""Endings of audio files. Others are not looked at."""

SAMPLE_RATES = range(1000, 768001)
"""Sample rates in Hz that a file can have. Others are those of a damaged header."""
MOST_CHANNELS = 64
DECODED_AT_ONCE = 1 << 20
EXACT_SUBTYPES = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
LOSSY_SLACK_S = 0.1
"""A file of a lossy format may end so much before its header says, in s."""
LOUDEST = 1e10
"""A sample beyond this is damage, where full scale is 1. 32-bit integers that were written as
floats reach 2e9."""
DAMAGED_SAMPLES = (
    "holds samples that are not finite, or far beyond full scale; render it again or take it out"
)


class BoundedFile(soundfile.SoundFile):
    """A file of which no more is asked than its header promises: FLAC's decoder takes what follows
    the audio, such as zeros, for damage."""

    def read(self, *args: Any, out: np.ndarray | None = None, **options: Any) -> np.ndarray:
        if out is not None:
            out = out[: max(0, self.frames - self.tell())]
            if not len(out):
                return out
        found: np.ndarray = super().read(*args, out=out, **options)
        return found


def read_stereo(path: Path, sample_rate: int, note: Note) -> np.ndarray:
    """A file's audio as float32 `(channel=2, sample)` at `sample_rate` Hz.

    Mono becomes two equal channels, more than two channels are folded down to two, and another
    sample rate is resampled; each of these is noted, and so is a header that states a wrong length.
    Raises what `decode` raises, and InputError for channels that cannot be folded down.
    """
    audio, rate = decode(path, note)
    if len(audio) > 2:
        note(f"audio of {len(audio)} channels is folded down to stereo (ITU-R BS.775)")
        audio = folded_down(path, audio)
    return as_stereo(audio, rate, sample_rate, note)


def as_stereo(audio: np.ndarray, rate: int, sample_rate: int, note: Note) -> np.ndarray:
    """Converts one or two channels `(channel, sample)` at `rate` Hz to float32
    `(channel=2, sample)` at `sample_rate` Hz. Each kind of conversion is noted."""
    if audio.shape[0] == 1:
        note("mono audio is made stereo")
        audio = np.repeat(audio, 2, axis=0)
    if rate != sample_rate:
        note(f"audio of {rate} Hz is resampled to {sample_rate} Hz")
        audio = resample(audio, rate, sample_rate)
    return np.ascontiguousarray(audio, dtype=np.float32)


def decode(path: Path, note: Note = ignore) -> tuple[np.ndarray, int]:
    """A file's audio as float32 `(channel, sample)`, and its sample rate in Hz.

    Raises InputError for a file that is missing, empty, truncated, not audio, or holds samples that
    are not finite or beyond LOUDEST.
    """
    audio, rate = decoded_by_ffmpeg(path) if is_for_ffmpeg(path) else decoded(path, note)
    if audio.shape[1] == 0:
        raise InputError(f"{path}: holds no samples; replace it or take it out of the folder")
    refuse_damaged_samples(path, audio)
    return audio, rate


def refuse_damaged_samples(path: Path, audio: np.ndarray) -> None:
    """Raises InputError for samples that are not finite, or beyond LOUDEST."""
    # A comparison with NaN is never true.
    if not np.abs(audio).max(initial=0.0) <= LOUDEST:
        raise InputError(f"{path}: {DAMAGED_SAMPLES}")


def decoded(path: Path, note: Note) -> tuple[np.ndarray, int]:
    """What `decode` gives, of a file that libsndfile reads. The audio may be empty."""
    with open_audio(path, note) as file:
        # The header is not believed: memory is taken for what is there.
        blocks = [np.empty((0, file.channels), dtype=np.float32)]
        while len(block := file.read(DECODED_AT_ONCE, dtype="float32", always_2d=True)):
            blocks.append(block)
        audio = np.concatenate(blocks)
        if len(audio) < promised_samples(file.frames, file.samplerate, file.subtype):
            raise InputError(f"{path}: ends before its header says; copy it again or take it out")
        return audio.T, file.samplerate


def promised_samples(samples: int, sample_rate: int, subtype: str) -> int:
    """How many samples per channel must be read of a file, by its header: all of a format that
    counts exactly, nearly all of a lossy one."""
    if subtype.startswith(EXACT_SUBTYPES):
        return samples
    return samples - round(LOSSY_SLACK_S * sample_rate)


@contextmanager
def open_audio(path: Path, note: Note = ignore) -> Iterator[soundfile.SoundFile]:
    """Opens a file that libsndfile reads, with all of the audio that it holds. A header that states
    less is noted.

    Raises InputError for a file that is missing, truncated, not audio or has an impossible header,
    and for what fails while it is read in the block.
    """
    splice = splice_of(path)
    if splice is not None:
        note(splice.words(path))
    try:
        with ExitStack() as stack:
            source: str | bytes | SplicedFile = openable(path)
            if splice is not None:
                source = stack.enter_context(SplicedFile(path, splice.pieces))
            file = stack.enter_context(BoundedFile(source))
            if file.samplerate not in SAMPLE_RATES or file.channels > MOST_CHANNELS:
                raise InputError(
                    f"{path}: its header states {file.samplerate} Hz and {file.channels} channels, "
                    f"beyond {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz or {MOST_CHANNELS} "
                    "channels; replace it or take it out of the folder"
                )
            yield file
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as audio ({error}); replace it or take it out of the folder"
        ) from error


def openable(path: Path) -> str | bytes:
    """A path in a form that soundfile accepts: as bytes where the name is not valid Unicode, since
    soundfile refuses such text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


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
