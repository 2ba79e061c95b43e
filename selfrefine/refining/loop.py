"""The loop of refining (section 3.1): a classifier learns from labels, and its judgement refines
them."""

from collections.abc import Callable, Iterator
from typing import TypeVar

LabelsT = TypeVar("LabelsT")
ClassifierT = TypeVar("ClassifierT")
JudgedT = TypeVar("JudgedT")


def refining_loop(
    labels: LabelsT,
    train: Callable[[LabelsT, int], ClassifierT | None],
    judge: Callable[[ClassifierT], JudgedT],
    decide: Callable[[tuple[JudgedT, ...]], LabelsT],
    count: int,
    start: ClassifierT | None = None,
) -> Iterator[tuple[int, ClassifierT, tuple[JudgedT, ...], LabelsT]]:
    """Trains a classifier on the labels, judges the original stems with it, and decides new labels
    from all judgements so far; does this `count` times.

    `labels` are the given ones. A `start`, a classifier that knows the classes already, judges
    before the first training. `train` gets the labels and the training's number, from 1 on. It
    returns None where a classifier cannot learn from these labels; the loop then ends.

    Yields after every judgement: its number (0 for the start), the classifier, all judgements so
    far, and the new labels.
    """
    judged: tuple[JudgedT, ...] = ()
    for number in range(1 if start is None else 0, count + 1):
        classifier = train(labels, number) if number else start
        if classifier is None:
            return
        judged = (*judged, judge(classifier))
        labels = decide(judged)
        yield number, classifier, judged, labels
