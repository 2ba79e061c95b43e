"""An objective against the threshold of each instrument, from stored outputs alone."""

import numpy as np
import pandas as pd

from experiments.stages import Stage
from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.metrics.recognition import THRESHOLD_GRID, curves
from sweeps.objectives import Score, truth_and_outputs

ROUNDS = 3


def objective_curves(
    score: Score, truth: np.ndarray, outputs: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """`(threshold, class)`: the objective where one class' threshold takes each value of the grid
    and the others keep theirs."""
    found = np.empty((len(THRESHOLD_GRID), len(CLASSES)))
    for index in range(len(CLASSES)):
        for step, value in enumerate(THRESHOLD_GRID):
            moved = thresholds.copy()
            moved[index] = value
            found[step, index] = score(truth, outputs, moved)
    return found


def climb(score: Score, stage: Stage, store: Store, thresholds: np.ndarray) -> np.ndarray:
    """The best threshold of one class after another, round after round: exact for an objective
    that is a sum over classes. The middle one of several."""
    truth, outputs = truth_and_outputs(stage, store)
    for _ in range(ROUNDS):
        before = thresholds.copy()
        for index in range(len(CLASSES)):
            values = objective_curves(score, truth, outputs, thresholds)[:, index]
            best = np.flatnonzero(np.isclose(values, values.max()))
            thresholds[index] = THRESHOLD_GRID[best[len(best) // 2]]
        if (thresholds == before).all():
            break
    return thresholds


def threshold_frame(
    score: Score, stage: Stage, store: Store, thresholds: np.ndarray
) -> pd.DataFrame:
    """A line per class and threshold: precision, recall and F1 of the class, and the objective
    with the other classes at `thresholds`."""
    truth, outputs = truth_and_outputs(stage, store)
    measured = curves(truth, outputs, THRESHOLD_GRID)
    objective = objective_curves(score, truth, outputs, thresholds)
    return pd.DataFrame(
        [
            {
                "class": name,
                "threshold": threshold,
                "precision": measured.precision[step, index],
                "recall": measured.recall[step, index],
                "f1": measured.f1[step, index],
                "objective": objective[step, index],
            }
            for index, name in enumerate(CLASSES)
            for step, threshold in enumerate(THRESHOLD_GRID)
        ]
    )
