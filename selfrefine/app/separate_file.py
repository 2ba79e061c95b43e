"""Separating a file of any length and sample rate in bounded memory.

The file is read in windows of a minute that overlap by five seconds. Each window is resampled to
the model's rate, separated, resampled back, and cross-faded with its neighbours. A first pass
measures the loudness of the whole file; all windows get the gain that brings the file to the
model's loudness (LUFS). X-UMX's recurrent layers and its Wiener filter see one window, not the
whole file.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from selfrefine.audio.loudness import stream_loudness
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.audio_file import open_audio, openable, refuse_damaged_samples, resample
from selfrefine.files.downmix import stereo_gains
from selfrefine.files.ffmpeg_audio import StreamDecoder, is_for_ffmpeg
from selfrefine.files.header import Header, read_header
from selfrefine.files.layouts import StemFile
from selfrefine.files.streamed_stems import Decoder
from selfrefine.models.model_file import SeparatorFile
from selfrefine.models.separator import separate_levelled
from selfrefine.progress import Progress

WINDOW_S = 60
OVERLAP_S = 5
SHORTEST_S = 1
"""A shorter file is padded: the networks' transforms need some length."""
LARGEST_WAV = 4e9


@dataclass(frozen=True)
class Window:
    """A window of a file: `audio` `(channel=2, sample)` begins at `start`, in s. `last` is true for
    the one that ends the file."""

    start: int
    audio: np.ndarray
    last: bool


def separate_file(
    path: Path,
    folder: Path,
    separator: SeparatorFile,
    device: torch.device,
    progress: Progress,
) -> list[Path]:
    """Writes `<class>.wav` into `folder` and returns the paths.

    The stems are 32-bit float at the file's rate and as long as the file; they are mono for a mono
    file, else stereo. They appear whole or not at all. `progress` counts seconds. Raises InputError
    for a file that cannot be read or whose samples are not all finite, and where the disk does not
    take the stems.
    """
    header = read_header(StemFile("", (), path), progress.note)
    if header.samples == 0:
        raise InputError(f"{path}: holds no samples; choose another file")
    rate = separator.settings.sample_rate
    if header.channels > 2:
        stereo_gains(path, header.channels)
        progress.note(f"{path}: {header.channels} channels are folded down to stereo (BS.775)")
    if header.sample_rate > rate:
        progress.note(f"{path}: the model hears up to {rate // 2} Hz; what is above is in no stem")
    gain = level_gain(path, header, separator)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.wav" for name in CLASSES]
    channels = min(header.channels, 2)
    try:
        # Two stacks, so that all files are closed before the first one takes its place.
        with ExitStack() as whole, ExitStack() as opened:
            partials = [whole.enter_context(written_whole(target)) for target in paths]
            writers = [
                opened.enter_context(
                    soundfile.SoundFile(
                        openable(partial),
                        "w",
                        header.sample_rate,
                        channels,
                        subtype="FLOAT",
                        format="RF64" if header.samples * channels * 4 > LARGEST_WAV else "WAV",
                    )
                )
                for partial in partials
            ]
            for faded in separated_stretches(path, header, separator, gain, device):
                for writer, stem in zip(writers, faded, strict=True):
                    writer.write(stem[:channels].T if channels == 2 else stem.mean(axis=0))
                progress.count(writers[0].tell() / header.sample_rate, header.seconds)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: its stems cannot be written ({error}); free space on the disk, or choose "
            "another --out"
        ) from error
    return paths


def separated_stretches(
    path: Path, header: Header, separator: SeparatorFile, gain: float, device: torch.device
) -> Iterator[np.ndarray]:
    """Yields the stems `(class=4, channel=2, sample)` at the file's rate, stretch by stretch."""
    overlap = OVERLAP_S * header.sample_rate
    fade = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
    tail: np.ndarray | None = None
    for window in windows(path, header):
        stems = separated_window(window.audio, header.sample_rate, separator, gain, device)
        if tail is not None:
            stems[..., :overlap] *= fade
            stems[..., :overlap] += tail
        if window.last:
            yield stems
            return
        tail = stems[..., -overlap:] * fade[::-1]
        yield stems[..., :-overlap]


def separated_window(
    audio: np.ndarray, rate: int, separator: SeparatorFile, gain: float, device: torch.device
) -> np.ndarray:
    """The stems `(class=4, channel=2, sample)` of a window `(channel=2, sample)`, both at `rate`
    Hz."""
    settings = separator.settings
    length = audio.shape[1]
    resampled = resample(audio, rate, settings.sample_rate)
    shortest = SHORTEST_S * settings.sample_rate
    if resampled.shape[1] < shortest:
        resampled = np.pad(resampled, ((0, 0), (0, shortest - resampled.shape[1])))
    mixture = torch.from_numpy(resampled).to(device) * gain
    estimates = (separate_levelled(separator.model, settings, mixture) / gain).cpu().numpy()
    if rate == settings.sample_rate:
        return estimates[..., :length].copy()
    stems = np.zeros((*estimates.shape[:2], length), dtype=np.float32)
    for stem, estimate in zip(stems, estimates, strict=True):
        back = resample(estimate, settings.sample_rate, rate)[:, :length]
        stem[:, : back.shape[1]] = back
    return stems


def level_gain(path: Path, header: Header, separator: SeparatorFile) -> float:
    """The factor that brings the whole file to the model's loudness; 1 for silence and for a file
    too short to have a loudness."""
    rate = separator.settings.sample_rate
    if header.seconds < 0.5:
        return 1.0

    def resampled() -> Iterator[torch.Tensor]:
        for window in windows(path, header):
            new = window.audio
            if not window.last:
                new = new[:, : -OVERLAP_S * header.sample_rate]
            yield torch.from_numpy(resample(new, header.sample_rate, rate))

    loudness = stream_loudness(resampled(), rate)
    if loudness == -np.inf:
        return 1.0
    return float(10 ** ((separator.settings.loudness_lufs - loudness) / 20))


def windows(path: Path, header: Header) -> Iterator[Window]:
    """Yields the file as stereo windows of WINDOW_S, each of which overlaps the next by OVERLAP_S.
    Raises InputError for samples that cannot be decoded or are not finite, and for a file that ends
    before its header says."""
    overlap = OVERLAP_S * header.sample_rate
    size = WINDOW_S * header.sample_rate
    gains = stereo_gains(path, header.channels) if header.channels > 2 else None
    kept = np.zeros((2, 0), dtype=np.float32)
    start = read = 0
    with decoder_of(path) as decoder:
        while True:
            buffer = np.empty((size - kept.shape[1], header.channels), dtype=np.float32)
            block = decoder.read(out=buffer).T
            read += block.shape[1]
            refuse_damaged_samples(path, block)
            audio = np.concatenate([kept, two_channels(block, gains)], axis=1)
            last = read >= header.samples or audio.shape[1] < size
            if last and read < header.promised:
                raise InputError(f"{path}: ends before its header says; copy it again")
            yield Window(start, audio, last)
            if last:
                return
            kept = audio[:, -overlap:].copy()
            start += WINDOW_S - OVERLAP_S


@contextmanager
def decoder_of(path: Path) -> Iterator[Decoder]:
    """Opens a file to be read from its beginning, by libsndfile or by ffmpeg."""
    if not is_for_ffmpeg(path):
        with open_audio(path) as opened:
            yield opened
        return
    decoder = StreamDecoder(path, 0)
    try:
        yield decoder
    finally:
        decoder.close()


def two_channels(audio: np.ndarray, gains: np.ndarray | None) -> np.ndarray:
    """`(channel, sample)` as `(channel=2, sample)`: mono twice, and more than two channels by their
    `gains` `(channel=2, channel)`."""
    if gains is not None:
        return gains @ audio
    return np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio
