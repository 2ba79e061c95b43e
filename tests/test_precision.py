"""bf16 is used where it gives the same results as float32."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from selfrefine.clips.audio_set import AudioSet
from selfrefine.progress import Progress
from selfrefine.training import precision
from selfrefine.training.classifier import train_classifier
from selfrefine.training.loop import Place
from selfrefine.training.precision import layers_wrong_in_bf16
from tests.test_fitting import CLASSIFIER, CPU, assert_same


class Faulty(nn.Conv1d):
    """A convolution that is wrong under autocast, in its output or in a gradient."""

    fault = "none"

    def forward(self, values: Tensor) -> Tensor:
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            if self.fault == "output":
                values = values.roll(1, dims=-1)
            if self.fault == "input":
                values = values.detach() + 0.9 * (values - values.detach())
            if self.fault == "weight":
                weight = weight.detach() + float("nan") * (weight - weight.detach()).clamp(max=0)
        return self._conv_forward(values, weight, self.bias)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 8, 3), nn.ReLU(), Faulty(8, 8, 3), nn.Conv1d(8, 1, 3))


@pytest.mark.parametrize("fault", ["none", "output", "input", "weight"])
def test_a_layer_that_bf16_gets_wrong_is_found_and_no_other(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Faulty, "fault", fault)
    # AMX would add its own faults, which is_doubtful is for.
    monkeypatch.setattr(precision, "spoil_free_memory", lambda: None)
    model = network()
    audio = torch.randn(3, 2, 200)
    found = layers_wrong_in_bf16(model, lambda: model(audio))
    assert found == ([] if fault == "none" else ["2"])


def test_a_layer_that_counts_for_nearly_nothing_is_looked_at_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hybrid Demucs' inner layers are like this at first, behind a scale of 1e-4."""
    monkeypatch.setattr(Faulty, "fault", "output")
    model = network()
    with torch.no_grad():
        model[3].weight.mul_(1e-8)
    assert layers_wrong_in_bf16(model, lambda: model(torch.randn(3, 2, 200))) == ["2"]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_network_that_bf16_gets_wrong_trains_in_float32_and_says_so(
    wrong: bool, tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("float32", "doubtful"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(precision, "multiplies_in_bf16", lambda device: False)
    train_classifier(tone_stems, CLASSIFIER, 0, Place(tmp_path / "float32", CPU))
    monkeypatch.setattr(precision, "multiplies_in_bf16", lambda device: True)
    monkeypatch.setattr(precision, "is_doubtful", lambda device: True)
    monkeypatch.setattr(precision, "is_right", lambda layer, given: not wrong)
    said: list[str] = []
    place = Place(tmp_path / "doubtful", CPU, progress=Progress(note=said.append))
    train_classifier(tone_stems, CLASSIFIER, 0, place)
    if wrong:
        (sentence,) = said
        assert "trunk.stem.0: it trains in float32" in sentence
        assert_same(tmp_path / "float32", tmp_path / "doubtful")
    else:
        assert said == []


def test_only_cpus_with_amx_are_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert precision.is_doubtful(CPU)
    assert not precision.is_doubtful(torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert not precision.is_doubtful(CPU)
