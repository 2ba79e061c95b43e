"""Reading the stems of a song side by side, a stretch at a time, so that memory does not grow with
the song."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import openable
from selfrefine.files.header import HEADER_TOLERANCE_S, Header
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
            promised = header.samples - round(HEADER_TOLERANCE_S * header.sample_rate)
            if found < min(stop, promised):
                raise InputError(f"{file.path}: ends before its header says; copy it again")
        self.position = start + audio.shape[1]
        return audio.swapaxes(1, 2)


class StreamDecoder:
    """Decodes an audio stream of a .stem.mp4 by ffmpeg, in a process that writes to a pipe and thus
    decodes little more than is read."""

    def __init__(self, path: Path, stream: int) -> None:
        self.path = path
        self.stream = stream
        self.process = self.start(0)

    def start(self, sample: int) -> subprocess.Popen[bytes]:
        words = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(self.path)]
        words += ["-map", f"0:a:{self.stream}", "-af", f"atrim=start_sample={sample}"]
        return subprocess.Popen([*words, "-f", "f32le", "-"], stdout=subprocess.PIPE)

    def seek(self, frames: int) -> None:
        self.close()
        self.process = self.start(frames)

    def read(self, *, out: np.ndarray) -> np.ndarray:
        assert self.process.stdout is not None
        flat = out.reshape(-1).view(np.uint8)
        found = self.process.stdout.readinto(flat.data)  # type: ignore[attr-defined]
        if found < len(flat) and self.process.wait() != 0:
            raise OSError("ffmpeg fails to decode it")
        return out[: found // out[0].nbytes] if len(out) else out

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def streamed_stems(stems: list[tuple[StemFile, Header]], dtype: str) -> Iterator[StreamedStems]:
    """Opens stems of the same sample rate and channel count. `dtype` is int16 or float32.

    Raises InputError for a file that cannot be opened.
    """
    with ExitStack() as stack:
        decoders: list[Decoder] = []
        for file, _ in stems:
            with naming(file):
                if file.stream is None:
                    opened = stack.enter_context(soundfile.SoundFile(openable(file.path)))
                    decoders.append(opened)
                else:
                    decoder = StreamDecoder(file.path, file.stream)
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
