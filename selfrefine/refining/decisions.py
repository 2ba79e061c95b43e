"""Deciding which label set of a stem stands: the proposed one, or, where there is too little
evidence for it, the given one."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from selfrefine.classes import CLASSES, Labels, LabelSet
from selfrefine.clips.trimming import Key
from selfrefine.refining.evidence import Posteriors, most_probable_sets, set_index, weigh
from selfrefine.refining.iterations import Iteration
from selfrefine.refining.probabilities import StemProbability

CHANCE = 0.1
"""A start is trusted where a random classifier would do as well with at most this probability."""
PERMUTATIONS = 2000
"""How many random permutations of a start's findings stand for a random classifier."""

SURENESS = (0.95, 0.9, 0.8, 0.6, 0.0)
"""The least confidence in each group of stems whose confidence is compared with their accuracy."""

CALIBRATION = 3
"""The confidence in a label set is its posterior to this power. That is about the share of such
label sets that are exactly right, on songs of the band and on real songs (docs/log.md)."""

NOT_SURE = "not sure enough to change the given label"
MOST_PROBABLE = "no class passes the threshold: the most probable one"


@dataclass(frozen=True)
class Verdict:
    """The decision about a stem. `proposed` is the label set that was found; it is exactly right
    with the probability `confidence`. `refined` is the label set that stands. `reason` says why
    that is not `proposed`, or that `proposed` is the most probable class alone; in that case
    `most_probable` is true."""

    proposed: LabelSet
    refined: LabelSet
    confidence: float
    reason: str = ""
    most_probable: bool = False


def weighed_verdicts(iterations: list[Iteration], sure: float) -> dict[Key, Verdict]:
    """The verdicts by (song, name), from iterations whose labels were weighed. The first iteration
    is the start's own judgement. Where it is not trusted, no given label changes."""
    last = iterations[-1]
    assert last.weighing is not None
    posteriors = weigh(last.rows, last.weighing)
    return verdicts(last.rows, posteriors, sure, why_not_trusted(iterations[0].rows))


def verdicts(
    rows: list[StemProbability], posteriors: Posteriors, sure: float, doubted: str = ""
) -> dict[Key, Verdict]:
    """The verdicts by (song, name). The proposed label set replaces the given one where it has the
    share `sure` or more of the sum of their two posteriors. Where `doubted` says why the classifier
    is not trusted, all given labels stand."""
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
    """A group of stems whose confidence is `least` or more, and below that of the group before:
    how many they are, their mean confidence, and the share of them whose proposed label set is
    exactly `right`."""

    least: float
    stems: int
    confidence: float
    right: float


def reliability(found: dict[Key, Verdict], truth: Labels) -> list[SureGroup]:
    """The groups of the stems whose truth is known, the surest first. Empty groups are left out."""
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
    """Says why a classifier's judgement of stems that it was not trained on is no evidence. Empty
    where it is evidence.

    Two counts over the stems that were given one class check the classifier. The first is how many
    given labels it agrees with; wrong given labels lower it. The second is how many different
    classes it finds in the stems of each song; swapped labels do not lower it. The sum of both is
    compared with that of random permutations of the findings, which is what a classifier that knows
    nothing would reach.
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
    # Where all stems have the same given class, or the same found class, permuting changes nothing.
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
    """The verdicts by (song, name), from iterations whose labels were decided at a threshold. The
    proposed label set always stands, as in the paper."""
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
    """The probability that a stem holds exactly the classes of `label`, if the outputs are the
    probabilities of independent events."""
    value = 1.0
    for name, p in zip(CLASSES, probability, strict=True):
        value *= p if name in label else 1 - p
    return value
