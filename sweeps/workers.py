"""Records which worker runs which trial, and restarts the trials of killed workers.

A thread of each worker regularly updates the attribute `beat` of the worker's trials. This works in
every kind of storage. If another worker sees an unchanged beat for `GRACE_SECONDS` of its own
clock, it restarts the trial, so the clocks of machines need not agree. Optuna's own heartbeats work
only with `Study.optimize` and with databases.
"""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import psutil  # type: ignore[import-untyped]
from optuna.trial import FrozenTrial, Trial, TrialState

from experiments.engine.runner import tell

BEAT_SECONDS = 20
GRACE_SECONDS = 60
MOST_RETRIES = 3

GIVEN_UP = "given_up"
"""The attribute of a trial that ended too many workers: why it is not tried again."""

Beats = dict[int, tuple[float | None, float]]
"""The last beat of each running trial and the time it was first seen (s, monotonic), by number."""


def this_machine() -> str:
    """The machine's name and, on Linux, its namespace of process ids, since containers may share a
    name."""
    try:
        return f"{platform.node()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return platform.node()


def this_worker() -> str:
    return f"{this_machine()}:{os.getpid()}"


def gone(worker: str) -> bool:
    """Whether the worker is of this machine and has ended. A worker of another machine never counts
    as gone."""
    machine, _, pid = worker.rpartition(":")
    return machine == this_machine() and not alive(int(pid))


def alive(pid: int) -> bool:
    if not psutil.pid_exists(pid):
        return False
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True  # a process of another user, whose state may be hidden


@contextmanager
def beating(batch: list[Trial]) -> Iterator[None]:
    """Updates the beats of this worker's trials, however long they take."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            for trial in batch:
                try:
                    trial.set_user_attr("beat", time.time())
                except Exception:
                    # The trial has ended, or the storage cannot be reached. The next beat tries
                    # again, and the worker itself gets the error when it reports a value.
                    continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def unless_retaken(trial: Trial) -> Iterator[None]:
    """Ignores a trial that another worker restarted while this worker was stopped."""
    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError:
        tell(f"trial {trial.number}: this worker was silent, another one restarted it")


def retake_lost(study: optuna.Study, beats: Beats) -> None:
    """Restarts the trials of workers that have ended.

    For workers of this machine this is known at once; for others the beat must have stopped.
    `beats` holds the beats that the caller has seen, and is updated.
    """
    now = time.monotonic()
    for trial in running(study):
        beat = trial.user_attrs.get("beat")
        known, since = beats.get(trial.number, (None, now))
        if known != beat:
            since = now
        beats[trial.number] = (beat, since)
        worker = trial.user_attrs.get("worker", "")
        if gone(worker):
            retake(study, trial, f"worker {worker} ended")
        elif now - since > GRACE_SECONDS:
            retake(study, trial, f"worker {worker or 'unknown'} fell silent")


def running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def retake(study: optuna.Study, trial: FrozenTrial, why: str) -> None:
    """Ends a trial as failed and queues its values again. After `MOST_RETRIES` times the trial is
    given up: this is said, and kept with the trial. `why` says how its worker was lost."""
    retries = trial.user_attrs.get("retries", 0)
    if retries < MOST_RETRIES:
        requeue(study, trial, retries + 1)
        return
    reason = (
        f"given up after {retries + 1} tries, at each of which its worker was lost; last, {why}"
    )
    try:
        study._storage.set_trial_user_attr(trial._trial_id, GIVEN_UP, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return  # the trial has ended, or another worker was first
    tell(f"trial {trial.number} {reason}")


def requeue(study: optuna.Study, trial: FrozenTrial, retries: int) -> None:
    """Ends a trial as failed and queues its values again, as tried `retries` times before."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return  # the trial has ended, or another worker was first
    # A worker may have died before the trial got all of the queued values.
    values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if values:
        study.enqueue_trial(values, user_attrs={"retries": retries})


def give_back(study: optuna.Study, batch: list[Trial]) -> None:
    """Queues the unfinished trials of an interrupted worker again. This does not count as a
    retry."""
    numbers = {trial.number for trial in batch}
    for trial in running(study):
        if trial.number in numbers:
            requeue(study, trial, trial.user_attrs.get("retries", 0))


def failure_reason(trial: FrozenTrial) -> str:
    """Why a trial failed or was given up; "" for other trials, and for those that were queued
    again."""
    attributes = trial.user_attrs
    return str(attributes.get(GIVEN_UP) or attributes.get("error") or "")


def given_up(study: optuna.Study) -> dict[int, str]:
    """Why trials were given up, by their number."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return {each.number: failure_reason(each) for each in failed if GIVEN_UP in each.user_attrs}
