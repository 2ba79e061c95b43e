"""`selfrefine refine`: refines the labels of a folder. `refine_report` writes the results."""

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from selfrefine.app.output_folder import SOURCE, begin_or_resume
from selfrefine.app.prepared_stems import note_unused, trimmed_stems
from selfrefine.app.progress_bar import ProgressBar
from selfrefine.app.refine_report import Refined, refuse_edited_labels, write_report
from selfrefine.app.settings_mark import settings_mark
from selfrefine.classes import CLASSES, Labels, label_words
from selfrefine.clips.audio_set import refuse_changed_samples
from selfrefine.clips.trimming import Key
from selfrefine.clips.truth import read_truth, under_names
from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.layouts import SongFiles, fingerprint
from selfrefine.models.model_file import load_classifier, save_classifier
from selfrefine.refining.decisions import Verdict, thresholded_verdicts, weighed_verdicts
from selfrefine.refining.iterations import MODEL, Iteration, Refinement, refine_iterations
from selfrefine.refining.labels import thresholded_labels
from selfrefine.refining.probabilities import judge_stems
from selfrefine.refining.started import refine_started
from selfrefine.refining.starting import training_on, usual_trainings
from selfrefine.scales import Scale
from selfrefine.settings import ClassifierSettings, Refining
from selfrefine.training.device import prepare, training_device

PAPER_ITERATIONS = 2
"""The second iteration's classifier is the paper's Psi_refined (section 3.1)."""


@dataclass(frozen=True)
class RefineOrder:
    """The order of a command line.

    `start` is the file of a classifier to train further, `classifier` the file of one to use as it
    is. Where both are None, classifiers are trained from random weights, as in the paper. With a
    start, `sure` decides the labels, and the stems of a song are weighed `together` or one by one.
    Otherwise `threshold` (None: the classifier's own, or else the scale's) and `most_probable`
    decide them. `iterations` of None stands for the usual number of trainings.
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
    """Refines `songs`, the songs in the order's source, into its output folder, which exists.

    Raises InputError for input that cannot be used, and for an output folder that was begun with
    another order.
    """
    truth = true_labels_of(songs, order.truth) if order.truth else None
    device = training_device()
    prepare(device)
    given = order.start or order.classifier
    loaded = load_classifier(given, device) if given else None
    settings = loaded.settings if loaded else order.scale.classifier
    threshold = order.threshold or (loaded.threshold if loaded else order.scale.threshold)
    refining = Refining(threshold=threshold, most_probable=order.most_probable)
    work = begin_or_resume(order.out, order_mark(order, songs, settings, refining))
    refuse_edited_labels(order.out)
    with written_whole(work / SOURCE) as partial:
        partial.write_bytes(os.fsencode(os.path.abspath(order.source)))
    with ProgressBar() as bar:
        progress = bar.progress
        note_unused(order.source, songs, progress)
        stems = sum(bool(file.label) for song in songs for file in song.files)
        if truth and len(truth) < stems:
            progress.note(f"{order.truth}: has the truth of {len(truth)} of {stems} stems")
        trimmed = trimmed_stems(songs, work, settings.sample_rate, progress)
        if order.resume:
            refuse_changed_samples(work / "stems")
        run = Refinement(trimmed.stems, settings, refining, order.seed, work, device, progress)
        if loaded and order.start:
            found = by_start(run, order, loaded.model)
        elif loaded:
            found = by_classifier(run, loaded.model)
        else:
            found = by_training(run, order.iterations)
        classifier = order.out / "classifier.pt"
        if found.weights.exists():
            save_classifier(classifier, found.weights, settings, threshold)
        elif order.start:
            # Without a training, the start alone decided the labels.
            with written_whole(classifier) as partial:
                shutil.copyfile(order.start, partial)
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
class Found:
    """The findings of refining. `weights` is the file of the last training's classifier; it exists
    only where there was a training. `words` are pairs of a name and a value; they say how labels
    were decided."""

    iterations: list[Iteration]
    verdicts: dict[Key, Verdict]
    weights: Path
    words: list[tuple[str, str]]


def by_start(run: Refinement, order: RefineOrder, start: nn.Module) -> Found:
    """Refines by a classifier that knows the classes already, and by further trainings of it."""
    stems = len(run.stems.clips)
    count = usual_trainings(stems) if order.iterations is None else order.iterations
    run = replace(run, settings=training_on(run.settings, stems))
    iterations = list(refine_started(run, start, count, order.together))
    verdicts = weighed_verdicts(iterations, order.sure)
    words = [("start", str(order.start)), ("a change needs", f"{order.sure:.0%} certainty")]
    return Found(iterations, verdicts, iterations[-1].folder / MODEL, words)


def by_classifier(run: Refinement, classifier: nn.Module) -> Found:
    """Refines by a classifier as it is, without any training."""
    folder = run.folder / "given-classifier"
    folder.mkdir(exist_ok=True)
    rows = judge_stems(
        classifier,
        run.stems,
        run.settings,
        run.refining.windows_per_segment,
        folder,
        run.device,
        run.progress,
    )
    thresholds = (run.refining.threshold,) * len(CLASSES)
    labels = thresholded_labels(rows, thresholds, run.refining.most_probable)
    return at_threshold([Iteration(1, folder, rows, labels)], run.refining)


def by_training(run: Refinement, iterations: int | None) -> Found:
    """Refines by classifiers trained on the collection from random weights, as in the paper."""
    count = PAPER_ITERATIONS if iterations is None else iterations
    return at_threshold(list(refine_iterations(run, count)), run.refining)


def at_threshold(iterations: list[Iteration], refining: Refining) -> Found:
    """The findings of iterations whose labels were decided at a threshold."""
    rule = "the most probable one" if refining.most_probable else "the stem is dropped"
    words = [("threshold", f"{refining.threshold:g}"), ("where no class passes", rule)]
    verdicts = thresholded_verdicts(iterations, refining.threshold)
    return Found(iterations, verdicts, iterations[-1].folder / MODEL, words)


def true_labels_of(songs: list[SongFiles], path: Path) -> Labels:
    """True label sets by (song, name), for the stems that a truth.csv names. Raises InputError for
    a file that is no such table, and for a table of other songs."""
    table = under_names(read_truth(path), [song.name for song in songs])
    truth = {
        (song.name, file.name): table[song.name, words]
        for song in songs
        for file in song.files
        if (song.name, words := label_words(file.label)) in table
    }
    if not truth:
        raise InputError(f"{path}: none of its songs is in the folder; give the folder's own truth")
    return truth


def order_mark(
    order: RefineOrder, songs: list[SongFiles], settings: ClassifierSettings, refining: Refining
) -> dict[str, Any]:
    """The JSON values that must be the same for a run to be resumed. An option that was added later
    is None where it changes nothing, so that a run from before it can be resumed."""
    given = order.start or order.classifier
    digest = hashlib.sha256(given.read_bytes()).hexdigest() if given else None
    return {
        "files": fingerprint(songs),
        "settings": settings_mark(settings),
        "threshold": refining.threshold,
        "rule where no class passes": "most probable" if refining.most_probable else None,
        "seed": order.seed,
        "classifier": digest if order.classifier else None,
        "--start": digest if order.start else None,
        "--sure": order.sure if order.start else None,
        "--stem-by-stem": None if order.together else True,
    }
