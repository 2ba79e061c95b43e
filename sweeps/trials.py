"""Running a study: ask for a batch of trials, compute their stages side by side, tell."""

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from experiments.engine.runner import Failure, run_missing, tell, workers_and_threads
from experiments.engine.watched import validation_songs
from experiments.stages.stage import Stage, closure, identity
from experiments.store import Store
from selfrefine.errors import InputError
from sweeps.curves import climb
from sweeps.objectives import objective_value, shortened, stage_thresholds, stages_needed
from sweeps.parameters import Parameter
from sweeps.studies import CLASS_THRESHOLDS, Bound
from sweeps.workers import (
    Beats,
    beating,
    give_back,
    retake_lost,
    running,
    this_worker,
    unless_retaken,
)

LOOK_SECONDS = 2
"""Between two looks at the trials of others, while nothing is left to start."""

Compute = Callable[[list[Stage]], list[Failure]]


def computing(bound: Bound, store: Store, workers: int | None) -> Compute:
    """What computes the missing of some stages, tracked as the study's."""
    tags = [bound.profile.name, bound.data, "sweep"]
    songs = validation_songs(bound.data, bound.profile.data, tell)

    def compute(targets: list[Stage]) -> list[Failure]:
        groups = {stage: ["sweeps", bound.study.name] for stage in closure(targets)}
        return run_missing(targets, store, groups, tags, workers, songs)

    return compute


def run_study(
    study: optuna.Study,
    bound: Bound,
    store: Store,
    compute: Compute,
    trials: int,
    seed: int,
    workers: int | None,
) -> list[str]:
    """Runs until the study has `trials` finished ones; returns why trials failed.

    Trials that other workers are at count as long as those live: with nothing left to start, this
    one waits for them, and takes up what a killed one left.
    """
    if not study.get_trials(deepcopy=False):
        enqueue_starts(study, bound, store, compute)
    at_once, _ = workers_and_threads(workers)
    distributions = {each.name: distribution(each) for each in bound.study.parameters}
    beats: Beats = {}
    waited_for: set[int] = set()
    failures: list[str] = []
    while True:
        retake_lost(study, beats)
        states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
        left = trials - len(failures) - states[TrialState.COMPLETE] - states[TrialState.PRUNED]
        if left <= 0:
            return failures
        if left <= states[TrialState.RUNNING]:
            waited_for |= wait(study, waited_for)
            continue
        batch: list[Trial] = []
        try:
            for _ in range(min(at_once, left - states[TrialState.RUNNING])):
                study.sampler = sampler(seed, study)
                batch.append(study.ask(fixed_distributions=distributions))
                batch[-1].set_user_attr("worker", this_worker())
            with beating(batch):
                failures += run_batch(study, bound, store, compute, batch)
        except BaseException:
            give_back(study, batch)
            raise


def wait(study: optuna.Study, known: set[int]) -> set[int]:
    """A moment for the trials of others; says which they are, but for what is known. A worker that
    waits is at no trial itself, so no two wait for each other."""
    others = {trial.number: trial.user_attrs.get("worker", "another") for trial in running(study)}
    for number in sorted(others.keys() - known):
        tell(f"waiting for trial {number} of worker {others[number]}")
    time.sleep(LOOK_SECONDS)
    return set(others)


def run_batch(
    study: optuna.Study, bound: Bound, store: Store, compute: Compute, batch: list[Trial]
) -> list[str]:
    """Judges each trial at each rung, and drops what a rung shows to be bad."""
    objective = bound.study.judged_by
    going: dict[int, tuple[Trial, Stage]] = {}
    for trial in batch:
        stage = bound.stage(trial.params)
        trial.set_user_attr("stage", identity(stage))
        going[trial.number] = (trial, stage)
    failures = []
    last = bound.study.rungs[-1]
    for rung in bound.study.rungs:
        stages = {number: shortened(stage, rung) for number, (_, stage) in going.items()}
        failed = compute([each for s in stages.values() for each in stages_needed(objective, s)])
        for number, stage in stages.items():
            trial, whole = going.pop(number)
            reason = failure_of(stage, failed)
            if reason is None:
                value, reason = judged(bound, stage, store)
            with unless_retaken(trial):
                if reason is not None:
                    trial.set_user_attr("error", reason)
                    study.tell(trial, state=TrialState.FAIL)
                    failures.append(reason)
                    tell(f"trial {number} failed: {reason}")
                    continue
                trial.report(value, step=round(100 * rung))
                if rung == last:
                    trial.set_user_attr("stage", identity(stage))
                    study.tell(trial, value)
                    if objective.score is None:
                        told = spoken(trial.params)
                        tell(f"trial {number}: {told}: {objective.name} {value:.4f}")
                elif trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    tell(f"trial {number} given up at {value:.4f}: {spoken(trial.params)}")
                else:
                    going[number] = (trial, whole)
    return failures


def judged(bound: Bound, stage: Stage, store: Store) -> tuple[float, str | None]:
    try:
        return objective_value(bound.study.judged_by, stage, store), None
    except InputError as error:
        return float("nan"), str(error)


def failure_of(stage: Stage, failed: list[Failure]) -> str | None:
    behind = set(closure([stage]))
    return next((failure.message for failure in failed if failure.stage in behind), None)


def spoken(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def sampler(seed: int, study: optuna.Study) -> optuna.samplers.TPESampler:
    """Seeded by the trial's number, so that one worker's study repeats and two workers differ."""
    number = len(study.get_trials(deepcopy=False))
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=mixed, n_startup_trials=5)


def enqueue_starts(study: optuna.Study, bound: Bound, store: Store, compute: Compute) -> None:
    """The row's own values first, then the study's starts; for thresholds on stored outputs, those
    that are best one class at a time."""
    ranges = {each.name: each for each in bound.study.parameters}
    starts = [bound.own_values(), *bound.study.starts]
    objective = bound.study.judged_by
    if objective.score is not None and set(bound.study.space) == set(CLASS_THRESHOLDS):
        stage = bound.stage({})
        if not compute(stages_needed(objective, stage)):
            best = climb(objective.score, stage, store, np.array(stage_thresholds(stage)))
            starts.append(dict(zip(CLASS_THRESHOLDS, best.tolist(), strict=True)))
    for start in starts:
        if all(ranges[name].low <= value <= ranges[name].high for name, value in start.items()):
            study.enqueue_trial(start, skip_if_exists=True)
