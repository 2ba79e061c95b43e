"""`selfrefine refine`: from a folder of stems to label sets; `refine_report` writes them down."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfrefine.data.folder import SongFiles, fingerprint
from selfrefine.data.output_folder import begin_or_resume
from selfrefine.errors import InputError
from selfrefine.labels_table import read_truth
from selfrefine.metrics.label_sets import Labels
from selfrefine.model_file import load_classifier, save_classifier
from selfrefine.prepared_stems import say_unused, trimmed_stems
from selfrefine.progress_bar import ProgressBar
from selfrefine.refine_report import Refined, refuse_edited_labels, write_report
from selfrefine.scales import Scale
from selfrefine.self_refining import (
    Iteration,
    Progress,
    classify,
    refine_iterations,
    refined_labels,
)
from selfrefine.settings import Classifier, Refining
from selfrefine.training.device import prepare, training_device

SOURCE = "source.path"
"""In `work`: the input folder's path, as bytes of the file system."""


@dataclass(frozen=True)
class RefineOrder:
    """What the command line asked for; a `threshold` of None is the scale's or the classifier's."""

    source: Path
    out: Path
    scale: Scale
    threshold: float | None
    most_probable: bool
    iterations: int
    seed: int
    resume: bool
    copy: bool
    truth: Path | None
    classifier: Path | None


def refine_folder(order: RefineOrder, songs: list[SongFiles]) -> Refined:
    """Refines `songs`, those of the order's source, into its output folder, which exists.

    Raises InputError for input that cannot be used, and for an output folder begun otherwise."""
    truth = known_truth(order.truth, songs) if order.truth else None
    device = training_device()
    prepare(device)
    loaded = load_classifier(order.classifier, device) if order.classifier else None
    settings = loaded.settings if loaded else order.scale.classifier
    threshold = order.threshold or (loaded.threshold if loaded else order.scale.threshold)
    refining = Refining(threshold=threshold, most_probable=order.most_probable)
    work = begin_or_resume(order.out, order_mark(order, songs, settings, refining))
    refuse_edited_labels(order.out)
    (work / SOURCE).write_bytes(os.fsencode(os.path.abspath(order.source)))
    with ProgressBar() as bar:
        progress = Progress(bar.listen, bar.count, bar.say)
        say_unused(order.source, songs, bar)
        trimmed = trimmed_stems(songs, work, settings.sample_rate, bar)
        if loaded:
            folder = work / "given-classifier"
            folder.mkdir(exist_ok=True)
            rows = classify(
                loaded.model, trimmed.stems, settings, refining, folder, device, progress
            )
            iterations = [Iteration(1, folder, rows, refined_labels(rows, refining))]
        else:
            iterations = list(
                refine_iterations(
                    trimmed.stems,
                    settings,
                    refining,
                    order.iterations,
                    order.seed,
                    work,
                    device,
                    progress,
                )
            )
            weights = iterations[-1].folder / "model.pt"
            save_classifier(order.out / "classifier.pt", weights, settings, threshold)
        refined = Refined(order.source, songs, trimmed, settings, refining, iterations)
        write_report(order.out, refined, truth, order.copy, bar.say)
    return refined


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
    order: RefineOrder, songs: list[SongFiles], settings: Classifier, refining: Refining
) -> dict[str, Any]:
    """What must be the same for a run to be resumed. None counts as not noted: runs of before an
    option was there can go on without it."""
    classifier = hashlib.sha256(order.classifier.read_bytes()) if order.classifier else None
    return {
        "files": fingerprint(songs),
        "settings": repr(settings),
        "threshold": refining.threshold,
        "rule where no class passes": "most probable" if refining.most_probable else None,
        "seed": order.seed,
        "classifier": classifier.hexdigest() if classifier else None,
    }
