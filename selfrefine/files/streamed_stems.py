"""Reading the stems of a song side by side, a stretch at a time, so that memory does not grow with
the song."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import open_audio
from selfrefine.files.ffmpeg_audio import StreamDecoder, is_for_ffmpeg
from selfrefine.files.header import Header
from selfrefine.files.layouts import StemFile


class Decoder(Protocol):
    """Reads a signal from its current position on."""

    def seek(self, frames: int) -> object: ...

    def read(self, *, out: np.ndarray) -> np.ndarray:
        """Fills `out` `(sample, channel)`. Returns the part of it that was filled, which is shorter
        at the end of the signal."""


class StreamedStems:
    """Audio `(stem, channel, sample)` on disk. `stems[..., start:stop]` reads a stretch of it.

    It is as long as the longest file by its header; shorter files are followed by zeros. Reading
    stretches in order takes one pass over the files.
    """

    def __init__(
        self, stems: list[tuple[StemFile, Header]], decoders: list[Decoder], dtype: str
    ) -> None:
        headers = [header for _, header in stems]
        self.shape = (len(stems), headers[0].channels, max(header.samples for header in headers))
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.stems = stems
        self.decoders = decoders
        self.position = 0

    def __getitem__(self, stretch: tuple[EllipsisType, slice]) -> np.ndarray:
        """Reads a stretch `(stem, channel, sample)`. Raises InputError for a file that cannot be
        decoded, or that ends before its header says."""
        start, stop, _ = stretch[1].indices(self.shape[2])
        audio = np.zeros((self.shape[0], max(stop - start, 0), self.shape[1]), dtype=self.dtype)
        for (file, header), decoder, rows in zip(self.stems, self.decoders, audio, strict=True):
            with naming(file):
                if start != self.position:
                    decoder.seek(min(start, header.samples))
                found = start + len(decoder.read(out=rows))
            if found < min(stop, header.promised):
                raise InputError(f"{file.path}: ends before its header says; copy it again")
        self.position = start + audio.shape[1]
        return audio.swapaxes(1, 2)


@contextmanager
def streamed_stems(stems: list[tuple[StemFile, Header]], dtype: str) -> Iterator[StreamedStems]:
    """Opens stems of the same sample rate and channel count. `dtype` is int16 or float32.

    Raises InputError for a file that cannot be opened.
    """
    with ExitStack() as stack:
        decoders: list[Decoder] = []
        for file, _ in stems:
            if file.stream is None and not is_for_ffmpeg(file.path):
                decoders.append(stack.enter_context(open_audio(file.path)))
                continue
            with naming(file):
                decoder = StreamDecoder(file.path, file.stream or 0)
            stack.callback(decoder.close)
            decoders.append(decoder)
        yield StreamedStems(stems, decoders, dtype)


@contextmanager
def naming(file: StemFile) -> Iterator[None]:
    """Turns an error in reading `file` into an InputError that names it."""
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"{file.path}: cannot be read as audio ({error}); replace it or take it out"
        ) from error
