"""Which label set of a stem stands: the proposed one, or the given one where evidence lacks."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from selfrefine.classes import CLASSES, Labels, LabelSet
from selfrefine.clips.trimming import Key
from selfrefine.refining.evidence import Posteriors, most_probable_sets, set_index, weigh
from selfrefine.refining.iterations import Iteration
from selfrefine.refining.probabilities import StemProbability

CHANCE = 0.1
"""A start is trusted where a random classifier agrees as well with at most this probability."""
PERMUTATIONS = 2000
"""How many random permutations of what a start found stand for a random classifier."""

SURENESS = (0.95, 0.9, 0.8, 0.6, 0.0)
"""Least confidence of the groups of stems whose confidence is compared with their accuracy."""

CALIBRATION = 3
"""A posterior to this power is about the share of such label sets that are exactly right, on songs
of the band and on real ones (docs/log.md)."""

NOT_SURE = "not sure enough to change the given label"
MOST_PROBABLE = "no class passes the threshold: the most probable one"


@dataclass(frozen=True)
class Verdict:
    """`proposed` is the label set found; it is exactly right with the probability `confidence`.
    `refined` is the one that stands. `reason` says why that is not `proposed`, or that `proposed`
    is the most probable class alone; then `most_probable` is true."""

    proposed: LabelSet
    refined: LabelSet
    confidence: float
    reason: str = ""
    most_probable: bool = False


def weighed_verdicts(iterations: list[Iteration], sure: float) -> dict[Key, Verdict]:
    """By (song, name), of iterations whose labels were weighed. The first is the start's own: no
    given label changes where that one is not trusted."""
    last = iterations[-1]
    assert last.weighing is not None
    posteriors = weigh(last.rows, last.weighing)
    return verdicts(last.rows, posteriors, sure, why_not_trusted(iterations[0].rows))


def verdicts(
    rows: list[StemProbability], posteriors: Posteriors, sure: float, doubted: str = ""
) -> dict[Key, Verdict]:
    """By (song, name). The proposed label set replaces the given one where, of the two, it is right
    with the probability `sure` or more. Where `doubted` says why the classifier is not trusted, all
    given labels stand."""
    found = most_probable_sets(rows, posteriors)
    verdicts = {}
    for row, posterior in zip(rows, posteriors.posterior, strict=True):
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
    """Stems whose proposed label set has the confidence `least` or more, and less than the group
    before: how many they are, their mean confidence, and the share whose proposed label set is
    exactly right."""

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
    """Why a classifier's judgement of stems that it has never heard is no evidence, in words; empty
    where it is evidence.

    Two counts over the stems that were given one class check it. It agrees with given labels; the
    more of these are wrong, the less. It finds different classes in the stems of one song; swapped
    labels do not lower this count. The sum of both is compared with that of random permutations of
    what it found, which is what a classifier that knows nothing would reach.
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
    permuted = np.array([sense(rng.permutation(found)) for _ in range(PERMUTATIONS)])
    agreeing = int((found == given).sum())
    # Where all were given one class, or all are found to be one, permuting changes nothing.
    by_chance = (
        binom.sf(agreeing - 1, len(checked), 1 / len(CLASSES))
        if (permuted == permuted[0]).all()
        else (permuted >= sense(found)).mean()
    )
    if by_chance <= CHANCE:
        return ""
    return (
        f"too little to judge by: the classifier agrees with {agreeing} of "
        f"{len(checked)} given labels, no more than by chance"
    )


def thresholded_verdicts(iterations: list[Iteration], threshold: float) -> dict[Key, Verdict]:
    """By (song, name), of iterations whose labels were decided at a threshold: the proposed label
    set stands, as in the paper."""
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


def exactness(probability: tuple[float, ...], label: LabelSet) -> float:
    """The probability of exactly these classes, with the outputs as probabilities of independent
    events."""
    value = 1.0
    for name, p in zip(CLASSES, probability, strict=True):
        value *= p if name in label else 1 - p
    return value
