"""The content of a finished stage's W&B run: tables, curves, confusion matrices and audio."""

from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from experiments.stages.recognition_outputs import SINGLE, RecognitionOutputs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelling import Relabelling
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.tracking.labels import compared_with, label_rows
from selfrefine.classes import CLASSES
from selfrefine.metrics.recognition import THRESHOLD_GRID, curves

PARTS = ("mixture", *CLASSES, *(f"{name}.reference" for name in CLASSES))
SOUND = (".wav", ".flac", ".ogg", ".mp3")
NONE = "none"


@singledispatch
def content_of(stage: Stage, store: Store, result: dict[str, Any]) -> dict[str, Any]:
    """W&B's objects for a stage's result, by name. Most kinds of stages have none."""
    return {}


@content_of.register
def _(stage: SeparationScore, store: Store, result: dict[str, Any]) -> dict[str, Any]:
    tracks = [
        [song, *(scores.get(name) for name in CLASSES)]
        for song, scores in result.get("tracks", {}).items()
    ]
    sdr = [*(result["sdr"][name] for name in CLASSES), result["average"]]
    return {
        "tables/sdr": table([*CLASSES, "avg"], [sdr]),
        "tables/tracks": table(["song", *CLASSES], tracks),
        **examples(store.finished(stage) / "examples"),
    }


@content_of.register
def _(stage: RecognitionOutputs, store: Store, result: dict[str, Any]) -> dict[str, Any]:
    tests = stage.tests(store)
    return {
        f"plots/precision_recall_{test}": precision_recall(truth, outputs)
        for test, (truth, outputs) in tests.items()
        if len(truth)
    }


@content_of.register
def _(stage: RecognitionScore, store: Store, result: dict[str, Any]) -> dict[str, Any]:
    tests = stage.outputs.tests(store)
    rows = [
        [test, measure, *(values[name] for name in (*CLASSES, "avg"))]
        for test in tests
        for measure, values in result.get(test, {}).items()
    ]
    found: dict[str, Any] = {
        "tables/recognition": table(["test", "measure", *CLASSES, "avg"], rows)
    }
    for test, (truth, outputs) in tests.items():
        if len(truth):
            found[f"plots/precision_recall_{test}"] = precision_recall(truth, outputs)
    truth, outputs = tests[SINGLE]
    pairs = pairs_of(truth, outputs >= np.array(stage.thresholds))
    return found | {"plots/confusion": confusion_plot(pairs, "single-labelled stems")}


@content_of.register
def _(stage: Relabelling, store: Store, result: dict[str, Any]) -> dict[str, Any]:
    rows = label_rows(stage, store)
    if not rows:
        return {}
    known = compared_with(rows)
    pairs = [(row[known], row["label"] or NONE) for row in rows]
    return {
        "tables/labels": table(list(rows[0]), [list(row.values()) for row in rows]),
        "plots/confusion": confusion_plot(pairs, f"{known} and refined label sets"),
    }


def table(columns: list[str], rows: list[list[Any]]) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def pairs_of(truth: np.ndarray, found: np.ndarray) -> list[tuple[str, str]]:
    """Pairs of each true class of an item with each class found in it, or with "none" if no class
    was found. `truth` and `found` are `(item, class)`."""
    pairs = []
    for true, said in zip(truth, found, strict=True):
        labels = [name for name, held in zip(CLASSES, said, strict=True) if held] or [NONE]
        actual = [name for name, held in zip(CLASSES, true, strict=True) if held]
        pairs += [(one, other) for one in actual for other in labels]
    return pairs


def confusion_plot(pairs: list[tuple[str, str]], title: str) -> Any:
    """W&B's confusion matrix of (actual, predicted) labels."""
    import wandb

    names = [*CLASSES, *sorted({name for pair in pairs for name in pair} - {*CLASSES})]
    rows = [[actual, said, pairs.count((actual, said))] for actual in names for said in names]
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=rows),
        fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        string_fields={"title": f"Confusion: {title}"},
    )


def precision_recall(truth: np.ndarray, outputs: np.ndarray) -> Any:
    """W&B's precision-recall curve: one line per class, one point per threshold. `truth` and
    `outputs` are `(item, class)`."""
    import wandb

    measured = curves(truth, outputs, THRESHOLD_GRID)
    rows = [
        [name, float(threshold), float(precision), float(recall)]
        for index, name in enumerate(CLASSES)
        for threshold, precision, recall in zip(
            THRESHOLD_GRID, measured.precision[:, index], measured.recall[:, index], strict=True
        )
    ]
    return wandb.plot_table(
        vega_spec_name="wandb/area-under-curve/v0",
        data_table=wandb.Table(columns=["class", "threshold", "precision", "recall"], data=rows),
        fields={"x": "recall", "y": "precision", "class": "class"},
        string_fields={
            "title": "Precision v. Recall",
            "x-axis-title": "Recall",
            "y-axis-title": "Precision",
        },
    )


def examples(folder: Path) -> dict[str, Any]:
    """The audio files of a folder, under names like "examples/1/mixture".

    Songs are numbered, so that a dashboard finds the same names for any songs. The result is empty
    if the folder does not exist.
    """
    import wandb

    paths = sorted(p for p in folder.glob("*") if p.suffix in SOUND) if folder.is_dir() else []
    songs = list(dict.fromkeys(song_and_part(path.stem)[0] for path in paths))
    found = {}
    for path in paths:
        song, part = song_and_part(path.stem)
        found[f"examples/{songs.index(song) + 1}/{part}"] = wandb.Audio(str(path), caption=song)
    return found


def song_and_part(stem: str) -> tuple[str, str]:
    """Splits "a song.bass.reference" into "a song" and "bass.reference"."""
    for part in PARTS:
        if stem.endswith(f".{part}"):
            return stem.removesuffix(f".{part}"), part
    return stem, "sound"
