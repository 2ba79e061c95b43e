"""Confident learning: which given labels are wrong, from probabilities of classifiers that did not
learn from them."""

import numpy as np

from selfrefine.classes import CLASSES, Labels
from selfrefine.optional import from_extra
from selfrefine.refining.probabilities import StemProbability


def kept_by_confident_learning(rows: list[StemProbability]) -> Labels:
    """The given label of each stem that is not called wrong, and none for the rest.

    The probabilities are those of classifiers that did not learn from the stem. They are divided by
    their sum, since the given labels are one class each. Wrong labels are pruned by noise rate
    (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
    JAIR 2021), by the authors' package cleanlab. Raises InputError where the
    package is missing.
    """
    with from_extra("robust", "confident learning"):
        from cleanlab.filter import find_label_issues
    outputs = np.array([row.probability for row in rows])
    outputs = np.clip(outputs, 1e-6, None)
    given = np.array([CLASSES.index(row.given[0]) for row in rows])
    wrong = find_label_issues(
        given,
        outputs / outputs.sum(axis=1, keepdims=True),
        filter_by="prune_by_noise_rate",
        n_jobs=1,  # cleanlab's own processes fail where they do not fork
    )
    return {
        (row.song, row.name): () if bad else row.given for row, bad in zip(rows, wrong, strict=True)
    }
