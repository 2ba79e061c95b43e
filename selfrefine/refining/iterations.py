"""Refining a folder's stems by classifiers trained on them from random weights, as in the paper.

Every iteration leaves its classifier and its judgement in a folder of its own, so that an
interrupted run can be resumed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.models.classifier import build_classifier
from selfrefine.models.weights import damaged_file, load_model
from selfrefine.progress import Progress
from selfrefine.refining.evidence import Weighing
from selfrefine.refining.labels import lost_classes, thresholded_labels, training_stems
from selfrefine.refining.loop import refining_loop
from selfrefine.refining.probabilities import (
    PROBABILITIES,
    WINDOWS,
    StemProbability,
    judge_stems,
    read_probabilities,
    read_windows,
)
from selfrefine.settings import ClassifierSettings, Refining
from selfrefine.training.classifier import train_classifier
from selfrefine.training.loop import Place

MODEL = "model.pt"


@dataclass(frozen=True)
class Refinement:
    """The inputs that all iterations of a run share. `stems` are the original stems under the given
    labels. `settings` are those of every training. The iterations have their folders in `folder`.
    """

    stems: AudioSet
    settings: ClassifierSettings
    refining: Refining
    seed: int
    folder: Path
    device: torch.device
    progress: Progress


@dataclass(frozen=True)
class Iteration:
    """An iteration of refining. `number` is 0 for a start and 1 for the first training. `folder`
    holds the judgement, and `model.pt` where a classifier was trained. `labels` were decided from
    the probabilities in `rows`: by weighing where there is a `weighing`, else at a threshold."""

    number: int
    folder: Path
    rows: list[StemProbability]
    labels: Labels
    weighing: Weighing | None = None


def refine_iterations(run: Refinement, count: int) -> Iterator[Iteration]:
    """Yields up to `count` iterations. What the run's folder holds is not computed again.

    The first classifier trains on all stems under the given labels, each further one on the stems
    that were found to be single-labelled. The run ends early, with a note, where no stem is left
    that holds a given class alone: a classifier trained without the class would drop it everywhere.
    """
    thresholds = (run.refining.threshold,) * len(CLASSES)

    def train(labels: Labels, number: int) -> Path | None:
        training = run.stems if number == 1 else training_stems(run.stems, labels)
        if lost := lost_classes(run.stems, training):
            run.progress.note(
                f"stopped after iteration {number - 1} of {count}: no stem was found to hold "
                f"{' and '.join(lost)} alone, so the next classifier could not learn it; a lower "
                "--threshold, longer training or more songs may help"
            )
            return None
        return trained_folder(run, training, number)

    def judge(folder: Path) -> list[StemProbability]:
        return judgement(run, folder)

    def decide(judged: tuple[list[StemProbability], ...]) -> Labels:
        return thresholded_labels(judged[-1], thresholds, run.refining.most_probable)

    given = {(clip.song, clip.name): clip.label for clip in run.stems.clips}
    for number, folder, judged, labels in refining_loop(given, train, judge, decide, count):
        yield Iteration(number, folder, judged[-1], labels)


def trained_folder(
    run: Refinement, training: AudioSet, number: int, start: Mapping[str, Tensor] | None = None
) -> Path:
    """The folder of a training's classifier. Where the folder does not hold the classifier yet, it
    is trained on `training`, from the weights of `start` or from random ones."""
    folder = run.folder / f"iteration-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MODEL).exists():
        place = Place(folder, run.device, run.progress)
        train_classifier(training, run.settings, run.seed, place, start)
    return folder


def judgement(
    run: Refinement, folder: Path, model: nn.Module | None = None
) -> list[StemProbability]:
    """The judgement of the run's stems. Where the folder does not hold it yet, it is made by
    `model`, or by the folder's classifier. Raises InputError for a judgement that is damaged or of
    other stems."""
    path = folder / PROBABILITIES
    if not path.exists() or not (folder / WINDOWS).exists():
        if model is None:
            model = load_model(build_classifier(run.settings), folder / MODEL, run.device)
        judge_stems(
            model,
            run.stems,
            run.settings,
            run.refining.windows_per_segment,
            folder,
            run.device,
            run.progress,
        )
    # Read even when just written, so that a resumed run decides by the same rounded numbers.
    rows = read_probabilities(path)
    judged = [(row.song, row.name, row.given) for row in rows]
    if judged != [(clip.song, clip.name, clip.label) for clip in run.stems.clips]:
        raise InputError(f"{path}: damaged (it is of other stems); delete {folder} and run again")
    if len(read_windows(folder)) != len(rows):
        raise damaged_file(folder / WINDOWS, ValueError("it is of other stems"))
    return rows


def deciding_iteration(key: tuple[str, str], iterations: list[Iteration]) -> int:
    """The number of the first iteration from which on the stem's label set was the final one."""
    deciding = iterations[-1]
    for iteration in reversed(iterations[:-1]):
        if iteration.labels[key] != deciding.labels[key]:
            break
        deciding = iteration
    return deciding.number
