"""`selfrefine refine`: from a folder of stems to label sets; `refine_report` writes them down."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfrefine.app.labels_table import read_truth
from selfrefine.app.output_folder import SOURCE, begin_or_resume
from selfrefine.app.prepared_stems import note_unused, trimmed_stems
from selfrefine.app.progress_bar import ProgressBar
from selfrefine.app.refine_report import Refined, refuse_edited_labels, write_report
from selfrefine.classes import Labels
from selfrefine.clips.audio_set import AudioSet
from selfrefine.clips.trimming import Key
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, fingerprint
from selfrefine.models.model_file import ClassifierFile, load_classifier, save_classifier
from selfrefine.progress import Progress
from selfrefine.refining.decisions import Verdict, thresholded_verdicts, weighed_verdicts
from selfrefine.refining.iterations import (
    Iteration,
    classify,
    refine_iterations,
    refined_labels,
)
from selfrefine.refining.started import refine_started
from selfrefine.refining.starting import training_on, usual_trainings
from selfrefine.scales import Scale
from selfrefine.settings import ClassifierSettings, Refining
from selfrefine.training.device import prepare, training_device

PAPER_ITERATIONS = 2
"""Psi_refined is the second one (section 3.1)."""


@dataclass(frozen=True)
class RefineOrder:
    """What the command line asked for.

    `start` is the file of the classifier to begin with, `classifier` of one to use as it is; None
    of both is the paper's way. After a start `sure` decides, and the stems of a song are weighed
    `together` or not; otherwise `threshold` (None: the scale's or the classifier's) and
    `most_probable` do. `iterations` of None is what suits the collection.
    """

    source: Path
    out: Path
    scale: Scale
    start: Path | None
    sure: float
    together: bool
    threshold: float | None
    most_probable: bool
    iterations: int | None
    seed: int
    resume: bool
    by_segment: bool
    copy: bool
    truth: Path | None
    classifier: Path | None


def refine_folder(order: RefineOrder, songs: list[SongFiles]) -> Refined:
    """Refines `songs`, those of the order's source, into its output folder, which exists.

    Raises InputError for input that cannot be used, and for an output folder begun otherwise."""
    truth = known_truth(order.truth, songs) if order.truth else None
    device = training_device()
    prepare(device)
    given = order.start or order.classifier
    loaded = load_classifier(given, device) if given else None
    settings = loaded.settings if loaded else order.scale.classifier
    threshold = order.threshold or (loaded.threshold if loaded else order.scale.threshold)
    refining = Refining(threshold=threshold, most_probable=order.most_probable)
    work = begin_or_resume(order.out, order_mark(order, songs, settings, refining))
    refuse_edited_labels(order.out)
    (work / SOURCE).write_bytes(os.fsencode(os.path.abspath(order.source)))
    with ProgressBar() as bar:
        progress = bar.progress
        note_unused(order.source, songs, progress)
        trimmed = trimmed_stems(songs, work, settings.sample_rate, progress)
        way = Way(order, settings, refining, loaded, device, progress)
        if order.start:
            found = by_start(way, trimmed.stems, work)
        elif loaded:
            found = by_classifier(way, trimmed.stems, work)
        else:
            found = by_training(way, trimmed.stems, work)
        classifier = order.out / "classifier.pt"
        if found.weights.exists():
            save_classifier(classifier, found.weights, settings, threshold)
        elif order.start:
            # Without a training the start is what decided.
            shutil.copyfile(order.start, classifier)
        refined = Refined(
            order.source,
            songs,
            trimmed,
            settings,
            refining,
            found.iterations,
            found.verdicts,
            found.words,
        )
        write_report(order.out, refined, truth, order.copy, order.by_segment, bar.note)
    return refined


@dataclass(frozen=True)
class Way:
    """What every way of refining needs; `loaded` is the classifier that was given, if any."""

    order: RefineOrder
    settings: ClassifierSettings
    refining: Refining
    loaded: ClassifierFile | None
    device: torch.device
    progress: Progress


@dataclass(frozen=True)
class Found:
    """What a way of refining found. `weights` is the file of the last training, where there was
    one; `words` say how labels were decided."""

    iterations: list[Iteration]
    verdicts: dict[Key, Verdict]
    weights: Path
    words: list[tuple[str, str]]


def by_start(way: Way, stems: AudioSet, work: Path) -> Found:
    """From a classifier that knows the classes already."""
    order, loaded = way.order, way.loaded
    assert loaded is not None
    count = usual_trainings(len(stems.clips)) if order.iterations is None else order.iterations
    settings = training_on(way.settings, len(stems.clips))
    iterations = list(
        refine_started(
            stems,
            loaded.model,
            settings,
            way.refining,
            count,
            order.seed,
            work,
            way.device,
            way.progress,
            order.together,
        )
    )
    verdicts = weighed_verdicts(iterations, order.sure)
    words = [("start", str(order.start)), ("a change needs", f"{order.sure:.0%} certainty")]
    return Found(iterations, verdicts, iterations[-1].folder / "model.pt", words)


def by_classifier(way: Way, stems: AudioSet, work: Path) -> Found:
    """By a classifier as it is."""
    loaded = way.loaded
    assert loaded is not None
    folder = work / "given-classifier"
    folder.mkdir(exist_ok=True)
    rows = classify(
        loaded.model, stems, way.settings, way.refining, folder, way.device, way.progress
    )
    iterations = [Iteration(1, folder, rows, refined_labels(rows, way.refining))]
    return Found(
        iterations,
        thresholded_verdicts(iterations, way.refining.threshold),
        folder / "model.pt",
        threshold_words(way.refining),
    )


def by_training(way: Way, stems: AudioSet, work: Path) -> Found:
    """By classifiers trained from nothing on the collection itself: the paper's way."""
    count = PAPER_ITERATIONS if way.order.iterations is None else way.order.iterations
    iterations = list(
        refine_iterations(
            stems,
            way.settings,
            way.refining,
            count,
            way.order.seed,
            work,
            way.device,
            way.progress,
        )
    )
    return Found(
        iterations,
        thresholded_verdicts(iterations, way.refining.threshold),
        iterations[-1].folder / "model.pt",
        threshold_words(way.refining),
    )


def threshold_words(refining: Refining) -> list[tuple[str, str]]:
    rule = "the most probable one" if refining.most_probable else "the stem is dropped"
    return [("threshold", f"{refining.threshold:g}"), ("where no class passes", rule)]


def known_truth(path: Path, songs: list[SongFiles]) -> Labels:
    """True label sets by (song, name). Raises InputError where the table is of other songs."""
    table = read_truth(path)
    truth = {
        (song.name, file.name): table[song.name, "+".join(file.label)]
        for song in songs
        for file in song.files
        if (song.name, "+".join(file.label)) in table
    }
    if not truth:
        raise InputError(f"{path}: none of its songs is in the folder; give the folder's own truth")
    return truth


def order_mark(
    order: RefineOrder, songs: list[SongFiles], settings: ClassifierSettings, refining: Refining
) -> dict[str, Any]:
    """What must be the same for a run to be resumed. None counts as not noted: runs of before an
    option was there can go on without it."""
    given = order.start or order.classifier
    digest = hashlib.sha256(given.read_bytes()).hexdigest() if given else None
    return {
        "files": fingerprint(songs),
        "settings": repr(settings),
        "threshold": refining.threshold,
        "rule where no class passes": "most probable" if refining.most_probable else None,
        "seed": order.seed,
        "classifier": digest if order.classifier else None,
        "--start": digest if order.start else None,
        "--sure": order.sure if order.start else None,
        "--stem-by-stem": None if order.together else True,
    }
