"""Studies are run, resumed and pruned, with failures; then they are shown, frozen or refused."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from optuna_dashboard._storage_url import get_storage as dashboard_storage

import sweeps.storage
import sweeps.trials
from experiments import registry
from experiments.data import bind
from experiments.engine.runner import Failure
from experiments.profiles import PROFILES
from experiments.stages.data_set import TEST, VALIDATION
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.targets import scaled
from reports.studies import shown_studies
from selfrefine.errors import InputError
from sweeps.__main__ import main, parser
from sweeps.parameters import PARAMETERS
from sweeps.storage import open_storage, open_study
from sweeps.studies import CLASS_THRESHOLDS, STUDIES, Bound, changed_row, registry_stage
from sweeps.trials import computing, distribution, run_study
from tests.pretended_stages import pretending
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
    assert "separator.trained_on.thresholds: (0.9, 0.9, 0.9, 0.9) -> " in frozen.stdout


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sweeps", *words])
    return main()


def made_by(text: str) -> registry.Row:
    """The row that a printed text makes, with no imports but its own."""
    names: dict[str, object] = {}
    imports, _, row = text.partition("Row(\n")
    exec(imports, names)
    made = eval(f"Row({row}", names)
    assert isinstance(made, registry.Row)
    return made


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
    row = made_by(text)
    assert row.stage == changed_row(study.study, registry_stage(study.study), params)
    assert row.stage.test == TEST
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
        (
            ["run", "refining", "--over", "threshold", "threshold"],
            "--over names threshold 2 times",
        ),
        (
            ["run", "threshold-f1", "--over", "threshold_vocals", "final_threshold"],
            "threshold_vocals has no effect beside final_threshold, which would overwrite it",
        ),
        (
            ["run", "threshold-f1", "--over", "final_threshold", *CLASS_THRESHOLDS],
            "final_threshold has no effect beside threshold_vocals, threshold_bass, threshold_dr",
        ),
        (["run", "refining", "--storage", "sqlite:////nowhere/at/all.db"], "cannot be used"),
        (["run", "refining", "--storage", "postgresql://nowhere/db"], "cannot be used"),
        (["run", "refining", "--storage", "nonsense"], "cannot be used"),
        (["run", "refining", "--storage", "journal:/proc/nowhere/a.log"], "cannot be used"),
        (["run", "refining", "--storage", "redis://127.0.0.1:1"], "package redis"),
        (["show", "refining", "--storage", "postgresql+psycopg://host/db"], "package psycopg"),
        (["show", "refining", "--storage", "redis://127.0.0.1:1"], "package redis"),
        (["run", "refining", "--storage", "sqlite://"], "in memory"),
        (["run", "refining", "--storage", "sqlite:///"], "in memory"),
        (["run", "refining", "--storage", "sqlite:///:memory:"], "in memory"),
        (["freeze", "refining", "--storage", "sqlite:///file:a?mode=memory&uri=true"], "in memory"),
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


@pytest.mark.parametrize(
    ("url", "module", "install"),
    [
        ("redis://127.0.0.1:1", "redis", "pip install redis"),
        ("postgresql+psycopg://host/db", "psycopg", 'pip install "psycopg[binary]"'),
        ("postgresql+psycopg2://host/db", "psycopg2", "pip install psycopg2-binary"),
        ("mysql://host/db", "MySQLdb", "pip install mysqlclient"),
        ("mysql+pymysql://host/db", "pymysql", "pip install pymysql"),
    ],
)
def test_a_missing_driver_is_named_with_what_installs_it(
    url: str, module: str, install: str
) -> None:
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    with pytest.raises(InputError) as caught:
        open_storage(url)
    assert f"without the package {module}, which is not installed: {install}" in str(caught.value)
    assert str(caught.value).endswith(install)


READ = [
    ["threshold-f1", "--store", "mistyped"],
    ["threshold", "--store", "mistyped"],
    ["threshold-f1", "--store", "mistyped", "--storage", "sqlite:///mistyped.db"],
    ["threshold-f1", "--store", "mistyped", "--storage", "journal:mistyped/a.log"],
    ["threshold-f1", "--over", "threshold_vocals", "threshold_bass", "--store", "a store"],
    ["threshold-f1", "--objective", "recall", "--data", "band", "--store", "mistyped"],
]


@pytest.mark.parametrize("verb", ["show", "freeze"])
@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_reading_what_is_not_there_makes_nothing_and_says_what_would(
    verb: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, verb, *words, "--profile", "smoke") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    named = shlex.split(said.partition("python -m sweeps ")[2])
    asked = parser().parse_args([verb, *words, "--profile", "smoke"])
    meant = parser().parse_args(named)
    assert meant.command == "run"
    assert meant.studies[0] in STUDIES
    for option in ("over", "objective", "profile", "data", "store", "storage"):
        assert getattr(meant, option) == getattr(asked, option)


def test_reading_a_store_without_studies_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(tmp_path)
    words = ["refining", "--profile", "smoke", "--store", str(tmp_path)]
    for verb in ("show", "freeze"):
        assert command(monkeypatch, verb, *words) == 2
        said = capsys.readouterr().err
        assert "holds no study 'refining band-smoke'; run it first: python -m sweeps run" in said
        assert [path.name for path in tmp_path.iterdir()] == ["store.json"]
    empty = tmp_path / "sweeps.db"
    empty.touch()
    assert command(monkeypatch, "show", *words) == 2
    assert empty.read_bytes() == b""


def optuna_says(words: str) -> list[str]:
    """The output of one of Optuna's commands, which is given as a line for a shell."""
    program, *rest = shlex.split(words)
    assert program == "optuna"
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, optuna.cli; sys.exit(optuna.cli.main())", *rest],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("storage", ["sqlite:///{}/a b.db", "journal:{}/redis b.log"])
def test_the_named_optuna_commands_open_the_storage(
    storage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = storage.format(tmp_path)
    study = open_study(REFINING, url)
    params = REFINING.own_values()
    ranges = {each.name: distribution(each) for each in REFINING.study.parameters}
    study.add_trial(optuna.create_trial(value=1.0, params=params, distributions=ranges))
    monkeypatch.setattr("sweeps.page.write_page", lambda *_: tmp_path)
    words = ["refining", "--profile", "smoke", "--store", str(tmp_path), "--storage", url]
    assert command(monkeypatch, "show", *words) == 0
    told = capsys.readouterr()
    assert f"there is no store at {tmp_path}" in told.err
    (word,) = shlex.split(told.out.partition("optuna-dashboard ")[2])
    assert [each.study_name for each in dashboard_storage(word).get_all_studies()] == [
        "refining band-smoke"
    ]
    monkeypatch.setattr(Separator, "version", 77)
    assert command(monkeypatch, "show", *words) == 2
    delete = capsys.readouterr().err.partition("delete it: ")[2]
    optuna_says(delete)
    assert optuna_says(f"optuna study-names --storage {shlex.quote(word)}") == [""]


def test_a_study_of_another_version_of_the_registry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_study(REFINING, f"sqlite:///{tmp_path}/sweeps.db")
    monkeypatch.setattr(Separator, "version", 77)
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
