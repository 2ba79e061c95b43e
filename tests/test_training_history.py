"""What a training reports of itself, and its checkpoints, where it was killed on the way."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.models.weights import read_tensors, save_tensors
from selfrefine.progress import Progress, StepReport
from selfrefine.scales import SMOKE
from selfrefine.training import loop, timing
from selfrefine.training.checkpoint import Checkpoints
from selfrefine.training.classifier import train_classifier
from selfrefine.training.gradients import Gradients
from selfrefine.training.history import History
from selfrefine.training.loop import Place, Trained
from selfrefine.training.separator import train_separator

CPU = torch.device("cpu")
STEPS = 6
CLASSIFIER = dataclasses.replace(SMOKE.classifier, steps=STEPS, batch=2)
SEPARATOR = dataclasses.replace(SMOKE.xumx, segment=8192, steps=STEPS)


class Killed(Exception):
    """Stands for a kill in the middle of a training."""


def train(
    stems: AudioSet, settings: Any, folder: Path, stop_after: int | None = None, seed: int = 7
) -> Trained:
    def listen(report: StepReport) -> None:
        if stop_after is not None and report.step > stop_after:
            raise Killed

    folder.mkdir(exist_ok=True)
    place = Place(folder, CPU, Progress(step=listen))
    if settings is CLASSIFIER:
        return train_classifier(stems, settings, seed, place)
    return train_separator(stems, settings, seed, place)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a step take as many seconds as its number, and checkpoints follow every step."""
    now = [0.0]
    compute = Gradients.compute

    def timed(gradients: Any, batch: Any, step: int, at_once: int) -> torch.Tensor:
        now[0] += step
        return compute(gradients, batch, step, at_once)

    monkeypatch.setattr(Gradients, "compute", timed)
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")


@pytest.mark.parametrize("settings", [CLASSIFIER, SEPARATOR], ids=["classifier", "x-umx"])
@pytest.mark.parametrize("every", [1, 4])
def test_a_training_that_was_killed_twice_reports_what_an_unbroken_one_does(
    settings: Any,
    every: int,
    tone_stems: AudioSet,
    tmp_path: Path,
    clock: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = train(tone_stems, settings, tmp_path / "whole")
    assert len(whole.history.losses) == whole.steps == STEPS
    assert whole.history.seconds == sum(range(STEPS))
    # A GPU reads losses less often than it may write checkpoints.
    monkeypatch.setitem(loop.STEPS_A_REPORT, "cpu", every)
    for kill in (2, 4):
        with pytest.raises(Killed):
            train(tone_stems, settings, tmp_path / "killed", kill)
    killed = train(tone_stems, settings, tmp_path / "killed")
    assert killed == whole
    assert killed.history.final_loss() == whole.history.losses[-1]
    assert (whole.history.resumed_at, killed.history.resumed_at) == (0.0, sum(range(4)))


def test_a_training_that_was_killed_after_its_last_step_reports_all_of_them(
    tone_stems: AudioSet, tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tone_stems, CLASSIFIER, tmp_path / "whole")
    assert whole.step_flops > 0

    def kill(checkpoints: Checkpoints) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "finish", kill)
        with pytest.raises(Killed):
            train(tone_stems, CLASSIFIER, tmp_path / "killed")
    assert train(tone_stems, CLASSIFIER, tmp_path / "killed") == whole


def test_the_final_loss_is_the_mean_of_the_last_tenth() -> None:
    history = History()
    for step in range(30):
        history.add([float(step)], 2.0, 0.5)
    assert history.final_loss() == (27 + 28 + 29) / 3
    assert (history.seconds, history.data_seconds) == (60.0, 15.0)
    assert History().final_loss() == 0.0


@pytest.fixture
def killed(tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training that was killed after three steps."""
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")
    with pytest.raises(Killed):
        train(tone_stems, SEPARATOR, tmp_path / "killed", 3)
    return tmp_path / "killed"


def test_a_checkpoint_of_an_earlier_version_is_resumed(
    killed: Path, tone_stems: AudioSet, tmp_path: Path
) -> None:
    state = read_tensors(killed / "checkpoint.pt")
    kept = {name: state[name] for name in ("model", "optimiser", "step")}
    save_tensors(kept, killed / "checkpoint.pt")
    resumed = train(tone_stems, SEPARATOR, killed)
    whole = train(tone_stems, SEPARATOR, tmp_path / "whole")
    assert (killed / "model.pt").read_bytes() == (tmp_path / "whole" / "model.pt").read_bytes()
    assert resumed.history.losses == whole.history.losses[3:]
    assert resumed.steps == STEPS


def scaled(tensors: dict[str, torch.Tensor], factor: float) -> dict[str, torch.Tensor]:
    return {name: value * factor for name, value in tensors.items()}


def with_short_moments(state: dict[str, Any]) -> dict[str, Any]:
    moments = dict(state["optimiser"]["state"])
    moments[0] = moments[0] | {"exp_avg": torch.zeros(1)}
    return {"optimiser": state["optimiser"] | {"state": moments}}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"step": STEPS + 1},
        lambda state: {"step": -1},
        lambda state: {"step": "3"},
        lambda state: {"step": torch.tensor([3, 3])},
        lambda state: {"model": nn.Linear(2, 2).state_dict()},
        lambda state: {"model": scaled(state["model"], float("nan"))},
        lambda state: {"model": 3},
        lambda state: {"optimiser": None},
        with_short_moments,
        lambda state: {"history": 3},
        lambda state: {"history": {"losses": torch.tensor([float("nan")])}},
        lambda state: {"training": state["training"] | {"seed": 8}},
    ],
)
def test_a_checkpoint_that_is_not_of_the_training_is_named_with_the_remedy(
    change: Callable[[dict[str, Any]], dict[str, Any]], killed: Path, tone_stems: AudioSet
) -> None:
    path = killed / "checkpoint.pt"
    state = read_tensors(path)
    save_tensors(state | change(state), path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged .*; delete it and run again$"):
        train(tone_stems, SEPARATOR, killed)
