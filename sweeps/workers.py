"""Who is at which trial, signs of life, and taking up what a killed worker left.

A worker renews the attribute `beat` of the trials it is at, from a thread, in every kind of
storage. Another worker that has seen the same beat for `GRACE_SECONDS` of its own clock takes the
trial up, so machines need not agree on the time. Optuna's heartbeats are for `Study.optimize` and
for databases alone.
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

Beats = dict[int, tuple[float | None, float]]
"""Of running trials, by number: the last beat and when it was first seen (s, monotonic)."""


def this_machine() -> str:
    """Its name and, on Linux, its space of process numbers: containers may share a name."""
    try:
        return f"{platform.node()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return platform.node()


def this_worker() -> str:
    return f"{this_machine()}:{os.getpid()}"


def gone(worker: str) -> bool:
    """Whether a worker of this machine has ended; of another machine's nothing is known."""
    machine, _, pid = worker.rpartition(":")
    return machine == this_machine() and not alive(int(pid))


def alive(pid: int) -> bool:
    if not psutil.pid_exists(pid):
        return False
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True  # of another user, who may hide it


@contextmanager
def beating(batch: list[Trial]) -> Iterator[None]:
    """Shows that this worker is at its trials, however long they take."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            for trial in batch:
                try:
                    trial.set_user_attr("beat", time.time())
                except Exception:
                    # The trial has ended, or the storage is away: the next beat tries again, and
                    # the worker itself says so when it tells a value.
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
    """Leaves a trial alone that another worker took up while this one was stopped."""
    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError:
        tell(f"trial {trial.number}: this worker was silent, another one took it up")


def retake_lost(study: optuna.Study, beats: Beats) -> None:
    """Takes up the trials whose worker is no more: of this machine at once, of another when its
    beat stands still. `beats` is what the caller has seen so far, and is brought up to date."""
    now = time.monotonic()
    for trial in running(study):
        beat = trial.user_attrs.get("beat")
        known, since = beats.get(trial.number, (None, now))
        if known != beat:
            since = now
        beats[trial.number] = (beat, since)
        if gone(trial.user_attrs.get("worker", "")) or now - since > GRACE_SECONDS:
            retake(study, trial)


def running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def retake(study: optuna.Study, trial: FrozenTrial) -> None:
    """Ends a trial as failed and queues its values again, but for what failed too often."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return  # it ended meanwhile, or another worker was first
    retries = trial.user_attrs.get("retries", 0) + 1
    # A worker may have died before all of the values that were queued were the trial's.
    values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if retries <= MOST_RETRIES and values:
        study.enqueue_trial(values, user_attrs={"retries": retries})


def give_back(study: optuna.Study, batch: list[Trial]) -> None:
    """Queues what an interrupted worker had not finished."""
    numbers = {trial.number for trial in batch}
    for trial in running(study):
        if trial.number in numbers:
            retake(study, trial)
