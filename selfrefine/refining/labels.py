"""Label sets from stems' probabilities at thresholds (section 4.2), and the stems to train on under
these labels."""

from collections.abc import Iterable

from selfrefine.classes import CLASSES, Labels, LabelSet
from selfrefine.clips.audio_set import AudioSet, single_labelled, with_labels
from selfrefine.refining.probabilities import StemProbability


def label_set(
    probability: tuple[float, ...], thresholds: tuple[float, ...], most_probable: bool = False
) -> LabelSet:
    """The classes whose probability is at least their threshold, both in CLASSES' order. Where no
    class passes, it is the empty label set, so that the stem is dropped; with `most_probable`, it
    is the most probable class alone."""
    rows = zip(CLASSES, probability, thresholds, strict=True)
    passing = tuple(name for name, value, threshold in rows if value >= threshold)
    if passing or not most_probable:
        return passing
    return (CLASSES[max(range(len(CLASSES)), key=lambda place: probability[place])],)


def thresholded_labels(
    rows: Iterable[StemProbability], thresholds: tuple[float, ...], most_probable: bool
) -> Labels:
    """Every stem's label set, at one threshold per class in CLASSES' order."""
    return {
        (row.song, row.name): label_set(row.probability, thresholds, most_probable) for row in rows
    }


def count_labels(labels: Labels) -> dict[str, int]:
    """How many stems became single-labelled, multi-labelled and dropped."""
    sizes = [len(label) for label in labels.values()]
    return {
        "single": sum(size == 1 for size in sizes),
        "multi": sum(size > 1 for size in sizes),
        "dropped": sum(size == 0 for size in sizes),
    }


def training_stems(stems: AudioSet, labels: Labels) -> AudioSet:
    """The stems that a classifier trains on after relabelling: the single-labelled ones, under
    their new labels. Raises InputError for a stem that `labels` lacks."""
    return single_labelled(with_labels(stems, labels))


def lost_classes(stems: AudioSet, training: AudioSet) -> tuple[str, ...]:
    """The classes that some of `stems` were given and that no stem of `training` has."""
    given = {name for clip in stems.clips for name in clip.label}
    left = {name for clip in training.clips for name in clip.label}
    return tuple(name for name in CLASSES if name in given - left)
