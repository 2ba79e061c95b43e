"""A classifier's judgement of a stem set: probabilities of every stem and of its windows.

Section 4.2. A judgement is a folder's `probabilities.csv`, a line per stem, and `windows.npz`.
"""

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
from selfrefine.progress import Progress
from selfrefine.settings import ClassifierSettings

PROBABILITIES = "probabilities.csv"
WINDOWS = "windows.npz"
COLUMNS = ("song", "file", "given", "seconds", *CLASSES)

WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class StemProbability:
    """A stem's probabilities, averaged over its windows, in CLASSES' order."""

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
    """Each stem's probabilities by a model on `device`, evaluating; written into `folder`, which
    exists, with those of every window. Stems are counted.

    `probabilities.csv` is written last, so that a folder with one holds a whole judgement.
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
    """Each stem's averaged probabilities and its windows' `(window, class)`, in the set's order;
    the model on `device`, evaluating."""
    for clip in stems.clips:
        audio = torch.from_numpy(stems.audio(clip)).to(device)
        windows = window_probabilities(model, audio, settings, windows_per_segment)
        mean = tuple(windows.double().mean(dim=0).tolist())
        yield StemProbability(clip.song, clip.name, clip.label, stems.seconds(clip), mean), windows


@torch.inference_mode()
def window_probabilities(
    model: nn.Module, audio: Tensor, settings: ClassifierSettings, windows_per_segment: int
) -> Tensor:
    """`(window, class)` of a stem `(channel=2, sample)`. Windows are a segment long, and
    `windows_per_segment` of them begin within one.

    The stem is transformed once. A window is a slice of its frames, and these are the frames that
    training saw, because neither transform is centred. A stem shorter than a segment is repeated to
    a segment's length; samples after the last whole window are left out.
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
    """Middle of each of `count` windows in s of the trimmed stem, `(window,)`."""
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
    """Writes a line per stem; probabilities to six decimals."""
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
    not write."""
    try:
        return [
            StemProbability(
                row["song"],
                row["file"],
                label_from_words(row["given"]),
                float(row["seconds"]),
                tuple(float(row[name]) for name in CLASSES),
            )
            for row in read_csv(path, COLUMNS)
        ]
    except (InputError, ValueError) as error:
        raise InputError(
            f"{path}: not a table of probabilities; delete {path.parent} and run again"
        ) from error


def write_windows(folder: Path, windows: list[np.ndarray]) -> None:
    """Writes per stem, in the set's order, its windows' probabilities `(window, class)`."""
    lengths = np.array([len(of_stem) for of_stem in windows])
    with written_whole(folder / WINDOWS) as partial, partial.open("wb") as file:
        np.savez(file, lengths=lengths, probabilities=np.concatenate(windows))


def read_windows(folder: Path) -> list[np.ndarray]:
    """Per stem, in the set's order, its windows' probabilities `(window, class)`."""
    with np.load(folder / WINDOWS) as stored:
        ends = np.cumsum(stored["lengths"])
        return np.split(stored["probabilities"].astype(np.float32), ends[:-1])
