"""Refining a stem set by classifiers trained on itself, iteration by iteration (section 3.1).

Iteration k trains on the labels that iteration k-1 gave (the given ones for k = 1; from the second
on, stems that were found to be single-labelled only), and relabels the original stems. Every
iteration leaves its classifier and probabilities in a folder of its own, from which an
interrupted run goes on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.audio_set import AudioSet, single_labelled, with_labels
from selfrefine.models.classifier import build_classifier
from selfrefine.progress import Progress
from selfrefine.refining.evidence import Weighed
from selfrefine.refining.probabilities import (
    StemProbability,
    label_set,
    read_probabilities,
    stem_windows,
    write_probabilities,
)
from selfrefine.settings import ClassifierSettings, Refining
from selfrefine.training.checkpoint import load_model
from selfrefine.training.classifier import train_classifier
from selfrefine.training.loop import Place

WINDOWS = "windows.npz"


@dataclass(frozen=True)
class Iteration:
    """`folder` holds `probabilities.csv`, the windows' probabilities, and `model.pt` where one was
    trained. `weighed` is what the labels were decided by where no threshold did."""

    number: int
    folder: Path
    rows: list[StemProbability]
    labels: Labels
    weighed: Weighed | None = None


def refine_iterations(
    stems: AudioSet,
    settings: ClassifierSettings,
    refining: Refining,
    count: int,
    seed: int,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> Iterator[Iteration]:
    """Up to `count` iterations, going on from those that `folder` holds.

    Ends early, saying so, where a class has no stem left that holds it alone: a classifier trained
    without it would drop the class everywhere.
    """
    training = stems
    for number in range(1, count + 1):
        own = folder / f"iteration-{number}"
        train_and_classify(training, stems, settings, refining, seed, own, device, progress)
        rows = read_probabilities(own / "probabilities.csv")
        labels = refined_labels(rows, refining)
        yield Iteration(number, own, rows, labels)
        training = single_labelled(with_labels(stems, labels))
        lost = lost_classes(stems, training)
        if lost and number < count:
            progress.note(
                f"stopped after iteration {number} of {count}: no stem was found to hold {lost} "
                "alone, so the next classifier could not learn it; a lower --threshold, longer "
                "training or more songs may help"
            )
            return


def lost_classes(stems: AudioSet, training: AudioSet) -> str:
    """In words, the classes that stems were given and that none is trained on under."""
    held, left = (
        {name for clip in part.clips for name in clip.label} for part in (stems, training)
    )
    return " and ".join(name for name in CLASSES if name in held - left)


def train_and_classify(
    training: AudioSet,
    stems: AudioSet,
    settings: ClassifierSettings,
    refining: Refining,
    seed: int,
    folder: Path,
    device: torch.device,
    progress: Progress,
    start: Mapping[str, Tensor] | None = None,
) -> None:
    """Leaves in `folder` a classifier trained on `training`, from the weights of `start` if any,
    and what it says of every stem of `stems`. Does only what the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "probabilities.csv").exists():
        return
    if not (folder / "model.pt").exists():
        place = Place(folder, device, progress)
        train_classifier(training, settings, seed, place, start)
    model = load_model(build_classifier(settings), folder / "model.pt", device)
    classify(model, stems, settings, refining, folder, device, progress)


def classify(
    model: torch.nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    refining: Refining,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> list[StemProbability]:
    """Writes the probabilities of every stem and of its windows into `folder`."""
    rows: list[StemProbability] = []
    windows: list[np.ndarray] = []
    for row, of_windows in stem_windows(model, stems, settings, refining, device):
        rows.append(row)
        windows.append(of_windows.half().cpu().numpy())
        progress.count(len(rows), len(stems.clips))
    with (folder / WINDOWS).open("wb") as file:
        lengths = np.array([len(of_stem) for of_stem in windows])
        np.savez(file, lengths=lengths, probabilities=np.concatenate(windows))
    write_probabilities(folder / "probabilities.csv", rows)
    return rows


def read_windows(folder: Path) -> list[np.ndarray]:
    """Per stem, in the set's order, its windows' probabilities `(window, class)`."""
    with np.load(folder / WINDOWS) as stored:
        ends = np.cumsum(stored["lengths"])
        return np.split(stored["probabilities"].astype(np.float32), ends[:-1])


def window_centres(count: int, settings: ClassifierSettings, refining: Refining) -> np.ndarray:
    """Middle of each window in s of the trimmed stem, `(window,)`."""
    step = settings.segment // refining.windows_per_segment // settings.hop * settings.hop
    return (np.arange(count) * step + settings.segment / 2) / settings.sample_rate


def refined_labels(rows: list[StemProbability], refining: Refining) -> Labels:
    thresholds = (refining.threshold,) * len(CLASSES)
    return {
        (row.song, row.name): label_set(row.probability, thresholds, refining.most_probable)
        for row in rows
    }


def deciding_iteration(key: tuple[str, str], iterations: list[Iteration]) -> int:
    """The first iteration from which on the stem's label set stayed the final one."""
    deciding = iterations[-1]
    for iteration in reversed(iterations[:-1]):
        if iteration.labels[key] != deciding.labels[key]:
            break
        deciding = iteration
    return deciding.number
