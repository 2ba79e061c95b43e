"""Refining that starts from a classifier which knows the classes already.

Iteration 0 is its judgement of stems that it never heard. Each further one trains it on, from the
start again, under the labels of the iteration before, and judges every stem anew. Labels are
weighed (`selfrefine.refining.evidence`), not cut at a threshold, by the mean of what the start and
every training since say of a stem: where they disagree, it is less sure.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from selfrefine.clips.audio_set import AudioSet, single_labelled, with_labels
from selfrefine.errors import InputError
from selfrefine.progress import Progress
from selfrefine.refining.evidence import most_probable_sets, weigh, weighing_of
from selfrefine.refining.iterations import (
    Iteration,
    classify,
    lost_classes,
    train_and_classify,
)
from selfrefine.refining.probabilities import (
    StemProbability,
    mean_probabilities,
    read_probabilities,
)
from selfrefine.settings import ClassifierSettings, Refining


def refine_started(
    stems: AudioSet,
    start: nn.Module,
    settings: ClassifierSettings,
    refining: Refining,
    count: int,
    seed: int,
    folder: Path,
    device: torch.device,
    progress: Progress,
    together: bool = True,
) -> Iterator[Iteration]:
    """Iteration 0 by `start`, evaluating on `device`, and up to `count` trainings after it by
    `settings`, going on from those that `folder` holds. The stems of a song are weighed `together`
    or one by one.

    Ends early, saying so, where a class has no stem left that holds it alone.
    """
    state = {name: value.clone() for name, value in start.state_dict().items()}
    own = folder / "start"
    own.mkdir(parents=True, exist_ok=True)
    if not (own / "probabilities.csv").exists():
        classify(start, stems, settings, refining, own, device, progress)
    judged = [read_judged(own, stems)]
    iteration = weighed_iteration(0, own, judged, together)
    yield iteration
    for number in range(1, count + 1):
        training = single_labelled(with_labels(stems, iteration.labels))
        if lost := lost_classes(stems, training):
            progress.note(
                f"stopped before training {number} of {count}: no stem was found to hold {lost} "
                "alone, so a classifier that is trained on could forget it"
            )
            return
        own = folder / f"iteration-{number}"
        train_and_classify(training, stems, settings, refining, seed, own, device, progress, state)
        judged.append(read_judged(own, stems))
        iteration = weighed_iteration(number, own, judged, together)
        yield iteration


def read_judged(folder: Path, stems: AudioSet) -> list[StemProbability]:
    """What a classifier said of each stem. Raises InputError for a table that is of others."""
    path = folder / "probabilities.csv"
    rows = read_probabilities(path)
    if [(row.song, row.name) for row in rows] != [(c.song, c.name) for c in stems.clips]:
        raise InputError(f"{path}: is damaged; delete {folder} and resume")
    return rows


def weighed_iteration(
    number: int, folder: Path, judged: list[list[StemProbability]], together: bool
) -> Iteration:
    rows = mean_probabilities(judged)
    weighed = weigh(rows, weighing_of(number > 0, together))
    return Iteration(number, folder, rows, most_probable_sets(rows, weighed), weighed)
