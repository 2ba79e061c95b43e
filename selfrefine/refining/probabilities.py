"""Relabelling: a stem set and a classifier to a label set per stem (section 4.2)."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from selfrefine.audio.spectrogram import magnitude
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.settings import ClassifierSettings, Refining

WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class StemProbability:
    """A stem's outputs, averaged over its windows, in CLASSES' order."""

    song: str
    name: str
    given: tuple[str, ...]
    seconds: float
    probability: tuple[float, ...]


@torch.inference_mode()
def window_probabilities(
    model: nn.Module, audio: Tensor, settings: ClassifierSettings, windows_per_segment: int
) -> Tensor:
    """`(window, class)` of a stem `(channel=2, sample)`, windows a quarter segment apart.

    One transform of the whole stem; a window is a slice of its frames, which are the frames that
    training saw because neither is centred. A stem shorter than a segment is repeated to its
    length; what is left after the last whole window is not looked at.
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


def stem_windows(
    model: nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    refining: Refining,
    device: torch.device,
) -> Iterator[tuple[StemProbability, Tensor]]:
    """Each clip's averaged probability and its windows' `(window, class)`, in the set's order; the
    model on `device`, evaluating."""
    for clip in stems.clips:
        audio = torch.from_numpy(stems.audio(clip)).to(device)
        windows = window_probabilities(model, audio, settings, refining.windows_per_segment)
        mean = tuple(windows.double().mean(dim=0).tolist())
        yield StemProbability(clip.song, clip.name, clip.label, stems.seconds(clip), mean), windows


def stem_probabilities(
    model: nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    refining: Refining,
    device: torch.device,
) -> Iterator[StemProbability]:
    """Each clip's averaged probability, as `stem_windows` gives it."""
    return (row for row, _ in stem_windows(model, stems, settings, refining, device))


def mean_probabilities(judged: list[list[StemProbability]]) -> list[StemProbability]:
    """Each stem's probabilities, averaged over classifiers that judged the same stems."""
    means = []
    for same in zip(*judged, strict=True):
        of_class = zip(*(row.probability for row in same), strict=True)
        mean = tuple(sum(values) / len(same) for values in of_class)
        means.append(replace(same[0], probability=mean))
    return means


def label_set(
    probability: tuple[float, ...], thresholds: tuple[float, ...], most_probable: bool = False
) -> tuple[str, ...]:
    """The classes whose probability is at least their threshold. Where no class passes: none,
    which means that the stem is dropped; with `most_probable`, the most probable class alone."""
    rows = zip(CLASSES, probability, thresholds, strict=True)
    passing = tuple(name for name, value, threshold in rows if value >= threshold)
    if passing or not most_probable:
        return passing
    return (CLASSES[max(range(len(CLASSES)), key=lambda place: probability[place])],)


def write_probabilities(path: Path, rows: list[StemProbability]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["song", "file", "given", "seconds", *CLASSES])
        for row in rows:
            values = [f"{value:.6f}" for value in row.probability]
            table.writerow([row.song, row.name, "+".join(row.given), f"{row.seconds:.3f}", *values])
    os.replace(partial, path)


def read_probabilities(path: Path) -> list[StemProbability]:
    """Raises InputError for a file that `write_probabilities` did not write."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [
                StemProbability(
                    row["song"],
                    row["file"],
                    tuple(row["given"].split("+")),
                    float(row["seconds"]),
                    tuple(float(row[name]) for name in CLASSES),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a table of probabilities ({error})") from error


def count_labels(labels: dict[tuple[str, str], tuple[str, ...]]) -> dict[str, int]:
    """How many stems became single-labelled, multi-labelled and dropped."""
    sizes = [len(label) for label in labels.values()]
    return {
        "single": sum(size == 1 for size in sizes),
        "multi": sum(size > 1 for size in sizes),
        "dropped": sum(size == 0 for size in sizes),
    }
