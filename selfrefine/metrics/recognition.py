"""Metrics of instrument recognition against known labels: the numbers of the paper's Tables 1 and
4, the curves of its Figure 4, and the thresholds of the highest F1.

`truth` is bool and `outputs` float between 0 and 1, both `(item, class)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLD_GRID = np.arange(1, 100) / 100


@dataclass(frozen=True)
class Recognition:
    """Metrics per class, each `(class,)`. A ratio of 0 to 0 is 0, as in scikit-learn by default."""

    accuracy: np.ndarray
    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def recognition(
    truth: np.ndarray,
    outputs: np.ndarray,
    thresholds: np.ndarray,
    weights: np.ndarray | None = None,
) -> Recognition:
    """The metrics at one threshold per class, `(class,)`. An output equal to it counts as found.

    `weights` `(resample, item)` says how often each resample of a bootstrap drew each item. With
    it, the metrics are `(resample, class)`.
    """
    found = outputs >= thresholds
    counts = np.ones((1, len(truth))) if weights is None else weights
    hits = counts @ (truth & found)
    said = counts @ found
    held = counts @ truth
    right = counts @ (truth == found)
    values = (
        ratio(right, counts.sum(axis=1, keepdims=True)),
        ratio(2 * hits, said + held),
        ratio(hits, said),
        ratio(hits, held),
    )
    return Recognition(*(value[0] if weights is None else value for value in values))


def curves(truth: np.ndarray, outputs: np.ndarray, thresholds: np.ndarray) -> Recognition:
    """The metrics at each of `thresholds` `(threshold,)`, the same for all classes. Each metric is
    `(threshold, class)`."""
    points = [
        recognition(truth, outputs, np.full(truth.shape[1], threshold)) for threshold in thresholds
    ]
    return Recognition(
        np.array([point.accuracy for point in points]),
        np.array([point.f1 for point in points]),
        np.array([point.precision for point in points]),
        np.array([point.recall for point in points]),
    )


def best_thresholds(tests: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The threshold of the highest F1 for each class, `(class,)`, among .01, .02 … .99.

    F1 is averaged over `tests`, which are pairs of truth and outputs. Where several thresholds
    reach the highest, it is the middle one of them.
    """
    f1 = np.mean([curves(truth, outputs, THRESHOLD_GRID).f1 for truth, outputs in tests], axis=0)
    best = np.isclose(f1, f1.max(axis=0))
    chosen = [THRESHOLD_GRID[column] for column in best.T]
    return np.array([candidates[len(candidates) // 2] for candidates in chosen])


def unsure_share(outputs: np.ndarray) -> float:
    """The share of outputs within [0.1, 0.9]; 8% in the paper (section 5.2.2)."""
    return float(((outputs >= 0.1) & (outputs <= 0.9)).mean()) if outputs.size else 0.0


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
