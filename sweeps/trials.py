"""Running a study: ask for a batch of trials, compute their stages side by side, tell."""

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from experiments.runner import Failure, run_missing, tell, workers_and_threads
from experiments.stages import Stage, closure, identity
from experiments.store import Store
from experiments.validation import validation_songs
from selfrefine.errors import InputError
from sweeps.curves import climb
from sweeps.objectives import needed, objective_value, shortened, stage_thresholds
from sweeps.parameters import Parameter
from sweeps.storage import HEARTBEAT_SECONDS, queue_again
from sweeps.studies import CLASS_THRESHOLDS, WHOLE, Bound

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
    """Runs until the study has `trials` finished ones, counting those that other workers are at;
    returns why trials failed."""
    retake_abandoned(study)
    if not study.get_trials(deepcopy=False):
        enqueue_starts(study, bound, store, compute)
    at_once, _ = workers_and_threads(workers)
    distributions = {each.name: distribution(each) for each in bound.study.parameters}
    trained = bound.study.judged_by.score is None or bound.study.rungs != WHOLE
    failures: list[str] = []
    while left := trials - len(failures) - taken(study):
        optuna.storages.fail_stale_trials(study)
        batch = []
        for _ in range(max(0, min(at_once, left))):
            study.sampler = sampler(seed, study)
            trial = study.ask(fixed_distributions=distributions)
            trial.set_user_attr("worker", this_worker())
            batch.append(trial)
        if not batch:
            break
        try:
            with heartbeats(study, batch if trained else []):
                failures += run_batch(study, bound, store, compute, batch)
        except BaseException:
            give_back(study, batch)
            raise
    return failures


def taken(study: optuna.Study) -> int:
    """Trials that have ended well or are being run."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return len(study.get_trials(deepcopy=False, states=states))


def run_batch(
    study: optuna.Study, bound: Bound, store: Store, compute: Compute, batch: list[Trial]
) -> list[str]:
    """Judges each trial at each rung, and drops what a rung shows to be bad."""
    objective = bound.study.judged_by
    running: dict[int, tuple[Trial, Stage]] = {}
    for trial in batch:
        stage = bound.stage(trial.params)
        trial.set_user_attr("stage", identity(stage))
        running[trial.number] = (trial, stage)
    failures = []
    last = bound.study.rungs[-1]
    for rung in bound.study.rungs:
        stages = {number: shortened(stage, rung) for number, (_, stage) in running.items()}
        failed = compute([each for s in stages.values() for each in needed(objective, s)])
        for number, stage in stages.items():
            trial, _ = running[number]
            reason = failure_of(stage, failed)
            if reason is None:
                value, reason = judged(bound, stage, store)
            if reason is not None:
                trial.set_user_attr("error", reason)
                study.tell(trial, state=TrialState.FAIL)
                failures.append(reason)
                tell(f"trial {number} failed: {reason}")
                del running[number]
                continue
            trial.report(value, step=round(100 * rung))
            if rung == last:
                trial.set_user_attr("stage", identity(stage))
                study.tell(trial, value)
                if objective.score is None:
                    tell(f"trial {number}: {spoken(trial.params)}: {objective.name} {value:.4f}")
                del running[number]
            elif trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                tell(f"trial {number} given up at {value:.4f}: {spoken(trial.params)}")
                del running[number]
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
        if not compute(needed(objective, stage)):
            best = climb(objective.score, stage, store, np.array(stage_thresholds(stage)))
            starts.append(dict(zip(CLASS_THRESHOLDS, best.tolist(), strict=True)))
    for start in starts:
        if all(ranges[name].low <= value <= ranges[name].high for name, value in start.items()):
            study.enqueue_trial(start, skip_if_exists=True)


def this_worker() -> str:
    return f"{platform.node()}:{os.getpid()}"


def retake_abandoned(study: optuna.Study) -> None:
    """Takes up trials whose worker on this machine is no more, without waiting for its heartbeat
    to be missed. A journal file knows no heartbeats, so there this is the only way."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, _, pid = trial.user_attrs.get("worker", "").rpartition(":")
        if host == platform.node() and not alive(int(pid)):
            retake(study, trial)


def retake(study: optuna.Study, trial: FrozenTrial) -> None:
    """Ends a trial as failed and queues its values again."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, RuntimeError):
        return  # another worker was first
    queue_again(study, trial)


def give_back(study: optuna.Study, batch: list[Trial]) -> None:
    """Queues what an interrupted worker had not finished."""
    numbers = {trial.number for trial in batch}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number in numbers:
            retake(study, trial)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def heartbeats(study: optuna.Study, batch: list[Trial]) -> Iterator[None]:
    """Records that this worker lives, for storages that know heartbeats. Optuna does so itself
    only in `Study.optimize`, which runs one trial at a time."""
    storage = study._storage
    over = threading.Event()

    def keep_beating() -> None:
        while True:
            for trial in batch:
                storage.record_heartbeat(trial._trial_id)
            if over.wait(HEARTBEAT_SECONDS):
                return

    if not batch or not hasattr(storage, "record_heartbeat"):
        yield
        return
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
