"""Refining a folder's stems from a start, a classifier that knows the classes already.

Iteration 0 is the start's judgement of stems that it was not trained on. Every further iteration
trains the start further on these stems, each time from the start's own weights, under the labels of
the iteration before. Then it judges all stems again. Label sets are weighed
(`selfrefine.refining.evidence`) by the mean of the start's judgement and those of all trainings so
far.
"""

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from selfrefine.classes import Labels
from selfrefine.refining.evidence import Weighing, most_probable_sets, weigh, weighing_of
from selfrefine.refining.iterations import Iteration, Refinement, judgement, trained_folder
from selfrefine.refining.labels import lost_classes, training_stems
from selfrefine.refining.loop import refining_loop
from selfrefine.refining.probabilities import StemProbability, mean_probabilities


def refine_started(
    run: Refinement, start: nn.Module, count: int, together: bool = True
) -> Iterator[Iteration]:
    """Yields iteration 0, by `start`, and up to `count` further trainings. What the run's folder
    holds is not computed again.

    `start` is on the run's device, in evaluation mode. The stems of a song are weighed `together`
    or one by one. The run ends early, with a note, where no stem is left that holds a given class
    alone.
    """
    own = run.folder / "start"
    own.mkdir(parents=True, exist_ok=True)

    def train(labels: Labels, number: int) -> Path | None:
        training = training_stems(run.stems, labels)
        if lost := lost_classes(run.stems, training):
            run.progress.note(
                f"stopped before training {number} of {count}: no stem was found to hold "
                f"{' and '.join(lost)} alone, so a classifier that is trained on could forget it"
            )
            return None
        return trained_folder(run, training, number, start.state_dict())

    def judge(folder: Path) -> list[StemProbability]:
        return judgement(run, folder, start if folder == own else None)

    def weighing(judged: tuple[list[StemProbability], ...]) -> Weighing:
        return weighing_of(len(judged) > 1, together)

    def decide(judged: tuple[list[StemProbability], ...]) -> Labels:
        rows = mean_probabilities(judged)
        return most_probable_sets(rows, weigh(rows, weighing(judged)))

    given = {(clip.song, clip.name): clip.label for clip in run.stems.clips}
    for number, folder, judged, labels in refining_loop(given, train, judge, decide, count, own):
        yield Iteration(number, folder, mean_probabilities(judged), labels, weighing(judged))
