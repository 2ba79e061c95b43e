"""What `plan` says of runs that nobody has made yet."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments import cost
from experiments.commands import duration, plan
from experiments.cost import expected_cost, training_steps
from experiments.data import CLEAN, TEST, DataScale, bind
from experiments.stages import Classifier, SeparationScore, Separator, Trimmed
from experiments.store import Store
from experiments.trial import Trial, try_training
from selfrefine.scales import SMOKE
from selfrefine.settings import PAPER_HDEMUCS, Corruption
from tests.cli_songs import write_song

SCALE = DataScale(44100, 1, 1, 1, 1, 1.0, Corruption())


@pytest.fixture
def musdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for split in ("train", "test"):
        for song in range(3):
            write_song(tmp_path / "musdb" / split / f"A{song} - {split}", song, 4.0)
    write_song(tmp_path / "noise" / "u1", 0, 4.0)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "musdb"))
    monkeypatch.setenv("LABELNOISE_PATH", str(tmp_path / "noise"))
    return tmp_path / "musdb"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Stands in for the device: a step takes 2 s, and 40 items fit. The settings it was asked."""
    asked: list[object] = []

    def tried(settings: object, store: Store, words: str) -> Trial:
        asked.append(settings)
        return Trial("Imaginary GPU", 2.0, 5e9, 40)

    monkeypatch.setattr(cost, "tried", tried)
    return asked


def test_a_trainings_hours_are_its_steps_times_the_measured_step(
    musdb: Path, trials: list[object], tmp_path: Path
) -> None:
    stage = bind(Separator(Trimmed(CLEAN), PAPER_HDEMUCS), "musdb", SCALE)
    found = expected_cost(stage, Store(tmp_path / "runs"))
    assert found.seconds == 21000 * 2.0
    assert "5.0 GB of Imaginary GPU" in found.memory
    assert "SELFREFINE_ITEMS_AT_ONCE=40" in found.memory


def test_epochs_follow_from_the_hours_in_the_folder(musdb: Path) -> None:
    stage = bind(Classifier(Trimmed(CLEAN)), "musdb", SCALE)
    # Two of the three training songs of 4 s: the third is held out for validation.
    assert training_steps(stage) == math.ceil(100 * 8.0 * 44100 / 131072 / 128)


def test_scoring_costs_a_forward_pass_over_the_test_songs(
    musdb: Path, trials: list[object], tmp_path: Path
) -> None:
    score = SeparationScore(Separator(Trimmed(CLEAN), PAPER_HDEMUCS), TEST)
    found = expected_cost(bind(score, "musdb", SCALE), Store(tmp_path / "runs"))
    assert found.seconds == pytest.approx(2.0 / 3 * 12.0 / (160 * 3.0))


def test_plan_of_the_paper_names_hours_and_memory_of_every_training(
    musdb: Path, trials: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(["tables"], "paper", "musdb", tmp_path / "runs", 1) == 0
    out = capsys.readouterr().out
    assert out.count("Imaginary GPU") == 6 + 17
    assert "?" not in out
    assert "of one worker to run" in out


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMOKE.classifier, SMOKE.xumx, SMOKE.hdemucs])
def test_a_trial_measures_time_and_memory(
    settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFREFINE_DEVICE", "cpu")
    found = Trial(**try_training(replace(settings, batch=4)))  # type: ignore[type-var]
    assert found.step_seconds > 0
    assert 1e8 < found.memory < 1e11
    assert found.items_at_once == 4
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_read_easily(seconds: float, words: str) -> None:
    assert duration(seconds) == words
