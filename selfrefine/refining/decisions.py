"""From what was found of each stem to the label set that stands: a change needs evidence."""

from dataclasses import dataclass

from scipy.stats import binom

from selfrefine.classes import CLASSES
from selfrefine.data.trimming import Key
from selfrefine.refine import StemProbability
from selfrefine.refining.evidence import set_index
from selfrefine.self_refining import Iteration

CHANCE = 0.05
"""The start is trusted where one that knew nothing would agree with as many given labels as rarely
as this."""

NOT_SURE = "not sure enough to change the given label"
MOST_PROBABLE = "no class passes the threshold: the most probable one"


@dataclass(frozen=True)
class Verdict:
    """`proposed` is what was found, exactly right with the probability `confidence`; `refined`
    stands, and `reason` says why where it is not `proposed`. `most_probable` is true where no class
    passes the threshold."""

    proposed: tuple[str, ...]
    refined: tuple[str, ...]
    confidence: float
    reason: str = ""
    most_probable: bool = False


def weighed_verdicts(iterations: list[Iteration], sure: float) -> dict[Key, Verdict]:
    """By (song, name), of iterations whose labels were weighed, the first by the start itself. A
    given label gives way to what was found with the probability `sure` or more."""
    last = iterations[-1]
    assert last.weighed is not None
    doubted = why_not_trusted(iterations[0].rows)
    verdicts = {}
    for row, posterior in zip(last.rows, last.weighed.posterior, strict=True):
        key = (row.song, row.name)
        proposed = last.labels[key]
        confidence = float(posterior[set_index(proposed)])
        reason = ""
        if proposed != row.given:
            reason = doubted or (NOT_SURE if confidence < sure else "")
        verdicts[key] = Verdict(proposed, row.given if reason else proposed, confidence, reason)
    return verdicts


def why_not_trusted(rows: list[StemProbability]) -> str:
    """Why a classifier's judgement of stems that it never heard is no evidence, in words; empty
    where it is.

    Stems that were given one class check it: wrong labels make it agree with fewer of them, but a
    classifier that knows nothing agrees with about as many as its guesses and the given labels
    share by chance.
    """
    pairs = [
        (row.given[0], CLASSES[max(range(len(CLASSES)), key=row.probability.__getitem__)])
        for row in rows
        if len(row.given) == 1
    ]
    if not pairs:
        return "no stem was given one class, so nothing checks the classifier"
    count = len(pairs)
    agreeing = sum(given == found for given, found in pairs)
    by_chance = sum(
        sum(given == name for given, _ in pairs) * sum(found == name for _, found in pairs)
        for name in CLASSES
    )
    if binom.sf(agreeing - 1, count, by_chance / count**2) <= CHANCE:
        return ""
    return (
        f"too little to judge by: the classifier agrees with {agreeing} of {count} given labels, "
        "no more than by chance"
    )


def thresholded_verdicts(iterations: list[Iteration], threshold: float) -> dict[Key, Verdict]:
    """By (song, name), of iterations whose labels were cut at a threshold: what was found stands,
    as in the paper."""
    verdicts = {}
    for row in iterations[-1].rows:
        label = iterations[-1].labels[row.song, row.name]
        fallen_back = bool(label) and max(row.probability) < threshold
        verdicts[row.song, row.name] = Verdict(
            label,
            label,
            exactness(row.probability, label),
            MOST_PROBABLE if fallen_back else "",
            fallen_back,
        )
    return verdicts


def exactness(probability: tuple[float, ...], label: tuple[str, ...]) -> float:
    """The probability of exactly these classes, if the outputs were probabilities of independent
    events."""
    value = 1.0
    for name, p in zip(CLASSES, probability, strict=True):
        value *= p if name in label else 1 - p
    return value
