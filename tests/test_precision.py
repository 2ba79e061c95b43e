"""bf16 is used where it computes what float32 does."""

from pathlib import Path

import pytest
import torch

from selfrefine.data.audio_set import AudioSet
from selfrefine.training import classifier, loop, precision
from selfrefine.training.classifier import train_classifier
from selfrefine.training.loop import Place
from selfrefine.training.precision import short_is_right
from tests.test_fitting import CLASSIFIER, CPU, assert_same


def test_a_gradient_that_rounding_changed_is_right_and_others_are_not() -> None:
    exact = torch.randn(1000, generator=torch.Generator().manual_seed(0))

    def agrees(other: torch.Tensor) -> bool:
        return short_is_right(lambda short: other if short else exact)

    assert agrees(exact.bfloat16().float())
    assert not agrees(exact.roll(1))
    assert not agrees(exact * float("nan"))
    assert not agrees(torch.cat([exact[:500], -exact[500:]]))


@pytest.mark.parametrize("wrong", [False, True])
def test_a_network_that_bf16_gets_wrong_trains_in_float32_and_says_so(
    wrong: bool, tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = classifier.classification_loss

    def loss(logits: torch.Tensor, labels: torch.Tensor, use_bce: bool) -> torch.Tensor:
        found = plain(logits, labels, use_bce)
        return found * float("nan") if wrong and torch.is_autocast_enabled("cpu") else found

    for name in ("float32", "doubtful"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(loop, "multiplies_in_bf16", lambda device: False)
    train_classifier(tone_stems, CLASSIFIER, 0, Place(tmp_path / "float32", CPU))
    monkeypatch.setattr(loop, "multiplies_in_bf16", lambda device: True)
    monkeypatch.setattr(loop, "is_doubtful", lambda device: True)
    monkeypatch.setattr(classifier, "classification_loss", loss)
    said: list[str] = []
    place = Place(tmp_path / "doubtful", CPU, say=said.append)
    train_classifier(tone_stems, CLASSIFIER, 0, place)
    assert said == (
        ["bf16 is not computed rightly for this network on this CPU: float32 instead"]
        if wrong
        else []
    )
    if wrong:
        assert_same(tmp_path / "float32", tmp_path / "doubtful")


def test_only_cpus_with_amx_are_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert precision.is_doubtful(CPU)
    assert not precision.is_doubtful(torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert not precision.is_doubtful(CPU)
