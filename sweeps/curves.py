"""Computes an objective against the threshold of each class, from stored outputs alone."""

import numpy as np
import pandas as pd

from experiments.stages.stage import Stage
from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.metrics.recognition import THRESHOLD_GRID, curves
from sweeps.objectives import Pairs, Score, judged_tests, mean_score

ROUNDS = 3


def objective_curves(score: Score, tests: Pairs, thresholds: np.ndarray) -> np.ndarray:
    """The objective `(threshold, class)` when one class' threshold takes each value of the grid and
    the other classes keep theirs."""
    found = np.empty((len(THRESHOLD_GRID), len(CLASSES)))
    for index in range(len(CLASSES)):
        for step, value in enumerate(THRESHOLD_GRID):
            moved = thresholds.copy()
            moved[index] = value
            found[step, index] = mean_score(score, tests, moved)
    return found


def climb(score: Score, stage: Stage, store: Store, thresholds: np.ndarray) -> np.ndarray:
    """Optimises the threshold of one class after another, in up to `ROUNDS` rounds.

    This is exact for an objective that is a sum over classes. Of several best thresholds the middle
    one is taken. `thresholds` `(class,)` is changed in place and returned.
    """
    tests = judged_tests(stage, store)
    for _ in range(ROUNDS):
        before = thresholds.copy()
        for index in range(len(CLASSES)):
            values = objective_curves(score, tests, thresholds)[:, index]
            best = np.flatnonzero(np.isclose(values, values.max()))
            thresholds[index] = THRESHOLD_GRID[best[len(best) // 2]]
        if (thresholds == before).all():
            break
    return thresholds


def threshold_frame(
    score: Score, stage: Stage, store: Store, thresholds: np.ndarray
) -> pd.DataFrame:
    """One line per class and threshold: the class' precision, recall and F1, averaged over the
    tests, and the objective with the other classes at `thresholds` `(class,)`."""
    tests = judged_tests(stage, store)
    measured = [curves(truth, outputs, THRESHOLD_GRID) for truth, outputs in tests]
    precision, recall, f1 = (
        np.mean([getattr(each, name) for each in measured], axis=0)
        for name in ("precision", "recall", "f1")
    )
    objective = objective_curves(score, tests, thresholds)
    return pd.DataFrame(
        [
            {
                "class": name,
                "threshold": threshold,
                "precision": precision[step, index],
                "recall": recall[step, index],
                "f1": f1[step, index],
                "objective": objective[step, index],
            }
            for index, name in enumerate(CLASSES)
            for step, threshold in enumerate(THRESHOLD_GRID)
        ]
    )
