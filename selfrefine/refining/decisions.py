"""From what was found of each stem to the label set that stands: a change needs evidence."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.trimming import Key
from selfrefine.refining.evidence import Weighed, most_probable_sets, set_index
from selfrefine.refining.iterations import Iteration
from selfrefine.refining.probabilities import StemProbability

CHANCE = 0.1
"""The start is trusted where one that knew nothing would make as much sense as rarely as this."""
DEALS = 2000

SURENESS = (0.95, 0.9, 0.8, 0.6, 0.0)
"""Least confidence of the groups in which it is compared with how many are right."""

CALIBRATION = 3
"""The power of a posterior that is about the share of such label sets that are exactly right, on
songs of the band and real ones (docs/log.md)."""

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
    """By (song, name), of iterations whose labels were weighed. The first is the start itself,
    which must have been right often enough where it can be checked."""
    last = iterations[-1]
    assert last.weighed is not None
    return verdicts(last.rows, last.weighed, sure, why_not_trusted(iterations[0].rows))


def verdicts(
    rows: list[StemProbability], weighed: Weighed, sure: float, doubted: str = ""
) -> dict[Key, Verdict]:
    """By (song, name). A given label gives way where, of the two, what was found is right with the
    probability `sure` or more, and nothing is `doubted` for all."""
    found = most_probable_sets(rows, weighed)
    verdicts = {}
    for row, posterior in zip(rows, weighed.posterior, strict=True):
        proposed = found[row.song, row.name]
        best, given = posterior[set_index(proposed)], posterior[set_index(row.given)]
        reason = ""
        if proposed != row.given:
            reason = doubted or (NOT_SURE if best < sure * (best + given) else "")
        confidence = float(best**CALIBRATION)
        refined = row.given if reason else proposed
        verdicts[row.song, row.name] = Verdict(proposed, refined, confidence, reason)
    return verdicts


@dataclass(frozen=True)
class SureGroup:
    """Stems of which what was found is at least so sure (and not sure enough for the group before):
    how many, their mean confidence, and the share of them of which it is exactly right."""

    least: float
    stems: int
    confidence: float
    right: float


def reliability(found: dict[Key, Verdict], truth: Labels) -> list[SureGroup]:
    """The stems whose truth is known, the surest group first; no group is empty."""
    known = [(each, truth[key]) for key, each in found.items() if key in truth]
    groups = []
    for least, most in zip(SURENESS, (1.01, *SURENESS), strict=False):
        group = [pair for pair in known if least <= pair[0].confidence < most]
        if group:
            mean = sum(each.confidence for each, _ in group) / len(group)
            right = sum(set(each.proposed) == set(true) for each, true in group) / len(group)
            groups.append(SureGroup(least, len(group), mean, right))
    return groups


def why_not_trusted(rows: list[StemProbability]) -> str:
    """Why a classifier's judgement of stems that it never heard is no evidence, in words; empty
    where it is.

    Two things check it on stems that were given one class: it agrees with given labels, though
    with fewer where more are wrong; and it finds different classes in the stems of a song, whoever
    swapped them. What it found is dealt out to other stems at random: one that knows nothing does
    as well in these two together as often as not.
    """
    checked = [row for row in rows if len(row.given) == 1]
    if not checked:
        return "no stem was given one class, so nothing checks the classifier"
    given = np.array([CLASSES.index(row.given[0]) for row in checked])
    found = np.array([int(np.argmax(row.probability)) for row in checked])
    names = sorted({row.song for row in checked})
    songs = np.array([names.index(row.song) for row in checked])

    def sense(classes: np.ndarray) -> int:
        distinct = np.unique(songs * len(CLASSES) + classes)
        return int((classes == given).sum()) + len(distinct)

    rng = np.random.default_rng(0)
    dealt = np.array([sense(rng.permutation(found)) for _ in range(DEALS)])
    agreeing = int((found == given).sum())
    # Where all were given one class, or all are found to be one, dealing changes nothing.
    by_chance = (
        binom.sf(agreeing - 1, len(checked), 1 / len(CLASSES))
        if (dealt == dealt[0]).all()
        else (dealt >= sense(found)).mean()
    )
    if by_chance <= CHANCE:
        return ""
    return (
        f"too little to judge by: the classifier agrees with {agreeing} of "
        f"{len(checked)} given labels, no more than by chance"
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
