"""A store with a finished stage of each kind that W&B shows something of, made without training.
Run as a program, this module tracks the stages as a worker does."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from experiments.profiles import PROFILES
from experiments.registry import rows_of
from experiments.stages.corrupted import Corrupted
from experiments.stages.probabilities import Probabilities
from experiments.stages.recognition_outputs import (
    MULTI,
    SINGLE,
    Output,
    RecognitionOutputs,
    write_outputs,
)
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import Stage, closure
from experiments.store import Store
from experiments.targets import resolved
from selfrefine.classes import CLASSES

MEASURES = ("accuracy", "f1", "precision", "recall")
SCORES = dict.fromkeys(CLASSES, 1.5)
RESULTS = {
    "SeparationScore": {"sdr": SCORES, "average": 1.5, "tracks": {"song one": SCORES}},
    "RecognitionScore": {
        "thresholds": [0.5] * 4,
        **{test: {name: {**SCORES, "avg": 0.5} for name in MEASURES} for test in (SINGLE, MULTI)},
    },
    "Corrupted": {"stems": len(CLASSES)},
    "Probabilities": {"stems": len(CLASSES)},
    "RecognitionOutputs": {"items": {SINGLE: 40, MULTI: 40}},
    "Relabelled": {"single": 2, "multi": 1, "dropped": 1},
}
STEPS = 25


def all_stages() -> list[Stage]:
    rows = [*rows_of("table2/x-umx-psi-noisy").values(), *rows_of("table1/noisy").values()]
    return closure([resolved(row, PROFILES["smoke"], "band") for row in rows])


def fill(root: Path) -> Store:
    """A store in which everything that the noisy rows of Tables 1 and 2 need is finished."""
    from selfrefine.clips.truth import StemTruth, write_truth
    from selfrefine.refining.probabilities import StemProbability, write_probabilities

    store = Store(root)
    rng = np.random.default_rng(0)
    for stage in all_stages():
        folder = store.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(stage, RecognitionOutputs):
            truth = rng.random((40, 4)) < 0.5
            outputs = [
                Output(test, str(i), tuple(held), tuple(rng.random(4).tolist()))
                for test in (SINGLE, MULTI)
                for i, held in enumerate(truth.tolist())
            ]
            write_outputs(folder, outputs)
        if isinstance(stage, Probabilities):
            stems = [
                StemProbability("a", name, (name,), 9.0, tuple(rng.random(4).tolist()))
                for name in CLASSES
            ]
            write_probabilities(folder / "probabilities.csv", stems)
        if isinstance(stage, Corrupted):
            shares = (1.0, 0.0, 0.0, 0.0)
            write_truth(folder / "truth.csv", [StemTruth("a", c, (), shares) for c in CLASSES])
        if isinstance(stage, SeparationScore):
            (folder / "examples").mkdir(exist_ok=True)
            for name in ("a song.mixture", "a song.vocals", "a song.vocals.reference"):
                sound = 0.1 * rng.standard_normal((16000, 2))
                soundfile.write(folder / "examples" / f"{name}.ogg", sound, 16000)
        if type(stage).__name__ in ("Classifier", "Separator"):
            (folder / "model.pt").write_bytes(b"weights" * 1000)
        store.finish(stage, RESULTS.get(type(stage).__name__, {"n": 1}), {"seconds": 1.0})
    return store


def report(step: int) -> Any:
    """A report like those of a training. It is not the real class, so that torch is not loaded."""
    return SimpleNamespace(
        step=step,
        steps=STEPS,
        loss=1 / step,
        learning_rate=1e-3,
        gradient_norm=0.5,
        seconds=0.1,
        data_seconds=0.02,
    )


def track(store: Store, stage: Stage, first: int = 1, stop: bool = False) -> None:
    """Tracks a stage as a worker does. With `stop`, as if it were killed after its steps."""
    from experiments.tracking.stage import start_tracking

    origin = {"commit": "abc", "device": "cpu"}
    groups = ["table2", "table2/row"]
    tracker = start_tracking(stage, groups, store.root, ["smoke", "band"], origin)
    if type(stage).__name__ in ("Classifier", "Separator"):
        for step in range(first, STEPS + 1):
            tracker.step(report(step))
    if not stop:
        tracker.finish(store.result(stage))


def main() -> None:
    """Tracks the stages of the kinds on the command line, or all. Prints each kind at its end."""
    store = Store(Path(sys.argv[1]))
    kinds = sys.argv[2:]
    for stage in all_stages():
        if not kinds or type(stage).__name__ in kinds:
            track(store, stage)
            print(type(stage).__name__, flush=True)


if __name__ == "__main__":
    main()
