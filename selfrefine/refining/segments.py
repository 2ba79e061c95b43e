"""Stretches of a stem that hold the same classes, from its windows' probabilities.

They are found by a hidden Markov model over label sets, in steps of a quarter second of the stem
without its silence. The label set of the whole stem is the likeliest state, and leaving it is
penalised. The emission means are estimated in the stem itself. A class whose probability is high
now and then throughout a stem therefore changes no label set; a class that is sure for some seconds
and absent elsewhere does.
"""

from dataclasses import dataclass
from itertools import compress, pairwise, product

import numpy as np

from selfrefine.classes import CLASSES, LabelSet
from selfrefine.clips.trimming import TrimmedStem


@dataclass(frozen=True)
class Segment:
    """A stretch of a stem that holds the classes of `label`, from `start` to `end`, in s of the
    stem's file. `confidence` is the probability that it holds exactly these classes."""

    start: float
    end: float
    label: LabelSet
    confidence: float


STEP_SECONDS = 0.25
WHOLE_SECONDS, OTHER_SECONDS = 40.0, 5.0
"""Mean duration in s of the whole stem's label set, and of any other."""

TO_ANOTHER = 0.1
"""The probability that a label set other than the whole stem's is followed by another such one.
This is given that it ends."""

FURTHER_CLASS = 0.02
"""The factor on a change's probability for each further class that changes at the same moment."""

SOUNDING, ABSENT = 0.93, 0.05
"""Prior means of the probability of a class that sounds, and of one that does not."""

BELIEF_SECONDS = 4.0
"""How many seconds of a stem these two priors count as."""

SUREST = 0.98
"""Upper bound on mean probabilities; the lower bound is 1 minus it."""

EVIDENCE_PER_SECOND = 0.93
"""How many independent windows a second counts as. In fact 1.3 windows of 3 s begin within a
second, but they overlap."""

SHORTEST_SECONDS = 1.5
"""Shorter runs are given to their neighbours. This is half a window."""

PLACING_SECONDS = 1.0
"""How far a change is moved at most, in s, to where the evidence for it is best."""

ROUNDS = 3
"""How often the emission means are estimated."""

SHORT_SILENCE = 1.0
"""A segment continues over removed silence shorter than this, in s, and ends at a longer one."""

SNAP_SECONDS = 0.5
"""A change this near to a longer silence, in s of sound, is moved to it."""


def find_segments(
    windows: np.ndarray, centres: np.ndarray, stem: TrimmedStem, whole: LabelSet
) -> tuple[Segment, ...]:
    """The segments of a stem, in order, from its windows' probabilities `(window, class)`, their
    centres `(window,)` in s of the trimmed stem, and the label set of the whole stem.

    They cover all sound that silence removal kept. A segment's label set is empty only where that
    of the whole stem is.
    """
    spans = kept_spans(stem)
    seconds = float(spans[-1, 1])
    steps = max(1, round(seconds / STEP_SECONDS))
    times = (np.arange(steps) + 0.5) * (seconds / steps)
    probability = np.stack([np.interp(times, centres, of_class) for of_class in windows.T], axis=1)
    sets = label_sets(whole)
    path, confidence = likeliest_sets(probability, seconds / steps, sets, whole)
    changes = np.flatnonzero(np.diff(path)) + 1
    edges = [0.0, *(near_silence(float(i * seconds / steps), spans) for i in changes), seconds]
    segments = []
    for number, run in enumerate(np.split(np.arange(steps), changes)):
        label = sets[path[run[0]]]
        sure = float(confidence[run].mean())
        for start, end in places_in_file(edges[number], edges[number + 1], spans):
            segments.append(Segment(start, end, label, sure))
    return tuple(segments)


def label_sets(whole: LabelSet) -> list[LabelSet]:
    """All label sets. The empty one is among them only where `whole` is empty."""
    sets = [tuple(compress(CLASSES, held)) for held in product((0, 1), repeat=len(CLASSES))]
    return [label for label in sets if label or label == whole]


def likeliest_sets(
    probability: np.ndarray, step: float, sets: list[LabelSet], whole: LabelSet
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest path of label sets, as indices into `sets`, and the probability of each step's
    set, both `(step,)`. `probability` is `(step, class)`; each step is `step` s long."""
    members = np.array([[name in label for name in CLASSES] for label in sets])
    home = sets.index(whole)
    first, change = transitions(members, home, step)
    belief = BELIEF_SECONDS / step
    # At first the whole stem is taken to hold the classes of `whole`. The median ignores what
    # differs in less than half of the stem.
    held = np.tile(members[home].astype(float), (len(probability), 1))
    level = np.tile(np.median(probability, axis=0), (len(probability), 1))
    for _ in range(ROUNDS):
        sounding, absent = emission_means(level, held, members[home], belief)
        gain = probability * np.log(sounding / absent)
        gain += (1 - probability) * np.log((1 - sounding) / (1 - absent))
        evidence = EVIDENCE_PER_SECOND * step * (gain @ members.T)
        posterior = posteriors(first, change, evidence)
        held, level = posterior @ members, probability
    path = without_slivers(best_path(first, change, evidence), SHORTEST_SECONDS / step)
    # Where a change is at the middle of a window, half of the window lies before it. There the
    # probability of a class is half way between its two means.
    weight = np.log(sounding / absent) + np.log((1 - absent) / (1 - sounding))
    half_way = weight * (probability - (sounding + absent) / 2)
    path = with_changes_placed(path, half_way @ members.T, round(PLACING_SECONDS / step))
    return path, posterior[np.arange(len(path)), path]


def without_slivers(path: np.ndarray, least: float) -> np.ndarray:
    """The path `(step,)` without runs of fewer than `least` steps. Each, the shortest first, is
    given to its neighbours, half to each."""
    path = path.copy()
    while True:
        edges = np.array([0, *(np.flatnonzero(np.diff(path)) + 1), len(path)])
        shortest = np.diff(edges).argmin()
        start, end = edges[shortest], edges[shortest + 1]
        if end - start >= least or end - start == len(path):
            return path
        before, after = path[max(start - 1, 0)], path[min(end, len(path) - 1)]
        middle = start if start == 0 else end if end == len(path) else (start + end) // 2
        path[start:middle], path[middle:end] = before, after


def with_changes_placed(path: np.ndarray, evidence: np.ndarray, reach: int) -> np.ndarray:
    """The path `(step,)` with each change moved by at most `reach` steps, to where the evidence
    `(step, set)` for the sets before and after it is largest."""
    placed = path.copy()
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1), len(path)]
    for (left, change), (_, right) in pairwise(pairwise(edges)):
        start = max(change - reach, (left + change + 1) // 2)
        end = min(change + reach, (change + right) // 2)
        before, after = path[change - 1], path[change]
        gain = np.cumsum(evidence[start:end, before] - evidence[start:end, after])
        place = start + int(np.concatenate([[0.0], gain]).argmax())
        placed[start:place], placed[place:end] = before, after
    return placed


def emission_means(
    probability: np.ndarray, held: np.ndarray, whole: np.ndarray, belief: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mean probability of each class in this stem, where the class sounds and where it does
    not, each `(class,)`.

    `probability` are the steps' probabilities and `held` the posterior that a class sounds there,
    both `(step, class)`. For the classes of `whole` the first mean is estimated, for the others the
    second; the prior mean stands for the other. `belief` is how many steps a prior mean counts as.
    """
    sounding = (belief * SOUNDING + (held * probability).sum(axis=0)) / (belief + held.sum(axis=0))
    silent = 1 - held
    absent = (belief * ABSENT + (silent * probability).sum(axis=0)) / (belief + silent.sum(axis=0))
    absent = np.where(whole, ABSENT, absent).clip(1 - SUREST, SUREST)
    # A class that sounds is at least as probable as one that does not.
    return np.where(whole, sounding, SOUNDING).clip(absent, SUREST), absent


def transitions(members: np.ndarray, home: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each set at the first step, `(set,)`, and of the change from one set to
    another within a step, `(set, set)`. `members` are the classes of each set, `(set, class)`, and
    `home` is the index of the whole stem's set."""
    differing = (members[:, None] != members).sum(axis=2)
    nearness = np.where(differing, FURTHER_CLASS ** (differing - 1.0), 0.0)
    leaving, ending = step / WHOLE_SECONDS, min(step / OTHER_SECONDS, 0.5)
    change = nearness.copy()
    change[:, home] = 0.0
    change /= change.sum(axis=1, keepdims=True)
    from_home = change[home].copy()
    change *= ending * TO_ANOTHER
    change[:, home] = ending * (1 - TO_ANOTHER)
    np.fill_diagonal(change, 1 - ending)
    change[home] = leaving * from_home
    change[home, home] = 1 - leaving
    away = OTHER_SECONDS / (WHOLE_SECONDS + OTHER_SECONDS)
    first = away * from_home
    first[home] = 1 - away
    return first, change


def posteriors(first: np.ndarray, change: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The probability of each set at each step, from log likelihoods, both `(step, set)`."""
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    forward, backward = np.empty_like(likelihood), np.ones_like(likelihood)
    before = first
    for now, likely in zip(forward, likelihood, strict=True):
        now[:] = before * likely
        now /= now.sum()
        before = now @ change
    for step in range(len(likelihood) - 2, -1, -1):
        backward[step] = change @ (backward[step + 1] * likelihood[step + 1])
        backward[step] /= backward[step].sum()
    joint = forward * backward
    return joint / joint.sum(axis=1, keepdims=True)


def best_path(first: np.ndarray, change: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The most probable sequence of sets, `(step,)`, from log likelihoods `(step, set)`."""
    price = np.log(change)
    score = np.log(first) + evidence[0]
    came_from = np.empty(evidence.shape, dtype=int)
    for step in range(1, len(evidence)):
        reached = score[:, None] + price
        came_from[step] = reached.argmax(axis=0)
        score = reached.max(axis=0) + evidence[step]
    path = np.empty(len(evidence), dtype=int)
    path[-1] = score.argmax()
    for step in range(len(evidence) - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


def kept_spans(stem: TrimmedStem) -> np.ndarray:
    """For each stretch that silence removal kept, its start and end in the trimmed stem and its
    start and end in the file, in s, `(stretch, 4)`."""
    starts, ends = np.array(stem.stretches).T
    joined = np.cumsum(ends - starts)
    return np.stack([joined - (ends - starts), joined, starts, ends], axis=1)


def near_silence(moment: float, spans: np.ndarray) -> float:
    """The place of the nearest silence that is not shorter than `SHORT_SILENCE`, if one is near
    `moment`; else `moment`. Both are in s of the trimmed stem."""
    gaps = spans[1:, 2] - spans[:-1, 3]
    joins = spans[1:, 0][gaps >= SHORT_SILENCE]
    near = joins[np.abs(joins - moment) < SNAP_SECONDS]
    return float(near[np.abs(near - moment).argmin()]) if len(near) else moment


def places_in_file(start: float, end: float, spans: np.ndarray) -> list[tuple[float, float]]:
    """Start and end of a part of the trimmed stem in the file, all in s. The part is cut at
    silences that are not shorter than `SHORT_SILENCE`."""
    places: list[tuple[float, float]] = []
    for joined, joined_end, place, place_end in spans.tolist():
        if joined_end <= start or joined >= end:
            continue
        first = place + max(start - joined, 0.0)
        last = place_end - max(joined_end - end, 0.0)
        if places and first - places[-1][1] < SHORT_SILENCE:
            first = places.pop()[0]
        places.append((first, last))
    return places
