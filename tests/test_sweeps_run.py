"""Studies run: resumed, by two workers, after a kill, with failures; shown, frozen, refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import sweeps.storage
import sweeps.trials
from experiments import registry, stages
from experiments.data import VALIDATION, bind
from experiments.naming import describe
from experiments.profiles import PROFILES, scaled
from experiments.runner import Failure
from experiments.stages import SeparationScore, Stage, closure
from experiments.store import Store
from reports.studies import shown_studies
from selfrefine import settings
from sweeps.__main__ import main
from sweeps.parameters import PARAMETERS
from sweeps.storage import open_storage, open_study
from sweeps.studies import STUDIES, Bound, changed_row, registry_stage
from sweeps.trials import Compute, computing, run_study
from tests.sweep_store import fill_store

ROOT = Path(__file__).parent.parent
SMOKE = PROFILES["smoke"]
REFINING = Bound(STUDIES["refining"], SMOKE, "band")
F1 = Bound(STUDIES["threshold-f1"], SMOKE, "band")


@pytest.fixture
def f1_store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    truth = rng.random((80, 4)) < 0.5
    outputs = np.clip(0.2 + 0.3 * truth + 0.2 * rng.standard_normal(truth.shape), 0, 1)
    return fill_store(tmp_path, F1, truth, outputs)


def sweeps_command(*words: str, store: Store) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeps", *words, "--profile", "smoke", "--store", str(store.root)],
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )


def pretending(store: Store, asked: list[Stage]) -> Compute:
    """Finishes stages at once: SDR is highest at a threshold of .6 and two iterations, training
    at a threshold over .9 fails."""

    def compute(targets: list[Stage]) -> list[Failure]:
        failures = []
        for stage in closure(targets):
            if store.done(stage):
                continue
            asked.append(stage)
            result = {}
            if isinstance(stage, SeparationScore):
                train = stage.separator.train
                assert isinstance(train, stages.Relabelled)
                assert isinstance(train.thresholds, tuple)
                if train.thresholds[0] > 0.9:
                    failures.append(Failure(stage, "no stem is left to train on"))
                    continue
                iterations = describe(train).count("Psi_refined")
                share = stage.separator.settings.steps / SMOKE.scale.xumx.steps
                result = {"average": share * (iterations - abs(train.thresholds[0] - 0.6))}
            store.folder(stage).mkdir(parents=True, exist_ok=True)
            store.finish(stage, result, {"seconds": 1.0})
        return failures

    return compute


def test_a_study_ends_with_its_trials_and_runs_nothing_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked: list[Stage] = []
    compute = pretending(store, asked)
    study = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    run_study(study, REFINING, store, compute, 12, 0, 2)
    states = [trial.state for trial in study.trials]
    ended = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    assert ended + states.count(TrialState.FAIL) == 12
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.PRUNED) > 0
    assert study.trials[0].params == REFINING.own_values()
    assert len(asked) == len(set(asked))  # trials share what they can
    before = len(asked)
    again = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    run_study(again, REFINING, store, compute, ended, 0, 2)
    assert len(asked) == before
    assert len(again.trials) == 12


def test_a_pruned_trial_was_judged_by_its_short_training_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    run_study(study, REFINING, store, pretending(store, []), 12, 0, 1)
    for trial in study.trials:
        if trial.state == TrialState.PRUNED:
            assert list(trial.intermediate_values) == [25]
            assert not store.done(REFINING.stage(trial.params))
        if trial.state == TrialState.COMPLETE:
            assert list(trial.intermediate_values) == [25, 100]
            assert trial.value == trial.intermediate_values[100]


def test_a_failing_trial_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study = open_study(REFINING, f"sqlite:///{tmp_path}/s.db")
    study.enqueue_trial({"threshold": 0.95, "iterations": 1})
    failures = run_study(study, REFINING, store, pretending(store, []), 3, 0, 1)
    assert set(failures) == {"no stem is left to train on"}
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[0].user_attrs["error"] == failures[0]
    assert study.best_trial.number > 0


def test_the_same_seed_makes_the_same_trials(tmp_path: Path) -> None:
    params = []
    for name in ("a", "b"):
        store = Store(tmp_path / name)
        study = open_study(REFINING, f"journal:{tmp_path}/{name}.log")
        run_study(study, REFINING, store, pretending(store, []), 8, 3, 1)
        params.append([trial.params for trial in study.trials])
    assert params[0] == params[1]


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
from sweeps.storage import open_study
from sweeps.studies import STUDIES, Bound
from sweeps.trials import run_study

def hang(targets):
    print("hanging", flush=True)
    time.sleep(600)

bound = Bound(STUDIES["refining"], PROFILES["smoke"], "band")
run_study(open_study(bound, sys.argv[1]), bound, Store(Path(sys.argv[2])), hang, 4, 0, 1)
"""


@pytest.mark.parametrize("storage", ["sqlite:///{}/s.db", "journal:{}/s.log"])
def test_the_trial_of_a_killed_worker_is_taken_up_again(storage: str, tmp_path: Path) -> None:
    url = storage.format(tmp_path)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(tmp_path / "runs")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "hanging\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    study = open_study(REFINING, url)
    (lost,) = study.get_trials(states=(TrialState.RUNNING,))
    store = Store(tmp_path / "runs")
    run_study(study, REFINING, store, pretending(store, []), 4, 0, 1)
    states = [trial.state for trial in study.trials]
    assert states[lost.number] == TrialState.FAIL
    assert TrialState.RUNNING not in states
    again = [
        trial
        for trial in study.trials
        if trial.user_attrs.get("retries") == 1 and trial.params == lost.params
    ]
    assert [trial.state for trial in again] == [TrialState.COMPLETE]


def test_a_silent_worker_on_another_machine_loses_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.storage, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(sweeps.storage, "GRACE_SECONDS", 1)
    url = f"sqlite:///{tmp_path}/s.db"
    storage = open_storage(url)
    assert isinstance(storage, optuna.storages.RDBStorage)
    study = open_study(REFINING, url)
    study.enqueue_trial({"threshold": 0.25, "iterations": 1})
    lost = study.ask()
    lost.suggest_float("threshold", 0.05, 0.95, step=0.05)
    lost.suggest_int("iterations", 1, 5)
    lost.set_user_attr("worker", "another-machine:1")
    storage.record_heartbeat(lost._trial_id)
    time.sleep(2.5)
    store = Store(tmp_path)
    run_study(study, REFINING, store, pretending(store, []), 3, 0, 1)
    assert study.trials[lost.number].state == TrialState.FAIL
    retried = [trial for trial in study.trials if trial.user_attrs.get("retries") == 1]
    assert [trial.params for trial in retried] == [{"threshold": 0.25, "iterations": 1}]
    assert retried[0].state in (TrialState.COMPLETE, TrialState.PRUNED)


def test_a_trials_trainings_are_watched_with_validation_songs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def run_missing(*words: object) -> list[Failure]:
        given.append(words[-1])
        return []

    monkeypatch.setattr(sweeps.trials, "run_missing", run_missing)
    for mode in ("offline", "disabled"):
        monkeypatch.setenv("WANDB_MODE", mode)
        computing(REFINING, Store(tmp_path), 1)([REFINING.stage({})])
    assert given == [bind(VALIDATION, "band", SMOKE.data), None]


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


@pytest.mark.slow
def test_run_show_and_freeze_of_thresholds(f1_store: Store, tmp_path: Path) -> None:
    ran = sweeps_command("run", "threshold-f1", "--trials", "12", store=f1_store)
    assert ran.returncode == 0, ran.stderr
    assert "12 trials complete; best" in ran.stderr
    output = tmp_path / "output"
    shown = sweeps_command("show", "threshold-f1", "--output", str(output), store=f1_store)
    assert shown.returncode == 0, shown.stderr
    folder = output / "band-smoke" / "sweeps"
    for kind in ("curve", "history", "importances", "contour", "parallel", "slice"):
        picture = folder / f"threshold-f1-{kind}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"({picture.name})" in (folder / "threshold-f1.md").read_text()
    (study,) = shown_studies(folder.parent)
    assert study.name == "threshold-f1"
    assert [each.path for each in study.pictures if each.wide] == [
        folder / "threshold-f1-curve.png",
        folder / "threshold-f1-slice.png",
    ]
    assert len(study.pictures) == 6
    assert len(study.rows) == 10
    assert study.head[:2] == ["trial", "value"]
    assert "threshold_vocals" in study.head
    assert "Row(" in study.winner
    curve = pd.read_csv(folder / "threshold-f1-curve.csv")
    trials = pd.read_csv(folder / "threshold-f1-trials.csv")
    assert trials["value"].max() == pytest.approx(curve["objective"].max(), abs=1e-4)
    assert "optuna-dashboard sqlite:///" in shown.stdout
    frozen = sweeps_command("freeze", "threshold-f1", store=f1_store)
    assert frozen.returncode == 0, frozen.stderr
    assert "separator.train.thresholds: (0.9, 0.9, 0.9, 0.9) -> " in frozen.stdout


def named_by_the_registry() -> dict[str, object]:
    names = {**vars(stages), **vars(registry), "settings": settings}
    return {**names, "Separator": stages.Separator, "Classifier": stages.Classifier}


@pytest.mark.parametrize("name", STUDIES)
def test_a_frozen_row_is_python_that_makes_the_winners_stage(name: str, tmp_path: Path) -> None:
    from sweeps.freeze import freeze_text

    study = Bound(STUDIES[name], SMOKE, "band")
    kept = open_study(study, f"sqlite:///{tmp_path}/s.db")
    params = {each.name: each.value(each.high) for each in study.study.parameters}
    distributions = {
        each.name: optuna.distributions.FloatDistribution(each.low, each.high)
        for each in study.study.parameters
    }
    kept.add_trial(optuna.create_trial(value=1.0, params=params, distributions=distributions))
    text = freeze_text(study, kept)
    row = eval(text, named_by_the_registry())
    assert row.stage == changed_row(study.study, registry_stage(study.study), params)
    assert row.stage.test == registry.TEST
    for value in params.values():
        assert f"-> {value:g}" in text


def test_a_frozen_row_keeps_its_change_at_every_profile() -> None:
    row = registry_stage(STUDIES["refining"])
    for name in ("mix_chance", "multi_chance", "reverb_wet", "threshold"):
        parameter = PARAMETERS[name]
        changed = parameter.change(row, 0.35)
        assert parameter.read(scaled(changed, SMOKE)) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "thresholds"], "no study called 'thresholds'; choose from threshold-f1"),
        (["run", "refining", "--over", "tempo"], "no parameter called 'tempo'; choose from thresh"),
        (["run", "refining", "--objective", "sir"], "no objective called 'sir'; choose from f1"),
        (
            ["run", "threshold-f1", "--over", "multi_chance"],
            "the objective f1 does not depend on multi_chance",
        ),
        (["run", "refining", "--profile", "huge"], "no profile called 'huge'"),
        (["run", "refining", "--data", "mp3s"], "no data called 'mp3s'"),
        (["show", "refining"], "holds no study 'refining band-smoke'; run it first"),
        (["freeze", "refining"], "holds no study 'refining band-smoke'; run it first"),
        (["run", "refining", "--storage", "sqlite:////nowhere/at/all.db"], "cannot be used"),
        (["run", "refining", "--storage", "postgresql://nowhere/db"], "cannot be used"),
        (["run", "refining", "--storage", "nonsense"], "cannot be used"),
        (["run", "refining", "--storage", "journal:/proc/nowhere/a.log"], "cannot be used"),
    ],
)
def test_bad_words_get_one_line_and_exit_code_2(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    defaults = ["--store", str(tmp_path)]
    defaults += [] if "--profile" in words else ["--profile", "smoke"]
    monkeypatch.setattr(sys, "argv", ["sweeps", *words, *defaults])
    assert main() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_study_of_another_version_of_the_registry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_study(REFINING, f"sqlite:///{tmp_path}/sweeps.db")
    monkeypatch.setattr(stages.Separator, "version", 77)
    words = ["run", "refining", "--profile", "smoke", "--store", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sweeps", *words])
    assert main() == 2
    said = capsys.readouterr().err
    assert "refining band-smoke: made for version" in said
    assert "optuna delete-study" in said
    assert said.count("\n") == 1


def test_a_study_without_a_complete_trial_is_refused_with_its_last_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    study = open_study(REFINING, f"sqlite:///{tmp_path}/sweeps.db")
    study.enqueue_trial({"threshold": 0.95, "iterations": 1})
    run_study(study, REFINING, store, pretending(store, []), 1, 0, 1)
    for verb in ("show", "freeze"):
        words = [verb, "refining", "--profile", "smoke", "--store", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["sweeps", *words])
        assert main() == 2
        said = capsys.readouterr().err
        assert "none of 1 trials is complete; the last one failed: no stem is left" in said
