"""Workers of one study: side by side, killed, silent, slow, and interrupted."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import sweeps.trials
import sweeps.workers
from experiments.engine.runner import Failure
from experiments.profiles import PROFILES
from experiments.stages.stage import Stage
from experiments.store import Store
from sweeps.__main__ import main
from sweeps.storage import open_study
from sweeps.studies import STUDIES, Bound
from sweeps.trials import distribution, run_study
from sweeps.workers import (
    MOST_RETRIES,
    alive,
    beating,
    given_up,
    gone,
    retake,
    this_machine,
    this_worker,
)
from tests.pretended_stages import pretending
from tests.sweep_store import fill_store

ROOT = Path(__file__).parent.parent
SMOKE = PROFILES["smoke"]
REFINING = Bound(STUDIES["refining"], SMOKE, "band")
F1 = Bound(STUDIES["threshold-f1"], SMOKE, "band")

STORAGES = pytest.mark.parametrize("storage", ["sqlite:///{}/s.db", "journal:{}/s.log"])


@pytest.fixture
def f1_store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    truth = rng.random((80, 4)) < 0.5
    outputs = np.clip(0.2 + 0.3 * truth + 0.2 * rng.standard_normal(truth.shape), 0, 1)
    return fill_store(tmp_path, F1, truth, outputs)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the waits of workers from minutes to less than a second."""
    monkeypatch.setattr(sweeps.workers, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(sweeps.workers, "GRACE_SECONDS", 0.8)
    monkeypatch.setattr(sweeps.trials, "LOOK_SECONDS", 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite:///{}/s.db", "journal:{}/s.log"])
def test_two_workers_at_once_share_a_study(storage: str, f1_store: Store, tmp_path: Path) -> None:
    url = storage.format(tmp_path)
    words = [sys.executable, "-m", "sweeps", "run", "threshold-f1", "--profile", "smoke"]
    words += ["--store", str(f1_store.root), "--storage", url, "--trials", "40", "--workers", "1"]
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    workers = [
        subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=900)
        assert worker.returncode == 0, said
    study = open_study(F1, url)
    ended = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert 40 <= len(ended) <= 41  # both may have asked for the last
    assert len({trial.user_attrs["worker"] for trial in ended}) == 2
    assert all(trial.state in (TrialState.COMPLETE, TrialState.WAITING) for trial in study.trials)


KILLED = """
import sys, time
from pathlib import Path
from experiments.profiles import PROFILES
from experiments.store import Store
from sweeps.__main__ import main
from sweeps.storage import open_study
from sweeps.studies import STUDIES, Bound
from sweeps.trials import run_study

def hang(targets):
    print("hanging", flush=True)
    time.sleep(600)

bound = Bound(STUDIES["refining"], PROFILES["smoke"], "band")
run_study(open_study(bound, sys.argv[1]), bound, Store(Path(sys.argv[2])), hang, 4, 0, 1)
"""


def hanging_worker(url: str, root: Path) -> subprocess.Popen[str]:
    """A process that has begun a trial and never ends it."""
    words = [sys.executable, "-c", KILLED, url, str(root)]
    worker = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "hanging\n"
    return worker


def retried(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.trials if trial.user_attrs.get("retries") == 1]


@STORAGES
def test_the_trial_of_a_killed_worker_is_taken_up_again(storage: str, tmp_path: Path) -> None:
    url = storage.format(tmp_path)
    killed = hanging_worker(url, tmp_path / "runs")
    killed.kill()
    killed.wait()
    study = open_study(REFINING, url)
    (lost,) = study.get_trials(states=(TrialState.RUNNING,))
    store = Store(tmp_path / "runs")
    run_study(study, REFINING, store, pretending(store, []), 4, 0, 1)
    states = [trial.state for trial in study.trials]
    assert states[lost.number] == TrialState.FAIL
    assert TrialState.RUNNING not in states
    assert [(each.params, each.state) for each in retried(study)] == [
        (lost.params, TrialState.COMPLETE)
    ]


@STORAGES
@pytest.mark.usefixtures("impatient")
def test_a_worker_takes_up_the_trial_of_one_killed_beside_it(storage: str, tmp_path: Path) -> None:
    url = storage.format(tmp_path)
    store = Store(tmp_path / "runs")
    killed = hanging_worker(url, store.root)
    pretended = pretending(store, [])

    def compute(targets: list[Stage]) -> list[Failure]:
        killed.kill()  # not waited for: a process that has ended and was not yet asked how
        return pretended(targets)

    study = open_study(REFINING, url)
    (lost,) = study.get_trials(states=(TrialState.RUNNING,))
    failures = run_study(study, REFINING, store, compute, 4, 0, 2)
    killed.wait()
    states = [trial.state for trial in study.trials]
    assert states[lost.number] == TrialState.FAIL
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    assert (ended + len(failures), states.count(TrialState.RUNNING)) == (4, 0)
    assert [each.params for each in retried(study)] == [lost.params]


def trial_elsewhere(bound: Bound, url: str) -> optuna.Trial:
    """A trial that a worker on another machine has begun."""
    study = open_study(bound, url)
    study.enqueue_trial(bound.own_values())
    ranges = {each.name: distribution(each) for each in bound.study.parameters}
    trial = study.ask(fixed_distributions=ranges)
    trial.set_user_attr("worker", "another-machine:1")
    return trial


@STORAGES
@pytest.mark.parametrize("bound", [REFINING, F1], ids=lambda each: each.study.name)
@pytest.mark.usefixtures("impatient")
def test_a_silent_worker_on_another_machine_loses_its_trial(
    bound: Bound, storage: str, tmp_path: Path, f1_store: Store
) -> None:
    url = storage.format(tmp_path)
    lost = trial_elsewhere(bound, url)
    lost.set_user_attr("beat", 1e12)  # its clock is wrong by thousands of years
    study = open_study(bound, url)
    failures = run_study(study, bound, f1_store, pretending(f1_store, []), 3, 0, 2)
    assert study.trials[lost.number].state == TrialState.FAIL
    (again,) = retried(study)
    assert again.params == bound.own_values()
    states = [trial.state for trial in study.trials]
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    assert ended + len(failures) == 3


@STORAGES
@pytest.mark.usefixtures("impatient")
def test_a_slow_worker_that_lives_keeps_its_trial_and_is_waited_for(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = storage.format(tmp_path)
    trial = trial_elsewhere(REFINING, url)

    def be_slow() -> None:
        with beating([trial]):
            time.sleep(2.5 * sweeps.workers.GRACE_SECONDS)
        trial.study.tell(trial, 7.0)

    slow = threading.Thread(target=be_slow)
    slow.start()
    study = open_study(REFINING, url)
    store = Store(tmp_path)
    run_study(study, REFINING, store, pretending(store, []), 3, 0, 2)
    assert study.trials[trial.number].value == 7.0
    assert len(study.trials) == 3
    slow.join()
    said = capsys.readouterr().err
    assert said.count(f"waiting for trial {trial.number} of worker another-machine:1") == 1


@STORAGES
@pytest.mark.usefixtures("impatient")
def test_workers_that_end_together_do_not_wait_for_each_other(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a beat can be late by a second, and nobody's trial is to be lost here.
    monkeypatch.setattr(sweeps.workers, "GRACE_SECONDS", 30.0)
    url = storage.format(tmp_path)
    store = Store(tmp_path / "runs")
    queued = open_study(REFINING, url)
    for threshold in (0.5, 0.6):
        queued.enqueue_trial({"threshold": threshold, "iterations": 2})
    pretended = pretending(store, [])
    one_at_a_time = threading.Lock()
    together = threading.Barrier(2, timeout=60)

    def work() -> None:
        rungs = iter(REFINING.study.rungs)

        def compute(targets: list[Stage]) -> list[Failure]:
            if next(rungs, None) is not None:
                together.wait()
            with one_at_a_time:
                return pretended(targets)

        run_study(open_study(REFINING, url), REFINING, store, compute, 2, 0, 1)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
        assert not worker.is_alive()
    states = [trial.state for trial in open_study(REFINING, url).trials]
    assert states == [TrialState.COMPLETE] * 2


@STORAGES
def test_a_stopped_worker_leaves_its_trial_to_whoever_took_it_up(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = storage.format(tmp_path)
    store = Store(tmp_path / "runs")
    pretended = pretending(store, [])
    study = open_study(REFINING, url)

    def compute(targets: list[Stage]) -> list[Failure]:
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if trial.number == 0:
                retake(open_study(REFINING, url), trial, "it fell silent")
        return pretended(targets)

    assert run_study(study, REFINING, store, compute, 2, 0, 1) == []
    assert study.trials[0].state == TrialState.FAIL
    assert [each.params for each in retried(study)] == [study.trials[0].params]
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) == 2
    assert "trial 0: this worker was silent, another one restarted it" in capsys.readouterr().err


def test_a_trial_that_ends_its_workers_is_not_tried_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    study.enqueue_trial(REFINING.own_values())
    for _ in range(MOST_RETRIES + 1):
        study.ask()  # dies before it has its values
        (trial,) = study.get_trials(states=(TrialState.RUNNING,))
        retake(study, trial, "worker a:1 ended")
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * (MOST_RETRIES + 1)
    queued = [trial.system_attrs["fixed_params"] for trial in study.trials]
    assert queued == [REFINING.own_values()] * len(queued)
    (reason,) = given_up(study).values()
    assert list(given_up(study)) == [MOST_RETRIES]
    assert capsys.readouterr().err == f"trial {MOST_RETRIES} {reason}\n"


@STORAGES
def test_a_given_up_trial_is_counted_shown_and_makes_the_exit_code_1(
    storage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    store = Store(tmp_path / "runs")
    monkeypatch.setattr(sweeps.trials, "computing", lambda *_: pretending(store, []))
    monkeypatch.setattr("sweeps.page.study_pictures", lambda *_: [])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    url = storage.format(tmp_path)
    study = open_study(REFINING, url)
    study.enqueue_trial(REFINING.own_values(), user_attrs={"retries": MOST_RETRIES})
    worker = f"{this_machine()}:{ended.pid}"
    study.ask().set_user_attr("worker", worker)
    words = ["refining", "--profile", "smoke", "--store", str(store.root), "--storage", url]
    assert main(["run", *words, "--trials", "2", "--workers", "1"]) == 1
    said = capsys.readouterr().err
    reason = "given up after 4 tries, at each of which its worker was lost; last, worker "
    assert f"trial 0 {reason}{worker} ended\n" in said
    assert f"1 of its trials were given up: trial 0 {reason}{worker} ended\n" in said
    assert main(["run", *words, "--trials", "2"]) == 0  # nothing new was given up
    capsys.readouterr()
    assert main(["show", *words, "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^Trials: .*, 1 given up after retries$", shown, re.MULTILINE)
    assert f"Trial 0 was {reason}{worker} ended.\n" in shown
    page = (tmp_path / "band-smoke" / "sweeps" / "refining.md").read_text()
    assert f"- Trial 0 was {reason}" in page


def test_only_an_ended_process_of_this_machine_is_known_to_be_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while alive(ended.pid):  # its parent has not asked for it
        time.sleep(0.01)
    machine = this_worker().rpartition(":")[0]
    assert gone(f"{machine}:{ended.pid}")
    assert not gone(this_worker())
    assert not gone(f"another-machine:{ended.pid}")
    # The same name in another container, whose processes have other numbers.
    assert not gone(f"{machine.partition('/')[0]}/1:{ended.pid}")
    assert not gone("")
    ended.wait()


def test_an_interrupted_worker_hands_its_trials_back(tmp_path: Path) -> None:
    def interrupted(targets: list[Stage]) -> list[Failure]:
        raise KeyboardInterrupt

    store = Store(tmp_path)
    study = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    with pytest.raises(KeyboardInterrupt):
        run_study(study, REFINING, store, interrupted, 4, 0, 2)
    states = [trial.state for trial in study.trials]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.WAITING) >= 2
    # Interruptions are no failed tries, however many there are.
    again = [each.user_attrs["retries"] for each in study.trials if "retries" in each.user_attrs]
    assert set(again) == {0}
