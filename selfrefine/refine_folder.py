"""`selfrefine refine`: from a folder of stems to label sets; `refine_report` writes them down."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfrefine.classes import CLASSES
from selfrefine.data.folder import SongFiles, find_songs, fingerprint, unused_audio
from selfrefine.data.header import read_header
from selfrefine.data.output_folder import make_output_folder
from selfrefine.data.trimming import TrimmedStems, open_trimmed_stems, trim_stems
from selfrefine.errors import InputError
from selfrefine.labels_table import read_truth
from selfrefine.metrics.label_sets import Labels
from selfrefine.model_file import load_classifier, save_classifier
from selfrefine.progress_bar import ProgressBar
from selfrefine.refine_report import Refined, write_report
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


@dataclass(frozen=True)
class RefineOrder:
    """What the command line asked for; a `threshold` of None is the scale's or the classifier's."""

    source: Path
    out: Path
    scale: Scale
    threshold: float | None
    iterations: int
    seed: int
    resume: bool
    copy: bool
    truth: Path | None
    classifier: Path | None


def refine_folder(order: RefineOrder) -> Refined:
    """Raises InputError for input that cannot be used and for an output folder that is not free."""
    songs = find_songs(order.source, tracks=False)
    truth = known_truth(order.truth, songs) if order.truth else None
    device = training_device()
    prepare(device)
    loaded = load_classifier(order.classifier, device) if order.classifier else None
    settings = loaded.settings if loaded else order.scale.classifier
    threshold = order.threshold or (loaded.threshold if loaded else order.scale.threshold)
    refining = Refining(threshold=threshold)
    make_output_folder(order.out, order.source, keep=order.resume)
    begin_or_resume(order, songs, settings, threshold)
    with ProgressBar() as bar:
        progress = Progress(bar.listen, bar.count, bar.say)
        trimmed = trimmed_stems(order, songs, settings.sample_rate, bar)
        if loaded:
            folder = order.out / "work" / "given-classifier"
            folder.mkdir(exist_ok=True)
            rows = classify(
                loaded.model, trimmed.stems, settings, refining, folder, device, progress
            )
            iterations = [Iteration(1, folder, rows, refined_labels(rows, threshold))]
        else:
            iterations = list(
                refine_iterations(
                    trimmed.stems,
                    settings,
                    refining,
                    order.iterations,
                    order.seed,
                    order.out / "work",
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


def begin_or_resume(
    order: RefineOrder, songs: list[SongFiles], settings: Classifier, threshold: float
) -> None:
    """Notes what is refined and how in OUT/work. Raises InputError for what was begun otherwise,
    and for a labels.csv that was edited since."""
    classifier = hashlib.sha256(order.classifier.read_bytes()) if order.classifier else None
    mark: dict[str, Any] = {
        "files": fingerprint(songs),
        "settings": repr(settings),
        "threshold": threshold,
        "seed": order.seed,
        "classifier": classifier.hexdigest() if classifier else None,
    }
    path = order.out / "work" / "order.json"
    if path.exists():
        before = json.loads(path.read_text())
        differing = [name for name, value in mark.items() if before.get(name) != value]
        if differing:
            raise InputError(
                f"{order.out}: was begun with other {' and '.join(differing)}; choose another "
                "folder, or give the same arguments as then"
            )
    elif any(order.out.iterdir()):
        raise InputError(f"{order.out}: nothing to resume there; choose a new or an empty folder")
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(mark, indent=1))
    os.replace(partial, path)


def trimmed_stems(
    order: RefineOrder, songs: list[SongFiles], sample_rate: int, bar: ProgressBar
) -> TrimmedStems:
    """The stems without silence at the classifier's rate, read anew or kept from before."""
    unused = unused_audio(order.source, songs)
    if unused:
        bar.say(
            f"{len(unused)} audio files are named by no class and left out, as {unused[0]}; "
            "selfrefine check-data lists them"
        )
    folder = order.out / "work" / "stems"
    if not (folder / "index.json").exists():
        refuse_full_disk(order.out, songs, sample_rate)
        trim_stems(songs, folder, sample_rate, bar.count, bar.say)
    trimmed = open_trimmed_stems(folder)
    for stem in trimmed.skipped.values():
        bar.say(f"left out: {stem.reason}")
    if trimmed.skipped:
        total = len(trimmed.skipped) + len(trimmed.kept)
        bar.say(f"{len(trimmed.skipped)} of {total} stems are left out")
    held = {name for clip in trimmed.stems.clips for name in clip.label}
    if missing := [name for name in CLASSES if name not in held]:
        bar.say(f"no usable stem is labelled {' or '.join(missing)}: no classifier can learn it")
    return trimmed


def refuse_full_disk(out: Path, songs: list[SongFiles], sample_rate: int) -> None:
    """Raises InputError where the decoded stems may not fit."""
    seconds = 0.0
    for song in songs:
        for file in song.files:
            try:
                seconds += read_header(file).seconds if file.label else 0.0
            except InputError:
                continue  # named when it is read
    needed = seconds * sample_rate * 4
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f"{out}: the decoded stems may take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free there; choose a folder on another disk"
        )
