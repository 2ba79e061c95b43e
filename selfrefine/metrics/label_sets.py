"""The accuracy of label sets against known true ones."""

from collections import Counter
from dataclasses import dataclass

from selfrefine.classes import Labels, label_words


@dataclass(frozen=True)
class LabelAccuracy:
    """How accurate label sets are. `exact` is the share of stems whose label set is the true one.
    F1, precision and recall are over all (stem, class) pairs. `kept` is the share of stems with a
    label. A dropped stem counts as wrong, unless it holds no class."""

    exact: float
    f1: float
    precision: float
    recall: float
    kept: float


def label_accuracy(labels: Labels, truth: Labels) -> LabelAccuracy:
    """Compares the label sets of the stems that `labels` names with the truth."""
    pairs = [(set(labels[key]), set(truth[key])) for key in labels]
    if not pairs:
        return LabelAccuracy(0.0, 0.0, 0.0, 0.0, 0.0)
    hits = sum(len(label & true) for label, true in pairs)
    said = sum(len(label) for label, _ in pairs)
    held = sum(len(true) for _, true in pairs)
    return LabelAccuracy(
        exact=sum(label == true for label, true in pairs) / len(pairs),
        f1=2 * hits / (said + held) if said + held else 0.0,
        precision=hits / said if said else 0.0,
        recall=hits / held if held else 0.0,
        kept=sum(bool(label) for label, _ in pairs) / len(pairs),
    )


def confusion(labels: Labels, truth: Labels) -> dict[str, dict[str, int]]:
    """Counts of stems by true label set (outer) and label set (inner), both as text like
    "bass+drums"; "" is the empty one."""
    counts: dict[str, Counter[str]] = {}
    for key, label in labels.items():
        counts.setdefault(label_words(truth[key]), Counter())[label_words(label)] += 1
    return {true: dict(found) for true, found in counts.items()}
