"""The clips that training draws from, under the labels that a stage gives them.

Loads torch, through the module that reads probabilities.
"""

from experiments import stages
from experiments.naming import describe
from experiments.store import Store
from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.audio_set import AudioSet, open_audio_set, with_labels
from selfrefine.clips.corruption import read_truth
from selfrefine.errors import InputError
from selfrefine.refining.decisions import Verdict, verdicts
from selfrefine.refining.evidence import weigh, weighing_of
from selfrefine.refining.probabilities import (
    StemProbability,
    label_set,
    mean_probabilities,
    read_probabilities,
)


def stem_set(stage: stages.StemSet, store: Store) -> AudioSet:
    """The clips to train on, under the labels that the stage gives them."""
    match stage:
        case stages.Relabelled():
            return with_labels(stem_set(stage.of.stems, store), refined_labels(stage, store))
        case stages.Weighed():
            labels = weighed_labels(stage, judged_stems(stage, store))
            return with_labels(stem_set(stage.of.stems, store), labels)
        case stages.TrulyLabelled():
            return with_labels(stem_set(stage.of, store), true_labels(stage, store))
    return open_audio_set(store.folder(stage))


def refined_labels(stage: stages.Relabelled, store: Store) -> Labels:
    """The label set of every stem; an empty one is a dropped stem."""
    rows = read_probabilities(store.folder(stage.of) / "probabilities.csv")
    thresholds = chosen_thresholds(stage.thresholds, store)
    return {
        (row.song, row.name): label_set(row.probability, thresholds, stage.most_probable)
        for row in rows
    }


def weighed_labels(stage: stages.Weighed, rows: list[StemProbability]) -> Labels:
    """The label set of every stem, of what is said of it: what is found, or the given one where
    that is not sure enough."""
    return {key: found.refined for key, found in found_labels(stage, rows).items()}


def found_labels(
    stage: stages.Weighed, rows: list[StemProbability]
) -> dict[tuple[str, str], Verdict]:
    """What is found of every stem, how sure it is, and what stands."""
    return verdicts(rows, weigh(rows, weighing_of(stage.before is not None)), stage.sure)


def judged_stems(stage: stages.Weighed, store: Store) -> list[StemProbability]:
    """The mean of what every classifier behind the stage says of each stem."""
    judged = []
    link: stages.Weighed | None = stage
    while link is not None:
        judged.append(read_probabilities(store.folder(link.of) / "probabilities.csv"))
        link = link.before
    return mean_probabilities(judged)


def true_labels(stage: stages.TrulyLabelled, store: Store) -> Labels:
    """The true label set of every stem; an empty one is a stem that holds no class. Raises
    InputError for a set whose truth nobody knows."""
    truth = known_truth(stage.of, store)
    if truth is None:
        raise InputError(
            f"the true labels of the {describe(stage.of)} are not known; choose --data band or "
            "multitrack"
        )
    # A stem without any class reads as one empty name.
    return {stem: tuple(name for name in label if name) for stem, label in truth.items()}


def chosen_thresholds(
    thresholds: stages.Thresholds | stages.AdaptiveThresholds, store: Store
) -> tuple[float, ...]:
    """Per class, in CLASSES' order."""
    if isinstance(thresholds, stages.AdaptiveThresholds):
        found = store.result(thresholds)["thresholds"]
        return tuple(found[name] for name in CLASSES)
    return thresholds


def known_truth(stems: stages.Trimmed, store: Store) -> Labels | None:
    """The true label sets of a corrupted set's stems, None for other sets."""
    if not isinstance(stems.of, stages.Corrupted):
        return None
    return read_truth(store.folder(stems.of) / "truth.csv")
