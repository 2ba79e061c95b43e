"""A store in which everything that a study of thresholds needs is finished, with given outputs."""

from itertools import compress
from pathlib import Path

import numpy as np

from experiments.stages.recognition_outputs import MULTI, Output, write_outputs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import Relabelled
from experiments.stages.stage import closure
from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.clips.truth import StemTruth, write_truth
from selfrefine.refining.probabilities import StemProbability, write_probabilities
from sweeps.studies import Bound


def fill_store(root: Path, study: Bound, truth: np.ndarray, outputs: np.ndarray) -> Store:
    """Makes the store of a study. `truth` (bool) and `outputs` are `(item, class)`."""
    store = Store(root / "runs")
    stage = study.stage({})
    for needed in closure([stage])[:-1]:
        store.folder(needed).mkdir(parents=True, exist_ok=True)
    if isinstance(stage, RecognitionScore):
        rows = [
            Output(MULTI, str(number), tuple(held), tuple(values))
            for number, (held, values) in enumerate(
                zip(truth.tolist(), outputs.tolist(), strict=True)
            )
        ]
        write_outputs(store.folder(stage.outputs), rows)
    if isinstance(stage, Relabelled):
        stems = [(f"song{number}", "drums") for number in range(len(truth))]
        write_probabilities(
            store.folder(stage.probabilities) / "probabilities.csv",
            [
                StemProbability(song, name, (name,), 1.0, tuple(values))
                for (song, name), values in zip(stems, outputs.tolist(), strict=True)
            ],
        )
        write_truth(
            store.folder(stage.probabilities.stems.songs) / "truth.csv",
            [
                StemTruth(song, name, tuple((each, each, 1.0) for each in held), shares)
                for (song, name), held, shares in (
                    (stem, tuple(compress(CLASSES, row)), tuple(float(value) for value in row))
                    for stem, row in zip(stems, truth.tolist(), strict=True)
                )
            ],
        )
    for needed in closure([stage])[:-1]:
        store.finish(needed, {"stems": len(truth)}, {"seconds": 1.0})
    return store
