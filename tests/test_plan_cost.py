"""The costs that `plan` gives for runs that have not been made yet."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import commands
from experiments.commands import plan
from experiments.data import bind
from experiments.profiles import DataScale
from experiments.stages.classifier import Classifier
from experiments.stages.data_set import CLEAN, TEST
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.training import LOADING_SECONDS
from experiments.stages.trimmed import Trimmed
from experiments.trainings.step_cost import (
    StepCost,
    kept_or_measured,
    known_to_fit,
    measure_step,
    write_noise,
)
from selfrefine.clips.audio_set import open_audio_set
from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import load_pool
from selfrefine.progress import duration
from selfrefine.scales import SMOKE
from selfrefine.settings import PAPER_HDEMUCS, PAPER_XUMX, Corruption
from tests.cli_songs import write_song

SCALE = DataScale(44100, 1, 1, 1, 1, 1.0, Corruption(), 1, 1.0)


@pytest.fixture
def musdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for split in ("train", "test"):
        for song in range(3):
            write_song(tmp_path / "musdb" / split / f"A{song} - {split}", song, 4.0)
    write_song(tmp_path / "noise" / "u1", 0, 4.0)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "musdb"))
    monkeypatch.setenv("LABELNOISE_PATH", str(tmp_path / "noise"))
    return tmp_path / "musdb"


def imaginary(stage: Classifier | Separator) -> StepCost:
    """The cost of a step on an imaginary device: it takes 2 s, and 40 items fit."""
    return StepCost("Imaginary GPU", 2.0, 5e9, 40, stems_on_device=True)


def test_a_trainings_hours_are_its_steps_times_the_measured_step(
    musdb: Path,
) -> None:
    stage = bind(Separator(Trimmed(CLEAN), PAPER_HDEMUCS), "musdb", SCALE)
    found = stage.cost(imaginary)
    assert found.seconds == LOADING_SECONDS + 21000 * 2.0
    assert "5.0 GB of Imaginary GPU, with the stems' 0.0 GB" in found.memory
    assert "SELFREFINE_ITEMS_AT_ONCE=40" in found.memory


def test_epochs_follow_from_the_hours_in_the_folder(musdb: Path) -> None:
    stage = bind(Classifier(Trimmed(CLEAN)), "musdb", SCALE)
    # Two of the three training songs of 4 s: the third is held out for validation.
    assert stage.steps() == math.ceil(100 * 8.0 * 44100 / 131072 / 128)


def test_scoring_costs_a_forward_pass_over_the_test_songs(musdb: Path) -> None:
    score = SeparationScore(Separator(Trimmed(CLEAN), PAPER_HDEMUCS), TEST)
    found = bind(score, "musdb", SCALE).cost(imaginary)
    assert found.seconds == pytest.approx(LOADING_SECONDS + 2.0 / 3 * 12.0 / (160 * 3.0))


def test_plan_of_the_paper_names_hours_and_memory_of_every_training(
    musdb: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "measured_here", lambda store: imaginary)
    assert plan(["tables"], "paper", "musdb", tmp_path / "runs", range(1)) == 0
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
    found = measure_step(replace(settings, batch=4), 0.0)  # type: ignore[type-var]
    assert found.step_seconds > 0
    assert 1e8 < found.memory < 1e11
    assert found.items_at_once == 4
    assert torch.is_grad_enabled()


def test_a_trial_is_made_once_a_device_and_size_of_stems_and_training_begins_with_what_fitted(
    tmp_path: Path,
) -> None:
    made: list[tuple[str, int]] = []

    def asked(device: str, steps: int, gigabytes: float, fitting: int) -> StepCost:
        def attempt() -> StepCost:
            made.append((device, steps))
            return StepCost(device, 2.0, 5e9, fitting)

        settings = replace(PAPER_HDEMUCS, steps=steps)
        return kept_or_measured(settings, gigabytes * 2**30, device, tmp_path, attempt)

    assert known_to_fit(PAPER_HDEMUCS, "H100", tmp_path) is None
    assert asked("H100", 10, 3.0, 80).items_at_once == 80
    # Steps change neither time nor memory; the stems' size to a gigabyte does not matter.
    assert asked("H100", 20, 3.2, 1).items_at_once == 80
    assert asked("H100", 10, 30.0, 54).items_at_once == 54
    assert asked("T4", 10, 3.0, 10).items_at_once == 10
    assert made == [("H100", 10), ("H100", 10), ("T4", 10)]
    # The fewest: which stems a training has is not looked at.
    assert known_to_fit(PAPER_HDEMUCS, "H100", tmp_path) == 54
    assert known_to_fit(PAPER_HDEMUCS, "T4", tmp_path) == 10
    assert known_to_fit(PAPER_XUMX, "T4", tmp_path) is None


def test_a_trials_stems_are_as_large_as_the_real_ones_and_take_no_disk(tmp_path: Path) -> None:
    write_noise(tmp_path, SMOKE.xumx, 3e9)
    stems = open_audio_set(tmp_path)
    assert load_pool(stems, torch.device("cpu")).mapped.nbytes == pytest.approx(3e9, abs=4)
    assert (tmp_path / "audio.i16").stat().st_blocks * 512 < 1e7
    last = max(clip.start + clip.length for clip in stems.clips)
    assert np.abs(stems.samples[:last]).max() > 5000
    assert {len(clip.label) for clip in stems.clips} == {1, 2}


def test_lite_on_a_counted_gpu_ends_its_classifiers_and_xumx_rows_in_some_twenty_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"table2/x-umx-{name}" for name in ("clean", "noisy", "psi-*")]
    assert plan(rows, "lite", "band", tmp_path / "runs", range(1), "h100") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.search(r"to run, (\d+) min on 16 cores and one H100, counted and not measured", last)
    assert found is not None
    assert 15 <= int(found[1]) <= 22


def test_a_gpu_or_a_network_of_which_nothing_is_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--gpu tpu: only h100 and h200 are known"):
        plan(["table1"], "lite", "band", tmp_path / "runs", range(1), "tpu")
    for gpu in ("h100", "h200"):
        with pytest.raises(InputError, match="nothing is known of this classifier"):
            plan(["table1"], "mini", "band", tmp_path / "runs", range(1), gpu)
        with pytest.raises(InputError, match="nothing is known of this X-UMX"):
            plan(["table2/x-umx-noisy"], "mini", "band", tmp_path / "runs", range(1), gpu)
    start = ["started-recognition/band"]
    assert plan(start, "lite", "band", tmp_path / "runs", range(1), "h200") == 0
    with pytest.raises(InputError, match="nothing is known of this classifier"):
        plan(start, "lite", "band", tmp_path / "runs", range(1), "h100")


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_read_easily(seconds: float, words: str) -> None:
    assert duration(seconds) == words
