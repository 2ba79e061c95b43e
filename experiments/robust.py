"""The table `robust`: what else mends label noise, beside the paper's method and ours.

Every row trains X-UMX. The methods are those that others use against wrong labels; each is
described, with its source, where it is computed.
"""

import re
from dataclasses import replace

from experiments.method import (
    judged_by,
    noisy,
    psi_noisy,
    psi_refined,
    refined,
    score,
    started,
    that_stands,
    truly_labelled,
    uncorrupted,
)
from experiments.printed import TABLE2_PAPER
from experiments.rows import Row, Table, measured_against
from experiments.stages.classifier import Classifier
from experiments.stages.confident import Confident
from experiments.stages.doubted import Doubted
from experiments.stages.drawn_by_confidence import DrawnByConfidence
from experiments.stages.fold import Fold
from experiments.stages.out_of_fold import OutOfFold
from experiments.stages.separator import Separator
from experiments.stages.separator_judgement import SeparatorJudgement
from experiments.stages.separator_labels import SeparatorFiltered, SeparatorLabelled
from experiments.stages.stem_set import StemSet
from experiments.stages.weighed import Weighed
from selfrefine.settings import PAPER_XUMX, SURE, SeparatorSettings

LABELS: dict[str, StemSet] = {
    "noisy": noisy,
    "w/ Psi_refined": refined(psi_refined),
    "w/ Psi_started": that_stands(started(2)),
}
"""The labels that the methods begin with: as given, by the paper's way, by ours."""

REFERENCES: dict[str, StemSet] = {"true labels": truly_labelled, "uncorrupted": uncorrupted}

RELATIVE = "least .7 of relative losses"
TRUNCATED: dict[str, SeparatorSettings] = {
    "least .9 of losses": replace(PAPER_XUMX, kept_shares=(0.9,)),
    "least .7 of losses": replace(PAPER_XUMX, kept_shares=(0.7,)),
    "least .5 of losses": replace(PAPER_XUMX, kept_shares=(0.5,)),
    "least .7 .5 .3 of losses": replace(PAPER_XUMX, kept_shares=(0.7, 0.5, 0.3)),
    RELATIVE: replace(PAPER_XUMX, kept_shares=(0.7,), kept_relative=True),
    "least .5 of relative losses": replace(PAPER_XUMX, kept_shares=(0.5,), kept_relative=True),
}
"""Loss truncation at a quantile, and by the schedule of the winners of SDX'23. Relative losses are
ours: X-UMX's squared error grows with an item's level."""


FOLDS = 4
DOUBTFUL = 0.8
"""A label set that is right with less confidence is doubtful. The value was not tuned."""


def judge_after(rounds: int, kind: type[SeparatorFiltered] | type[SeparatorLabelled]) -> StemSet:
    """The noisy stems by a separator's judgement: X-UMX learns from them as given, and once more
    from what it found in each round."""
    train: StemSet = noisy
    for _ in range(rounds):
        train = kind(SeparatorJudgement(noisy, Separator(train, PAPER_XUMX)))
    return train


def out_of_fold() -> OutOfFold:
    judged: OutOfFold | None = None
    for number in range(FOLDS):
        psi = Classifier(Fold(noisy, number, FOLDS))
        judged = OutOfFold(noisy, judged_by(psi), judged)
    assert judged is not None
    return judged


SEPARATOR_ROUNDS: dict[str, StemSet] = {
    "kept by a separator": judge_after(1, SeparatorFiltered),
    "kept by a separator, twice": judge_after(2, SeparatorFiltered),
    "labelled by a separator": judge_after(1, SeparatorLabelled),
    "labelled by a separator, twice": judge_after(2, SeparatorLabelled),
}

CONFIDENT: dict[str, StemSet] = {"confident learning": Confident(out_of_fold())}

LEFT_OUT = "doubtful left out"


def without_doubtful(labels: Weighed) -> Doubted:
    return Doubted(labels, DOUBTFUL, heard=False, compared=False)


DOUBTED: dict[str, StemSet] = {
    LEFT_OUT: without_doubtful(that_stands(started(2))),
    "doubtful without loss": Doubted(that_stands(started(2)), DOUBTFUL, heard=True, compared=False),
    "doubtful merged": Doubted(that_stands(started(2)), DOUBTFUL, heard=True, compared=True),
}

SOFT: dict[str, StemSet] = {"drawn by confidence": DrawnByConfidence(that_stands(started(2)))}


def weighed_by(psi: Classifier) -> Weighed:
    """The noisy stems under the labels of highest posterior by a classifier's outputs, given the
    label and the song's other stems; a given label stands where the other is not surer."""
    return Weighed(judged_by(psi), sure=SURE)


psi_weighed = Classifier(weighed_by(psi_noisy), single_labelled_only=True)
"""Psi_refined as we would train it: on the labels that Bayes' rule finds from Psi_noisy's
outputs, and not on those above a threshold."""

WEIGHED: dict[str, StemSet] = {
    "w/ Psi_noisy": weighed_by(psi_noisy),
    "w/ Psi_refined": weighed_by(psi_refined),
    "w/ Psi_weighed": weighed_by(psi_weighed),
}
"""Labels by Bayes' rule instead of thresholds, without a start from other songs."""


def robust_row(
    method: str, labels: str, train: StemSet, separator: SeparatorSettings = PAPER_XUMX
) -> Row:
    """A row under the heads method and labels, as in "least-.7-of-losses-noisy"."""
    words = re.sub("w/ psi_|[,']", "", f"{method} {labels}".lower())
    name = "-".join(words.replace("–", "").split())
    paper = TABLE2_PAPER.get(("X-UMX", labels), {}) if method == "–" else {}
    return Row(name, (method, labels), score(separator, train), paper, ours=True)


BEST = ("weighed", WEIGHED["w/ Psi_weighed"])
"""The best of these methods that starts from nothing but the noisy set: its name and labels."""

ROBUST = Table(
    "robust",
    "SDR (dB) of X-UMX by what is done against wrong labels",
    ("method", "labels"),
    measured_against(
        "noisy",
        *(robust_row("–", labels, train) for labels, train in (LABELS | REFERENCES).items()),
        *(
            robust_row(method, labels, train, separator)
            for labels, train in LABELS.items()
            for method, separator in TRUNCATED.items()
        ),
        *(robust_row("weighed by Bayes' rule", name, train) for name, train in WEIGHED.items()),
        *(robust_row(m, "noisy", train) for m, train in (SEPARATOR_ROUNDS | CONFIDENT).items()),
        *(robust_row(m, "w/ Psi_started", train) for m, train in (DOUBTED | SOFT).items()),
        robust_row(LEFT_OUT, "w/ Psi_weighed", without_doubtful(weighed_by(psi_weighed))),
        robust_row(
            f"{LEFT_OUT}, {RELATIVE}",
            "w/ Psi_started",
            without_doubtful(that_stands(started(2))),
            TRUNCATED[RELATIVE],
        ),
        robust_row(RELATIVE, "uncorrupted", uncorrupted, TRUNCATED[RELATIVE]),
    ),
)
