"""A store that holds the paper's own numbers, as if every stage had been run."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.examples import write_examples
from experiments.profiles import PROFILES
from experiments.registry import TABLE2
from experiments.rows import Row
from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.recognition_outputs import (
    FILE,
    MULTI,
    SINGLE,
    Output,
    RecognitionOutputs,
    write_outputs,
)
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, identity, seeded
from experiments.stages.weighed import Weighed
from experiments.store import Store
from experiments.targets import resolved_rows
from experiments.trainings.validation import add_validation
from selfrefine.classes import CLASSES

SMOKE = PROFILES["smoke"]
SONGS = 9
SINGLES, MIXTURES = 40, 3941
PREVALENCE = 8 / 15

RECALL_PRECISION = (
    (0.896, 0.918),
    (0.913, 0.862),
    (0.921, 0.882),
    (0.917, 0.876),
    (0.918, 0.878),
    (0.919, 0.879),
)
"""Recall and precision on mixtures, of the clean classifier and of iterations 1 to 5. The first
three are the paper's, as far as its text tells; the others lie in between."""
REFINED = 2

BEYOND_CLEAN = {"uncorrupted": 0.3, "true labels": -0.1}
"""How far reference rows, which the paper does not have, lie above its clean rows, in dB."""


def paper_store(
    root: Path, seeds: int = 1, targets: tuple[str, ...] = ("*",), test: str = "band"
) -> Store:
    """A store in which every stage that `targets` need is finished at the smoke profile, with the
    paper's numbers as results."""
    store = Store(root)
    rows = resolved_rows(list(targets), SMOKE, "band", test)
    classifiers = [
        stage.outputs.classifier
        for label, (_, stage) in resolved_rows(["table4"], SMOKE, "band", test).items()
        if isinstance(stage, RecognitionScore)
    ]
    printed = {identity(stage): cells_of(row) for row, stage in rows.values()}
    for seed in range(seeds):
        for _, target in rows.values():
            for stage in closure([target]):
                finish(store, stage, seed, printed.get(identity(stage), {}), classifiers)
    return store


def cells_of(row: Row) -> dict[str, float]:
    """The cells that the paper prints for a row, and made-up ones where it has none."""
    if row.paper:
        return dict(row.paper)
    network = "demucs" if row.labels[0] == "Demucs" else "x-umx"
    if row.labels[-1] not in BEYOND_CLEAN:
        return dict(TABLE2.row(f"{network}-psi-refined").paper)
    clean = TABLE2.row(f"{network}-clean").paper
    return {name: value + BEYOND_CLEAN[row.labels[-1]] for name, value in clean.items()}


def finish(
    store: Store,
    stage: Stage,
    seed: int,
    printed: dict[str, float],
    classifiers: list[Classifier],
) -> None:
    own = seeded(stage, seed)
    if store.done(own):
        return
    store.folder(own).mkdir(parents=True)
    result: dict[str, Any] = {}
    match stage:
        case SeparationScore():
            result = scored(printed, seed)
            if seed == 0:
                examples(store.folder(own))
        case RecognitionOutputs():
            if seed == 0:
                # Those that start from another are like the refined one.
                known = stage.classifier in classifiers
                place = classifiers.index(stage.classifier) if known else REFINED
                write_outputs(store.folder(own), recognised(*RECALL_PRECISION[place]))
            else:
                shutil.copy(store.folder(stage) / FILE, store.folder(own) / FILE)
            result = {"items": {SINGLE: SINGLES, MULTI: MIXTURES}}
        case Classifier() | Separator():
            for look in range(1, 4):
                measures = ("f1", "recall") if isinstance(stage, Classifier) else ("sdr",)
                values = {f"{m}{c}": look / 4 for m in measures for c in ("", "/bass")}
                add_validation(store.folder(own), 100 * look, values)
        case RecognitionScore():
            result = {"thresholds": list(stage.thresholds)}
        case AdaptiveThresholds():
            result = {"thresholds": dict.fromkeys(CLASSES, 0.6)}
        case Relabelled() | Weighed() | Corrupted():
            result = audited()
    run = {
        "commit": "0123456789ab",
        "device": "cpu",
        "started": "2024-01-01T00:00:00+00:00",
        "seconds": 2.0,
    }
    if seed:
        link = {"id": identity(own), "url": "https://wandb.example/run"}
        (store.folder(own) / "wandb.json").write_text(json.dumps(link))
    store.finish(own, result, run)


def scored(printed: dict[str, float], seed: int) -> dict[str, Any]:
    """The scores of songs whose median is the printed cell, or a little off for seeds above 0."""
    offsets = np.linspace(-2, 2, SONGS)
    shift = (0.0, 0.004, -0.004)[seed % 3]
    tracks = {
        f"song{number}": {name: printed[name] + offset + shift for name in CLASSES}
        for number, offset in enumerate(offsets)
    }
    tracks["silent song"] = dict.fromkeys(CLASSES)
    return {"sdr": {name: printed[name] for name in CLASSES}, "tracks": tracks}


@cache
def recognised(recall: float, precision: float) -> list[Output]:
    """Outputs near 0 and 1 that have the given recall and precision on mixtures. A better
    classifier errs only where a worse one errs too."""
    rng = np.random.default_rng(0)
    draws = np.tile((np.arange(MIXTURES) + 0.5) / MIXTURES, (len(CLASSES), 1))
    truth = rng.permuted(draws, axis=1).T < PREVALENCE
    luck = rng.permuted(draws, axis=1).T
    false_alarms = recall * PREVALENCE * (1 / precision - 1) / (1 - PREVALENCE)
    found = np.where(truth, luck >= 1 - recall, luck < false_alarms)
    outputs = np.where(found, 0.98, 0.02)
    rows = [
        Output(MULTI, str(item), tuple(truth[item].tolist()), tuple(outputs[item].tolist()))
        for item in range(MIXTURES)
    ]
    stems = np.eye(len(CLASSES), dtype=bool)
    return rows + [
        Output(
            SINGLE,
            f"song{item // 4}/{CLASSES[item % 4]}",
            tuple(stems[item % 4].tolist()),
            tuple(np.where(stems[item % 4], 0.97, 0.2).tolist()),
        )
        for item in range(SINGLES)
    ]


def audited() -> dict[str, Any]:
    return {
        "stems": 12,
        "single": 8,
        "multi": 3,
        "dropped": 1,
        "accuracy": {"exact": 0.75, "f1": 0.8, "precision": 0.85, "recall": 0.76, "kept": 0.9},
        "confusion": {
            "vocals": {"vocals": 5, "": 1},
            "bass": {"bass": 2, "drums": 1},
            "bass+drums": {"bass+drums": 2, "bass": 1},
        },
    }


def examples(folder: Path) -> None:
    shutil.copytree(encoded_examples(), folder, dirs_exist_ok=True)


@cache
def encoded_examples() -> Path:
    """A folder with the examples of a score, which are the same for all."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = np.random.default_rng(1)
    references = rng.normal(0, 0.1, (len(CLASSES), 2, 8000)).astype(np.float32)
    for song in ("first", "second"):
        write_examples(folder, song, references, references.sum(axis=0), 0.9 * references, 16000)
    return folder
