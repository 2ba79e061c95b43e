"""What each stage does: one function a stage class, from its inputs' folders to its own.

Each returns the stage's result, a small JSON value. This module loads torch; the runner imports it
in its workers only.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import stages
from experiments.data import folder_songs
from experiments.examples import SONGS, write_examples
from experiments.outputs import MULTI, SINGLE, Output, read_outputs, write_outputs
from experiments.own_songs import read_own_songs
from experiments.stem_sets import (
    chosen_thresholds,
    found_labels,
    judged_stems,
    known_truth,
    refined_labels,
    stem_set,
    true_labels,
    weighed_labels,
)
from experiments.store import Store
from experiments.trainings.trial import device_words, known_to_fit
from experiments.trainings.watching import (
    Measure,
    Values,
    Watcher,
    recognition_measure,
    separation_measure,
)
from selfrefine.audio.colouring import randomly_filtered
from selfrefine.audio.silence import remove_silence
from selfrefine.band import play_songs
from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.audio_set import (
    AudioSet,
    AudioSetWriter,
    by_song,
    open_audio_set,
    single_labelled,
)
from selfrefine.clips.corruption import (
    draw_parts,
    read_truth,
    stem_truth,
    sum_parts,
    write_truth,
)
from selfrefine.clips.song_signals import references_and_mixture, sum_clips
from selfrefine.errors import InputError
from selfrefine.metrics.label_sets import confusion, label_accuracy
from selfrefine.metrics.recognition import best_thresholds, recognition, unsure_share
from selfrefine.metrics.sdr import frame_sdr, median_over_tracks, track_sdr
from selfrefine.models.classifier import build_classifier
from selfrefine.models.separator import build_separator, separate_song
from selfrefine.progress import Progress, StepReport
from selfrefine.refining.decisions import reliability
from selfrefine.refining.mixture_outputs import mixture_outputs
from selfrefine.refining.probabilities import count_labels, stem_probabilities, write_probabilities
from selfrefine.settings import Refining
from selfrefine.training.checkpoint import load_model, read_weights
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import prepare, training_device
from selfrefine.training.loop import Inspect, Place, Trained
from selfrefine.training.separator import train_separator
from selfrefine.training.speed import peak_flops, peak_memory

Result = dict[str, Any]

THIN_SECONDS = 60.0


@dataclass(frozen=True)
class Work:
    """Where a stage computes and whom it tells. `validated` takes what a training reaches on the
    songs that it is watched with, if any. `cores` are for it alone.
    """

    store: Store
    folder: Path
    progress: Progress
    watched_with: stages.Stage | None
    validated: Callable[[int, Values], None]
    cores: int


@singledispatch
def compute(stage: stages.Stage, work: Work) -> Result:
    """Computes a stage whose inputs are done. Raises InputError for data that cannot be used."""
    raise InputError(f"{type(stage).__name__} stands for data; choose it with --data")


@compute.register
def _(stage: stages.BandSongs, work: Work) -> Result:
    indices = range(stage.first, stage.first + stage.songs)
    songs = play_songs(
        stage.domain, stage.seed, indices, stage.seconds, stage.sample_rate, work.cores
    )
    with closing(songs), AudioSetWriter(work.folder, stage.sample_rate) as writer:
        for played, (index, tracks) in enumerate(zip(indices, songs, strict=True), start=1):
            for track in tracks:
                writer.add(f"{stage.domain}{index:03d}", track.name, (track.stem,), track.audio)
            work.progress.count(played, stage.songs)
    return {"songs": stage.songs, "seconds": stage.songs * stage.seconds}


@compute.register
def _(stage: stages.FolderSongs, work: Work) -> Result:
    return folder_songs(stage, work.folder, work.progress)


@compute.register
def _(stage: stages.OwnSongs, work: Work) -> Result:
    return read_own_songs(stage, work.folder, work.progress)


@compute.register
def _(stage: stages.Corrupted, work: Work) -> Result:
    tracks = open_audio_set(work.store.folder(stage.of))
    songs = by_song(tracks)
    truths = []
    with AudioSetWriter(work.folder, tracks.sample_rate) as writer:
        for number, (song, clips) in enumerate(songs.items()):
            rng = np.random.default_rng([stage.seed, number])
            for given, parts in draw_parts(clips, stage.noise, rng).items():
                writer.add(song, given, (given,), sum_parts(tracks, parts))
                truths.append(stem_truth(tracks, song, given, parts))
            work.progress.count(number + 1, len(songs))
    write_truth(work.folder / "truth.csv", truths)
    as_given: Labels = {(truth.song, truth.given): (truth.given,) for truth in truths}
    truth = read_truth(work.folder / "truth.csv")
    return {
        "stems": len(truths),
        "accuracy": asdict(label_accuracy(as_given, truth)),
        "confusion": confusion(as_given, truth),
    }


@compute.register
def _(stage: stages.Trimmed, work: Work) -> Result:
    songs = open_audio_set(work.store.folder(stage.of))
    seconds = dict.fromkeys(CLASSES, 0.0)
    silent = []
    grouped = by_song(songs)
    with AudioSetWriter(work.folder, songs.sample_rate) as writer:
        for number, (song, clips) in enumerate(grouped.items()):
            for name in CLASSES:
                of_class = [clip for clip in clips if clip.label == (name,)]
                if not of_class:
                    continue
                audio = remove_silence(sum_clips(songs, of_class), songs.sample_rate, stage.silence)
                if audio.shape[1] == 0:
                    silent.append(f"{song}/{name}")
                    continue
                writer.add(song, name, (name,), audio)
                seconds[name] += audio.shape[1] / songs.sample_rate
            work.progress.count(number + 1, len(grouped))
    if silent:
        work.progress.note(f"{len(silent)} stems are silent and left out: {', '.join(silent)}")
    minutes = {name: round(value / 60, 2) for name, value in seconds.items()}
    return {"stems": len(writer.clips), "minutes": minutes, "silent": silent}


@compute.register
def _(stage: stages.Coloured, work: Work) -> Result:
    sets = [open_audio_set(work.store.folder(each)) for each in (stage.first, stage.second)]
    total = sum(len(stems.clips) for stems in sets)
    rng = np.random.default_rng(stage.seed)
    count = 0
    with AudioSetWriter(work.folder, sets[0].sample_rate) as writer:
        for stems in sets:
            for clip in stems.clips:
                audio = stems.audio(clip)
                writer.add(clip.song, clip.name, clip.label, audio)
                coloured = randomly_filtered(audio, stems.sample_rate, rng)
                writer.add(clip.song, f"{clip.name}, filtered", clip.label, coloured)
                count += 1
                work.progress.count(count, total)
    return {"stems": len(writer.clips)}


@compute.register
def _(stage: stages.Classifier, work: Work) -> Result:
    stems = stem_set(stage.train, work.store)
    if stage.single_labelled_only:
        stems = single_labelled(stems)
    warn_of_thin_classes(stems, work)
    device = training_device()
    start = None
    if stage.start is not None:
        start = read_weights(work.store.folder(stage.start) / "model.pt")
    inspect = watcher(work, lambda songs: recognition_measure(songs, stage.settings, device))
    return train_and_sum_up(
        lambda place: train_classifier(stems, stage.settings, stage.seed, place, start),
        inspect,
        known_to_fit(stage.settings, device_words(), work.store.root),
        stems,
        work,
    )


@compute.register
def _(stage: stages.Separator, work: Work) -> Result:
    stems = stem_set(stage.train, work.store)
    warn_of_thin_classes(stems, work)
    device = training_device()
    inspect = watcher(work, lambda songs: separation_measure(songs, stage.settings, device))
    return train_and_sum_up(
        lambda place: train_separator(stems, stage.settings, stage.seed, place),
        inspect,
        known_to_fit(stage.settings, device_words(), work.store.root),
        stems,
        work,
    )


@compute.register
def _(stage: stages.Probabilities, work: Work) -> Result:
    device = training_device()
    stems = stem_set(stage.stems, work.store)
    settings = stage.by.settings
    model = load_model(build_classifier(settings), work.store.folder(stage.by) / "model.pt", device)
    refining = Refining(windows_per_segment=stage.windows_per_segment)
    rows = []
    for row in stem_probabilities(model, stems, settings, refining, device):
        rows.append(row)
        work.progress.count(len(rows), len(stems.clips))
    write_probabilities(work.folder / "probabilities.csv", rows)
    outputs = np.array([row.probability for row in rows])
    unsure = float(((outputs > 0.1) & (outputs < 0.9)).mean())
    return {"stems": len(rows), "unsure": unsure}


@compute.register
def _(stage: stages.RecognitionOutputs, work: Work) -> Result:
    device = training_device()
    stems = stem_set(stage.stems, work.store)
    settings = stage.by.settings
    model = load_model(build_classifier(settings), work.store.folder(stage.by) / "model.pt", device)
    refining = Refining(windows_per_segment=stage.windows_per_segment)
    items = len(stems.clips) + stage.mixtures
    rows = []
    for stem in stem_probabilities(model, stems, settings, refining, device):
        truth = tuple(name in stem.given for name in CLASSES)
        rows.append(Output(SINGLE, f"{stem.song}/{stem.name}", truth, stem.probability))
        work.progress.count(len(rows), items)
    mixtures = mixture_outputs(model, stems, settings, stage.mixtures, stage.seed, device)
    for number, (truth, values) in enumerate(mixtures):
        rows.append(Output(MULTI, str(number), truth, values))
        work.progress.count(len(rows), items)
    write_outputs(work.folder, rows)
    tests = read_outputs(work.folder)
    return {
        "items": {test: len(truth) for test, (truth, _) in tests.items()},
        "unsure": {test: unsure_share(outputs) for test, (_, outputs) in tests.items()},
    }


@compute.register
def _(stage: stages.AdaptiveThresholds, work: Work) -> Result:
    tests = read_outputs(work.store.folder(stage.of))
    return {"thresholds": by_class(best_thresholds(list(tests.values())))}


@compute.register
def _(stage: stages.RecognitionScore, work: Work) -> Result:
    tests = read_outputs(work.store.folder(stage.of))
    result: Result = {"thresholds": list(stage.thresholds)}
    for test, (truth, outputs) in tests.items():
        scores = asdict(recognition(truth, outputs, np.array(stage.thresholds)))
        result[test] = {
            measure: by_class(values) | {"avg": float(values.mean())}
            for measure, values in scores.items()
        }
    return result


@compute.register
def _(stage: stages.Relabelled, work: Work) -> Result:
    labels = refined_labels(stage, work.store)
    thresholds = chosen_thresholds(stage.thresholds, work.store)
    result: Result = {**count_labels(labels), "thresholds": list(thresholds)}
    truth = known_truth(stage.of.stems, work.store)
    if truth is not None:
        result["accuracy"] = asdict(label_accuracy(labels, truth))
        result["confusion"] = confusion(labels, truth)
    return result


@compute.register
def _(stage: stages.Weighed, work: Work) -> Result:
    rows = judged_stems(stage, work.store)
    labels = weighed_labels(stage, rows)
    result: Result = {**count_labels(labels)}
    truth = known_truth(stage.of.stems, work.store)
    if truth is not None:
        groups = reliability(found_labels(stage, rows), truth)
        result["reliability"] = [asdict(group) for group in groups]
        result["accuracy"] = asdict(label_accuracy(labels, truth))
        result["confusion"] = confusion(labels, truth)
    return result


@compute.register
def _(stage: stages.TrulyLabelled, work: Work) -> Result:
    labels = true_labels(stage, work.store)
    stems = open_audio_set(work.store.folder(stage.of)).clips
    kept = {(clip.song, clip.name): labels[clip.song, clip.name] for clip in stems}
    return {**count_labels(kept)}


@compute.register
def _(stage: stages.SeparationScore, work: Work) -> Result:
    device = training_device()
    settings = stage.separator.settings
    songs = open_audio_set(work.store.folder(stage.test))
    model = load_model(
        build_separator(settings), work.store.folder(stage.separator) / "model.pt", device
    )
    tracks: dict[str, dict[str, float | None]] = {}
    grouped = by_song(songs)
    rate = songs.sample_rate
    # While a GPU separates a song, a core scores the one before.
    behind = 0 if device.type == "cpu" else 1
    pending: list[tuple[str, Future[np.ndarray]]] = []

    def note_scores() -> None:
        song, scored = pending.pop(0)
        scores = scored.result()
        tracks[song] = {
            name: float(score) if np.isfinite(score) else None
            for name, score in zip(CLASSES, scores, strict=True)
        }
        if not np.isfinite(scores).any():
            work.progress.note(
                f"{song} has no frame in which every source sounds; it is not scored"
            )
        work.progress.count(len(tracks), len(grouped))

    with ThreadPoolExecutor(1) as scoring:
        for number, (song, clips) in enumerate(grouped.items()):
            references, mixture = references_and_mixture(songs, clips)
            separated = separate_song(model, settings, torch.from_numpy(mixture).to(device))
            estimates = separated.cpu().numpy()
            held = np.array([any(clip.label == (name,) for clip in clips) for name in CLASSES])
            pending.append((song, scoring.submit(song_scores, references, estimates, held, rate)))
            # Nobody's own songs leave their folder: their licences are not known.
            if number < SONGS and not isinstance(stage.test, stages.OwnSongs):
                write_examples(work.folder, song, references, mixture, estimates, rate)
            while len(pending) > behind:
                note_scores()
        while pending:
            note_scores()
    table = np.array(
        [[np.nan if v is None else v for v in row.values()] for row in tracks.values()]
    )
    medians = median_over_tracks(table)
    sdr = by_class(medians)
    return {"sdr": sdr, "average": float(np.mean(list(sdr.values()))), "tracks": tracks}


def song_scores(
    references: np.ndarray, estimates: np.ndarray, held: np.ndarray, rate: int
) -> np.ndarray:
    """A song's SDR in dB, `(class,)`, of sources `(class, channel, sample)`. Only the classes that
    the song has, `held` `(class,)`, are scored, among themselves as in museval; others are NaN."""
    scores = np.full(len(CLASSES), np.nan)
    scores[held] = track_sdr(frame_sdr(references[held], estimates[held], rate, rate))
    return scores


def by_class(values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(CLASSES, values, strict=True)}


def warn_of_thin_classes(stems: AudioSet, work: Work) -> None:
    """Says when classes have less than a minute to train on: their stems may have been relabelled
    away."""
    thin = [
        f"{seconds:.0f} s of {name}"
        for name, seconds in single_labelled_seconds(stems).items()
        if seconds < THIN_SECONDS
    ]
    if thin:
        work.progress.note(f"there is only {', '.join(thin)} with that label alone to train on")


def single_labelled_seconds(stems: AudioSet) -> dict[str, float]:
    return {
        name: sum(stems.seconds(clip) for clip in stems.clips if clip.label == (name,))
        for name in CLASSES
    }


def watcher(work: Work, measure: Callable[[AudioSet], Measure]) -> Inspect | None:
    """What looks at a training, where there are songs to watch it with."""
    songs = work.watched_with
    if songs is None:
        return None
    folder = work.store.folder(songs)
    return Watcher(lambda: measure(open_audio_set(folder)), work.validated, work.progress.note).look


def speed_line(speed: dict[str, float]) -> str:
    """A training's speed in one line."""
    reached, peak = speed["flops_per_second"] / 1e9, speed["peak_flops_per_second"] / 1e9
    return (
        f"{1000 * speed['step_seconds']:.0f} ms a step, {speed['data_share']:.0%} of it data; "
        f"{reached:.0f} GFLOP/s, {peak:.0f} in a matrix product; "
        f"{speed['memory_bytes'] / 2**30:.1f} GB"
    )


def train_and_sum_up(
    training: Callable[[Place], Trained],
    inspect: Inspect | None,
    items_at_once: int | None,
    stems: AudioSet,
    work: Work,
) -> Result:
    """Runs a training and reports its end: mean loss of the last tenth, speed, share of data."""
    device = training_device()
    prepare(device)
    reports: list[StepReport] = []

    def step(report: StepReport) -> None:
        reports.append(report)
        work.progress.step(report)

    progress = replace(work.progress, step=step)
    trained = training(Place(work.folder, device, progress, inspect, items_at_once))
    last = reports[-max(1, len(reports) // 10) :]
    seconds = sum(report.seconds for report in reports) or 1e-9
    minutes = {name: round(s / 60, 2) for name, s in single_labelled_seconds(stems).items()}
    speed = {
        "step_seconds": seconds / max(1, len(reports)),
        "data_share": sum(report.data_seconds for report in reports) / seconds,
        "flops_per_second": trained.step_flops * len(reports) / seconds,
        "peak_flops_per_second": peak_flops(device),
        "memory_bytes": peak_memory(device),
        "items_at_once": trained.items_at_once,
    }
    work.progress.note(speed_line(speed))
    return {
        "loss": sum(report.loss for report in last) / max(1, len(last)),
        "steps": reports[-1].steps if reports else 0,
        **speed,
        "single_labelled_minutes": minutes,
        "multi_labelled_stems": sum(len(clip.label) > 1 for clip in stems.clips),
    }
