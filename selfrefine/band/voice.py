"""Speaks lines with espeak-ng, through ctypes, and gives the start of each phoneme.

espeak keeps state between utterances in a hundred static variables (flutter, noise, wave phase,
position in recorded consonants), and no call resets them. Each line is therefore spoken by a fresh
copy of the library (5 ms), with a voice of our own and a constant pitch. Speech is then a pure
function of its arguments.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from selfrefine.errors import InputError

SPEECH_RATE = 22050
SPOKEN_HZ = 200
WORDS_PER_MINUTE = 135
SHORTEST_VOWEL_S = 0.03
VOWEL_LETTERS = frozenset("aeiouyAEIOUVYW@03&128")

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED = 0
_EVENT_PHONEME = 7
_CHARS_UTF8 = 1
_PHONEMES = 0x100
_POS_CHARACTER = 1
_PARAMETER_RATE = 1

LONGEST_PATH = 59
"""espeak cuts the path of a voice's file off after so many bytes."""


@dataclass(frozen=True)
class Voice:
    """An espeak language, and the scale of each of the formants 1 to 5 in percent."""

    language: str
    formants: tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Phoneme:
    """One phoneme of an utterance: espeak's mnemonic and its range of samples [start, end)."""

    name: str
    start: int
    end: int

    @property
    def is_vowel(self) -> bool:
        """Whether this is a vowel that is long enough to be sung.

        A schwa that espeak inserts into a cluster of consonants is not.
        """
        letter = self.name.lstrip("',%=|_:")[:1]
        return letter in VOWEL_LETTERS and self.end - self.start > SHORTEST_VOWEL_S * SPEECH_RATE


@dataclass(frozen=True)
class Utterance:
    """Speech with a constant pitch of SPOKEN_HZ: float64 `(sample,)` at SPEECH_RATE Hz."""

    audio: np.ndarray
    phonemes: tuple[Phoneme, ...]


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
if sys.platform == "win32":
    from _ctypes import FreeLibrary as _unload
else:
    from _ctypes import dlclose as _unload


@lru_cache(maxsize=64)
def speak(voice: Voice, text: str) -> Utterance:
    """Speaks one line. Text in `[[ ]]` is read as phonemes.

    Raises InputError when espeak-ng or the language is missing.
    """
    chunks: list[np.ndarray] = []
    events: list[tuple[str, int]] = []

    @_Callback
    def collect(wave, count, event):  # type: ignore[no-untyped-def]
        if wave and count > 0:
            chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        k = 0
        while event[k].type != _EVENT_LIST_TERMINATED:
            if event[k].type == _EVENT_PHONEME:
                events.append((event[k].id.string.decode("utf-8", "replace"), event[k].sample))
            k += 1
        return 0

    with _fresh_library() as (library, data, folder):
        flags = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT
        library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, flags)
        library.espeak_SetSynthCallback(collect)
        # espeak reads a voice only from a file.
        definition = folder / "voice"
        definition.write_text(_definition(voice))
        with definition.open("rb") as file:
            path = os.fsencode(definition)
            if len(path) > LONGEST_PATH:
                path = b"/dev/fd/%d" % file.fileno()
            failed = library.espeak_ng_SetVoiceByFile(path)
        if failed or not _has_language(data, voice):
            raise InputError(f"espeak-ng has no language {voice.language}: update espeakng-loader.")
        library.espeak_SetParameter(_PARAMETER_RATE, WORDS_PER_MINUTE, 0)
        library.espeak_ng_SetConstF0(SPOKEN_HZ)
        library.espeak_ng_SetRandSeed(1)
        line = text.encode() + b"\0"
        mode = _CHARS_UTF8 | _PHONEMES
        library.espeak_Synth(line, len(line), 0, _POS_CHARACTER, 0, mode, None, None)
        library.espeak_Synchronize()
        library.espeak_Terminate()
    if not chunks:
        raise InputError(f"espeak-ng spoke nothing for the line {text!r}.")
    audio = np.concatenate(chunks) / 32768.0
    starts = [sample for _, sample in events] + [len(audio)]
    phonemes = tuple(
        Phoneme(name, start, end)
        for (name, start), end in zip(events, starts[1:], strict=True)
        if end > start
    )
    return Utterance(audio, phonemes)


@lru_cache(maxsize=4096)
def syllables(voice: Voice, text: str) -> int:
    """How many vowels espeak speaks in a line. Each gets a note."""
    return sum(p.is_vowel for p in speak(voice, text).phonemes)


@contextmanager
def _fresh_library() -> Iterator[tuple[ctypes.CDLL, bytes, Path]]:
    """A newly loaded copy of espeak-ng, its data path, and a temporary folder."""
    import espeakng_loader

    with tempfile.TemporaryDirectory(prefix="espeak-") as name:
        try:
            # The file is copied, because the loader gives every caller of the same file the same
            # library, with its static variables.
            original = Path(espeakng_loader.get_library_path())
            library = ctypes.CDLL(shutil.copy(original, name))
            data = str(espeakng_loader.get_data_path()).encode()
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"espeak-ng does not load ({error}): reinstall espeakng-loader."
            ) from error
        library.espeak_Initialize.argtypes = [
            ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int
        ]  # fmt: skip
        library.espeak_ng_SetVoiceByFile.argtypes = [ctypes.c_char_p]
        library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        try:
            yield library, data, Path(name)
        finally:
            _unload(library._handle)


def _has_language(data: bytes, voice: Voice) -> bool:
    """Whether espeak has the voice's language. espeak gives no error for others."""
    return (Path(data.decode()) / f"{voice.language}_dict").is_file()


def _definition(voice: Voice) -> str:
    """The voice in the format of espeak's voice files."""
    lines = ["name band", f"language {voice.language}", "flutter 0", "roughness 0"]
    lines += [f"formant {k + 1} {scale}" for k, scale in enumerate(voice.formants)]
    return "\n".join(lines) + "\n"
