"""A classifier's judgement of a stem set: the probabilities of every stem and of its windows
(section 4.2).

On disk a judgement is `probabilities.csv`, with a line per stem, and `windows.npz` in a folder.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selfrefine.audio.spectrogram import magnitude
from selfrefine.classes import CLASSES, LabelSet, label_from_words, label_words
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.table import read_csv, write_csv
from selfrefine.models.weights import damaged_file
from selfrefine.progress import Progress
from selfrefine.settings import ClassifierSettings

PROBABILITIES = "probabilities.csv"
WINDOWS = "windows.npz"
COLUMNS = ("song", "file", "given", "seconds", *CLASSES)

WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class StemProbability:
    """A stem's probabilities in CLASSES' order, averaged over its windows. `seconds` is its length
    without silence."""

    song: str
    name: str
    given: LabelSet
    seconds: float
    probability: tuple[float, ...]


def judge_stems(
    model: nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    windows_per_segment: int,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> list[StemProbability]:
    """Computes each stem's probabilities. Writes them into `folder`, which exists, with those of
    every window.

    `model` is on `device`, in evaluation mode. `progress` counts stems. `probabilities.csv` is
    written last, so that a folder that has it holds a whole judgement.
    """
    rows: list[StemProbability] = []
    windows: list[np.ndarray] = []
    for row, of_stem in stem_windows(model, stems, settings, windows_per_segment, device):
        rows.append(row)
        windows.append(of_stem.half().cpu().numpy())
        progress.count(len(rows), len(stems.clips))
    write_windows(folder, windows)
    write_probabilities(folder / PROBABILITIES, rows)
    return rows


def stem_windows(
    model: nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    windows_per_segment: int,
    device: torch.device,
) -> Iterator[tuple[StemProbability, Tensor]]:
    """Yields each stem's averaged probabilities and those of its windows, `(window, class)`, in the
    set's order. `model` is on `device`, in evaluation mode."""
    for clip in stems.clips:
        audio = torch.from_numpy(stems.audio(clip)).to(device)
        windows = window_probabilities(model, audio, settings, windows_per_segment)
        mean = tuple(windows.double().mean(dim=0).tolist())
        yield StemProbability(clip.song, clip.name, clip.label, stems.seconds(clip), mean), windows


@torch.inference_mode()
def window_probabilities(
    model: nn.Module, audio: Tensor, settings: ClassifierSettings, windows_per_segment: int
) -> Tensor:
    """The probabilities `(window, class)` of a stem `(channel=2, sample)`. Windows are as long as a
    segment, and `windows_per_segment` of them begin within one.

    The spectrogram of the stem is computed once, and a window is a slice of its frames. The frames
    are the same as in training, because neither transform is centred. A stem shorter than a segment
    is repeated to a segment's length. Samples after the last whole window are left out.
    """
    if audio.shape[1] < settings.segment:
        audio = audio.repeat(1, -(-settings.segment // audio.shape[1]))[:, : settings.segment]
    frames = magnitude(audio[None], settings.fft, settings.hop, centred=False)[0]
    window_frames = (settings.segment - settings.fft) // settings.hop + 1
    step = settings.segment // windows_per_segment // settings.hop
    windows = frames.unfold(2, window_frames, step).permute(2, 0, 1, 3)
    return torch.cat(
        [torch.sigmoid(model(part).float()) for part in windows.split(WINDOWS_AT_ONCE)]
    )


def window_centres(
    count: int, settings: ClassifierSettings, windows_per_segment: int
) -> np.ndarray:
    """The middle of each of `count` windows, `(window,)`, in s of the trimmed stem."""
    step = settings.segment // windows_per_segment // settings.hop * settings.hop
    return (np.arange(count) * step + settings.segment / 2) / settings.sample_rate


def mean_probabilities(judged: Sequence[list[StemProbability]]) -> list[StemProbability]:
    """Each stem's probabilities, averaged over classifiers that judged the same stems."""
    means = []
    for same in zip(*judged, strict=True):
        of_class = zip(*(row.probability for row in same), strict=True)
        mean = tuple(sum(values) / len(same) for values in of_class)
        means.append(replace(same[0], probability=mean))
    return means


def write_probabilities(path: Path, rows: list[StemProbability]) -> None:
    """Writes a line per stem, with probabilities to six decimals."""
    write_csv(
        path,
        COLUMNS,
        (
            (
                row.song,
                row.name,
                label_words(row.given),
                f"{row.seconds:.3f}",
                *(f"{value:.6f}" for value in row.probability),
            )
            for row in rows
        ),
    )


def read_probabilities(path: Path) -> list[StemProbability]:
    """The stems in the table's order. Raises InputError for a file that `write_probabilities` did
    not write, and for values that are no probabilities."""
    try:
        rows = [
            StemProbability(
                row["song"],
                row["file"],
                label_from_words(row["given"]),
                float(row["seconds"]),
                tuple(float(row[name]) for name in CLASSES),
            )
            for row in read_csv(path, COLUMNS)
        ]
        # Written so that NaN fails too.
        if not all(0 <= value <= 1 for row in rows for value in row.probability):
            raise ValueError("a probability that is not between 0 and 1")
        if not all(0 <= row.seconds < math.inf for row in rows):
            raise ValueError("a length that is none")
    except (InputError, ValueError) as error:
        raise InputError(
            f"{path}: not a table of probabilities, or damaged; delete {path.parent} and run again"
        ) from error
    return rows


def write_windows(folder: Path, windows: list[np.ndarray]) -> None:
    """Writes the windows' probabilities `(window, class)` of each stem, in the set's order."""
    lengths = np.array([len(of_stem) for of_stem in windows])
    with written_whole(folder / WINDOWS) as partial, partial.open("wb") as file:
        np.savez(file, lengths=lengths, probabilities=np.concatenate(windows))


def read_windows(folder: Path) -> list[np.ndarray]:
    """The windows' probabilities `(window, class)` of each stem, in the set's order. Raises
    InputError for a file that `write_windows` did not write."""
    path = folder / WINDOWS
    try:
        with np.load(path) as stored:
            lengths, windows = stored["lengths"], stored["probabilities"]
        refuse_impossible_windows(lengths, windows)
    except Exception as error:
        # numpy raises many types of errors for bytes that are not one of its files.
        raise damaged_file(path, error) from error
    return np.split(windows.astype(np.float32), np.cumsum(lengths)[:-1])


def refuse_impossible_windows(lengths: np.ndarray, windows: np.ndarray) -> None:
    """Raises ValueError for arrays that do not hold at least one window of every stem."""
    if lengths.ndim != 1 or lengths.dtype.kind != "i" or not (lengths > 0).all():
        raise ValueError("lengths that are none")
    if windows.dtype.kind != "f" or windows.shape != (lengths.sum(), len(CLASSES)):
        raise ValueError(f"windows of shape {windows.shape}")
    # Written so that NaN fails too.
    if not ((windows >= 0) & (windows <= 1)).all():
        raise ValueError("a probability that is not between 0 and 1")
