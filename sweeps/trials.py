"""Runs a study: asks Optuna for a batch of trials, computes their stages in parallel, and reports
their values."""

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
from sweeps.storage import counting_alone
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
"""Time (s) between two looks at the trials of other workers, while none is left to start."""

Compute = Callable[[list[Stage]], list[Failure]]


def computing(bound: Bound, store: Store, workers: int | None) -> Compute:
    """Returns a function that computes those of its stages that are missing, tracked as part of the
    study."""
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
    """Runs until the study has `trials` finished trials. Returns the reasons of failed trials.

    The running trials of other workers count as long as these workers live. When no trial is left
    to start, this worker waits for them, and restarts the trials of killed workers.
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
        batch: list[Trial] = []
        try:
            with counting_alone(study):
                states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
                done = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
                left = trials - len(failures) - done
                for _ in range(min(at_once, left - states[TrialState.RUNNING])):
                    study.sampler = sampler(seed, study)
                    batch.append(study.ask(fixed_distributions=distributions))
                    batch[-1].set_user_attr("worker", this_worker())
            if left <= 0:
                return failures
            if not batch:
                waited_for |= wait(study, waited_for)
                continue
            with beating(batch):
                failures += run_batch(study, bound, store, compute, batch)
        except BaseException:
            give_back(study, batch)
            raise


def wait(study: optuna.Study, known: set[int]) -> set[int]:
    """Waits `LOOK_SECONDS` for the trials of other workers, and returns their numbers.

    Prints those that are not yet `known`. A waiting worker runs no trial itself, so no two workers
    wait for each other.
    """
    others = {trial.number: trial.user_attrs.get("worker", "another") for trial in running(study)}
    for number in sorted(others.keys() - known):
        tell(f"waiting for trial {number} of worker {others[number]}")
    time.sleep(LOOK_SECONDS)
    return set(others)


def run_batch(
    study: optuna.Study, bound: Bound, store: Store, compute: Compute, batch: list[Trial]
) -> list[str]:
    """Judges each trial at each rung, and prunes those that are bad at a rung. Returns the reasons
    of failed trials."""
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
                    tell(f"trial {number} pruned at {value:.4f}: {spoken(trial.params)}")
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
    """A sampler seeded by `seed` and the number of trials: a study by one worker is repeatable, and
    two workers draw different values."""
    number = len(study.get_trials(deepcopy=False))
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=mixed, n_startup_trials=5)


def enqueue_starts(study: optuna.Study, bound: Bound, store: Store, compute: Compute) -> None:
    """Queues the first trials: the row's own values, then the study's starts. For thresholds on
    stored outputs, also those that are best when one class at a time is optimised."""
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
