"""Posteriors of a stem's label sets, from a classifier's outputs and the given label.

Every label set of a stem gets a posterior probability by Bayes' rule. Its likelihood comes from the
classifier's outputs; they are tempered, because neighbouring windows are not independent. Its prior
comes from the given label and from the share of wrong labels in the collection. That share is
estimated together with the posteriors by expectation-maximisation, as annotators' errors are in
Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm",
1979. The stems of a song are weighed together: it is unlikely that two stems hold the same class
alone, or that no stem holds a class that was given.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from selfrefine.classes import CLASSES, Labels, LabelSet
from selfrefine.refining.probabilities import StemProbability

HELD = np.array([row for row in product((0, 1), repeat=len(CLASSES)) if any(row)])
"""Every label set but the empty one, `(set, class)`: 1 where it has the class."""

MOST_STEMS_TOGETHER = 4
"""Songs of more stems are weighed stem by stem: they have too many combinations of label sets."""

EM_STEPS = 8
"""After so many steps the share of wrong labels changes by less than a hundredth."""

LEAST = 0.003
"""Outputs are clipped to this distance from 0 and from 1."""

KEPT, OTHER_CLASS, ONE_MORE, ELSE = range(4)
"""How a label set differs from the given one: not at all; it is one other class alone; it has the
given classes and one more; it differs in any other way."""


@dataclass(frozen=True)
class Weighing:
    """How much outputs and prior expectations count.

    `temper` multiplies the outputs' logits: below 1, they count less. `noise` is the share of wrong
    labels that is expected before a collection is seen, and counts as `noise_stems` stems. `kinds`
    are the expected shares of `OTHER_CLASS`, `ONE_MORE` and `ELSE` among wrong labels, and count as
    `kinds_stems` wrong stems. `twice` is the odds that a second stem of a song holds the same class
    alone. `missing` is the odds that no stem holds a class that was given. With both at 1, the
    stems of a song are weighed one by one.
    """

    temper: float
    noise: float = 0.2
    noise_stems: float = 5.0
    kinds: tuple[float, float, float] = (0.5, 0.35, 0.15)
    kinds_stems: float = 8.0
    twice: float = 0.1
    missing: float = 0.2


UNSEEN = Weighing(temper=0.7)
"""For the outputs of a classifier that was trained on other songs only."""

TRAINED_ON = Weighing(temper=0.85)
"""For the mean of the outputs of such a classifier and of its further trainings on these stems.
These outputs are nearer to probabilities."""


def weighing_of(trained_on: bool, together: bool = True) -> Weighing:
    """The weighing for the outputs of a start alone, or with `trained_on` for the mean of its
    outputs and those of its further trainings. The stems of a song are weighed `together` or one by
    one."""
    weighing = TRAINED_ON if trained_on else UNSEEN
    return weighing if together else replace(weighing, twice=1.0, missing=1.0)


@dataclass(frozen=True)
class Posteriors:
    """`posterior` `(stem, set)` is the probability of every label set, with stems in the order in
    which they were weighed and sets in that of `HELD`. `noise` is the estimated share of wrong
    given labels."""

    posterior: np.ndarray
    noise: float


def weigh(stems: list[StemProbability], weighing: Weighing) -> Posteriors:
    """The posteriors of all stems of a collection."""
    likelihood = log_likelihood(np.array([stem.probability for stem in stems]), weighing.temper)
    given = np.array([set_index(stem.given) for stem in stems])
    songs = stems_of_songs(stems)
    # Songs with the same given labels share an array of odds, which takes up to half a megabyte.
    odds: dict[tuple[int, ...], np.ndarray] = {}
    together = {}
    for song, places in songs.items():
        if 2 <= len(places) <= MOST_STEMS_TOGETHER:
            labels = tuple(given[places].tolist())
            if labels not in odds:
                odds[labels] = song_odds(HELD[given[places]], weighing)
            together[song] = odds[labels]
    noise, kinds = weighing.noise, np.array(weighing.kinds)
    posterior = np.zeros_like(likelihood)
    for _ in range(EM_STEPS):
        of_kind = np.array([1 - noise, *(noise * kinds)])
        prior = of_kind[KIND] / KIND_COUNT
        log_odds = likelihood + np.log(prior[given])
        for song, places in songs.items():
            if song in together:
                posterior[places] = marginals(log_odds[places], together[song])
            else:
                posterior[places] = normalised(log_odds[places])
        shares = np.stack(
            [(posterior * (KIND[given] == kind)).sum() for kind in (OTHER_CLASS, ONE_MORE, ELSE)]
        )
        noise = float(shares.sum() + weighing.noise * weighing.noise_stems) / (
            len(stems) + weighing.noise_stems
        )
        kinds = (shares + weighing.kinds_stems * np.array(weighing.kinds)) / (
            shares.sum() + weighing.kinds_stems
        )
    return Posteriors(posterior, noise)


def log_likelihood(outputs: np.ndarray, temper: float) -> np.ndarray:
    """The log likelihood of every label set, `(stem, set)`, from outputs `(stem, class)` between 0
    and 1. Outputs are clipped, their logits are tempered, and classes count as independent."""
    outputs = outputs.clip(LEAST, 1 - LEAST)
    logits = temper * np.log(outputs / (1 - outputs))
    present, absent = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
    return present @ HELD.T + absent @ (1 - HELD.T)


def stems_of_songs(stems: list[StemProbability]) -> dict[str, list[int]]:
    songs: dict[str, list[int]] = {}
    for place, stem in enumerate(stems):
        songs.setdefault(stem.song, []).append(place)
    return songs


def song_odds(given: np.ndarray, weighing: Weighing) -> np.ndarray:
    """The log odds of every combination of label sets of a song's stems, one axis per stem, by how
    likely the sets occur together. `given` are the given labels, `(stem, class)`."""
    count = len(given)
    alone = HELD * (HELD.sum(axis=1) == 1)[:, None]
    holders = sum(along(HELD, stem, count) for stem in range(count))
    holders_alone = sum(along(alone, stem, count) for stem in range(count))
    twice = np.maximum(holders_alone - 1, 0).sum(axis=-1)
    missing = ((holders == 0) & given.any(axis=0)).sum(axis=-1)
    return np.log(weighing.twice) * twice + np.log(weighing.missing) * missing


def along(values: np.ndarray, stem: int, count: int) -> np.ndarray:
    """`values` `(set, …)` along the axis of one of `count` stems; the other axes have length 1."""
    others = [1] * count
    others[stem] = len(values)
    return values.reshape(*others, *values.shape[1:])


def marginals(log_odds: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Each stem's posterior, `(stem, set)`, summed over all combinations of label sets of the
    song's other stems."""
    count = len(log_odds)
    total = together + sum(along(log_odds[stem], stem, count) for stem in range(count))
    weights = np.exp(total - total.max())
    weights /= weights.sum()
    return np.stack(
        [
            weights.sum(axis=tuple(other for other in range(count) if other != stem))
            for stem in range(count)
        ]
    )


def normalised(log_odds: np.ndarray) -> np.ndarray:
    weights = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def set_index(label: LabelSet) -> int:
    """The row of a label set in `HELD`."""
    held = np.array([name in label for name in CLASSES])
    return int(np.flatnonzero((held == HELD).all(axis=1))[0])


def set_at(index: int) -> LabelSet:
    return tuple(name for name, held in zip(CLASSES, HELD[index], strict=True) if held)


def kinds_of_change() -> np.ndarray:
    """How the second label set differs from the first, which is the given one: `(set, set)`."""
    given, found = HELD[:, None], HELD[None]
    kinds = np.full((len(HELD), len(HELD)), ELSE)
    one_more = (found >= given).all(axis=2) & (found.sum(axis=2) == given.sum(axis=2) + 1)
    kinds[one_more] = ONE_MORE
    kinds[np.broadcast_to(found.sum(axis=2) == 1, kinds.shape)] = OTHER_CLASS
    np.fill_diagonal(kinds, KEPT)
    return kinds


KIND = kinds_of_change()
KIND_COUNT = np.array([[(row == kind).sum() for kind in row] for row in KIND])
"""How many label sets differ from the first one in the way the second does, `(set, set)`."""


def most_probable_sets(stems: list[StemProbability], posteriors: Posteriors) -> Labels:
    """The label set of the highest posterior by (song, name)."""
    best = posteriors.posterior.argmax(axis=1)
    return {
        (stem.song, stem.name): set_at(index)
        for stem, index in zip(stems, best.tolist(), strict=True)
    }
