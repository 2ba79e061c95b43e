"""The objectives that a study can maximise. None of them uses the test songs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import VALIDATION
from experiments.stages.recognition_outputs import RecognitionOutputs, read_outputs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import MOST_PROBABLE, Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import Stage, inputs
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.metrics.recognition import recognition
from sweeps.parameters import own_thresholds, refinement

PRECISION_FLOOR = 0.9

Pairs = list[tuple[np.ndarray, np.ndarray]]
"""Pairs of truth (bool) and outputs, each `(item, class)`; a score is averaged over them."""

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""Computes a score from a test's truth and outputs and from thresholds `(class,)`."""


@dataclass(frozen=True)
class Objective:
    """An objective to maximise.

    `stage(row, mixtures)` makes a trial's stage from a row that is scored on validation songs.
    Without a `score`, the trial trains networks and has the stage's result as its value. With a
    `score`, it applies thresholds to stored outputs, some of them of `mixtures` random mixtures.
    """

    name: str
    meaning: str
    stage: Callable[[SeparationScore, int], Stage]
    score: Score | None = None


def mean_f1(truth: np.ndarray, outputs: np.ndarray, thresholds: np.ndarray) -> float:
    return float(recognition(truth, outputs, thresholds).f1.mean())


def recall_at_precision(truth: np.ndarray, outputs: np.ndarray, thresholds: np.ndarray) -> float:
    """Mean over classes of the recall, for classes whose precision is at least `PRECISION_FLOOR`.

    A class of lower precision counts as precision minus floor, a negative number. A class that is
    never found counts as 0.
    """
    at = recognition(truth, outputs, thresholds)
    silent = ~(outputs >= thresholds).any(axis=0)
    shortfall = np.minimum(at.precision - PRECISION_FLOOR, 0.0)
    return float(np.where(silent, 0.0, np.where(shortfall < 0, shortfall, at.recall)).mean())


def exact_share(truth: np.ndarray, outputs: np.ndarray, thresholds: np.ndarray) -> float:
    """The share of stems whose label set is exactly the true one. Label sets are made as in the
    registry's rows."""
    found = outputs >= thresholds
    if MOST_PROBABLE:
        none = ~found.any(axis=1)
        found[none, outputs[none].argmax(axis=1)] = True
    return float((found == truth).all(axis=1).mean())


def recognition_on_validation(row: SeparationScore, mixtures: int) -> RecognitionScore:
    """The row's last classifier on validation songs, at the row's thresholds."""
    psi = refinement(row).probabilities.classifier
    outputs = RecognitionOutputs(Trimmed(VALIDATION), psi, mixtures)
    return RecognitionScore(outputs, own_thresholds(row))


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            "f1",
            "mean F1 of the classes on stems and random mixtures of validation songs",
            recognition_on_validation,
            mean_f1,
        ),
        Objective(
            "recall",
            f"mean recall of the classes whose precision is at least {PRECISION_FLOOR} on stems "
            "and random mixtures of validation songs",
            recognition_on_validation,
            recall_at_precision,
        ),
        Objective(
            "labels",
            "share of the noisy stems whose refined label set is the true one",
            lambda row, _: refinement(row),
            exact_share,
        ),
        Objective("sdr", "the separator's average SDR on validation songs, dB", lambda row, _: row),
    )
}


def objective_named(name: str) -> Objective:
    """The objective of this name. Raises InputError when there is none."""
    if name not in OBJECTIVES:
        raise InputError(f"no objective called {name!r}; choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def stages_needed(objective: Objective, stage: Stage) -> list[Stage]:
    """The stages that must be in the store before a trial has a value."""
    if objective.score is None:
        return [stage]
    needs = inputs(stage)
    if isinstance(stage, Relabelled) and isinstance(stage.probabilities.stems.songs, Corrupted):
        needs.append(stage.probabilities.stems.songs)
    return needs


def objective_value(objective: Objective, stage: Stage, store: Store) -> float:
    """The value of a trial's stage. Raises InputError when the objective cannot judge the stage's
    data."""
    if objective.score is None:
        value = store.result(stage).get("average")
    else:
        value = mean_score(
            objective.score, judged_tests(stage, store), np.array(stage_thresholds(stage))
        )
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(
            f"{store.folder(stage)}: the {objective.name} is {value}; if it should be a number, "
            "delete the folder and run again"
        )
    return float(value)


def mean_score(score: Score, tests: Pairs, thresholds: np.ndarray) -> float:
    return float(np.mean([score(truth, outputs, thresholds) for truth, outputs in tests]))


def stage_thresholds(stage: Stage) -> tuple[float, ...]:
    if not isinstance(stage, RecognitionScore | Relabelled):
        raise InputError(f"{type(stage).__name__} has no thresholds")
    if isinstance(stage.thresholds, AdaptiveThresholds):
        raise InputError("a row that chooses its thresholds on outputs leaves nothing to sweep")
    return stage.thresholds


def judged_tests(stage: Stage, store: Store) -> Pairs:
    """Truth and classifier outputs of a stage's tests: the stems and the mixtures of validation
    songs, or the noisy stems."""
    if isinstance(stage, RecognitionScore):
        tests = read_outputs(store.finished(stage.outputs)).values()
        return [(truth, outputs) for truth, outputs in tests if len(truth)]
    if isinstance(stage, Relabelled):
        return [stem_truth_and_outputs(stage, store)]
    raise InputError(f"{type(stage).__name__} has no outputs to set thresholds on")


def stem_truth_and_outputs(stage: Relabelled, store: Store) -> tuple[np.ndarray, np.ndarray]:
    truth = stage.probabilities.stems.truth(store)
    if truth is None:
        raise InputError(
            "the objective labels needs noisy stems whose truth is known; choose --data band or "
            "multitrack, or another objective"
        )
    rows = stage.judged(store)
    held = [[name in truth[row.song, row.name] for name in CLASSES] for row in rows]
    return np.array(held, dtype=bool), np.array([row.probability for row in rows])


def shortened(stage: Stage, share: float) -> Stage:
    """The same stage, with its last training cut to a share of its length."""
    if share == 1.0:
        return stage
    if isinstance(stage, SeparationScore):
        settings = stage.separator.settings
        fewer = replace(settings, steps=max(1, round(settings.steps * share)))
        return replace(stage, separator=replace(stage.separator, settings=fewer))
    if isinstance(stage, RecognitionScore):
        psi = shorter(stage.outputs.classifier, share)
        return replace(stage, outputs=replace(stage.outputs, classifier=psi))
    if isinstance(stage, Relabelled):
        psi = shorter(stage.probabilities.classifier, share)
        return replace(stage, probabilities=replace(stage.probabilities, classifier=psi))
    return stage


def shorter(psi: Classifier, share: float) -> Classifier:
    steps = psi.settings.steps
    changed = replace(
        psi.settings,
        steps=None if steps is None else max(1, round(steps * share)),
        epochs=max(1, round(psi.settings.epochs * share)),
    )
    return replace(psi, settings=changed)
