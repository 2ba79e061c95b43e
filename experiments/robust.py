"""The table `robust`: what else mends label noise, beside the paper's method and ours.

Every row trains X-UMX. The methods are those that others use against wrong labels; each is
described, with its source, where it is computed.
"""

from dataclasses import replace

from experiments.method import (
    noisy,
    psi_refined,
    refined,
    score,
    started,
    that_stands,
    truly_labelled,
    uncorrupted,
)
from experiments.rows import Row, Table, measured_against
from experiments.stages.stem_set import StemSet
from selfrefine.settings import PAPER_XUMX, SeparatorSettings

LABELS: dict[str, StemSet] = {
    "noisy": noisy,
    "w/ Psi_refined": refined(psi_refined),
    "w/ Psi_started": that_stands(started(2)),
}
"""The labels that the methods begin with: as given, by the paper's way, by ours."""

REFERENCES: dict[str, StemSet] = {"true labels": truly_labelled, "uncorrupted": uncorrupted}

TRUNCATED: dict[str, tuple[float, ...]] = {
    "least .9 of losses": (0.9,),
    "least .7 of losses": (0.7,),
    "least .5 of losses": (0.5,),
    "least .7 .5 .3 of losses": (0.7, 0.5, 0.3),
}
"""Loss truncation at a quantile, and by the schedule of the winners of SDX'23."""


def with_truncation(shares: tuple[float, ...]) -> SeparatorSettings:
    return replace(PAPER_XUMX, kept_shares=shares)


def robust_row(
    method: str, labels: str, train: StemSet, separator: SeparatorSettings = PAPER_XUMX
) -> Row:
    """A row under the heads method and labels, as in "least-.7-of-losses-noisy"."""
    words = f"{method} {labels}".lower().replace("w/ psi_", "")
    name = "-".join(words.replace("–", "").split())
    return Row(name, (method, labels), score(separator, train), ours=True)


ROBUST = Table(
    "robust",
    "SDR (dB) of X-UMX by what is done against wrong labels",
    ("method", "labels"),
    measured_against(
        "noisy",
        *(robust_row("–", labels, train) for labels, train in (LABELS | REFERENCES).items()),
        *(
            robust_row(method, labels, train, with_truncation(shares))
            for labels, train in LABELS.items()
            for method, shares in TRUNCATED.items()
        ),
    ),
)
