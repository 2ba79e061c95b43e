"""A GPU trains even without a compiler, which its kernels need: the CPU then makes the effects."""

import logging
import subprocess

import pytest
import torch

from selfrefine.audio import effect_chain, effect_triton
from selfrefine.audio.effect_chain import apply_effects, gpu_has_kernels
from selfrefine.audio.effects import draw_effects
from selfrefine.settings import EffectRanges
from tests.conftest import interpreted

CPU = torch.device("cpu")


class Pretended(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    is_cuda = True  # type: ignore[assignment]

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor).clone()


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    gpu_has_kernels.cache_clear()


@interpreted
def test_kernels_that_can_be_built_are_used_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert gpu_has_kernels(CPU)
    assert caplog.records == []


@interpreted
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
        subprocess.CalledProcessError(1, ["gcc", "main.c"]),
        ImportError("No module named 'triton'"),
        PermissionError(13, "Permission denied"),
    ],
)
def test_kernels_that_cannot_be_built_are_told_of_once_with_the_remedy(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(effect_triton, "follow_envelope", fail)
    with caplog.at_level(logging.WARNING):
        assert [gpu_has_kernels(CPU) for _ in range(3)] == [False] * 3
    (record,) = caplog.records
    assert "effects run on the CPU" in record.getMessage()
    assert "install a C compiler and Python's headers" in record.getMessage()
    assert "\n" not in record.getMessage()


@interpreted
def test_memory_that_runs_out_is_not_taken_for_a_missing_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(effect_triton, "follow_envelope", fail)
    with pytest.raises(torch.OutOfMemoryError):
        gpu_has_kernels(CPU)


@pytest.mark.parametrize("in_place", [False, True])
def test_without_kernels_audio_of_a_gpu_gets_the_cpus_effects(
    in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = draw_effects(3, EffectRanges(), torch.Generator().manual_seed(0))
    audio = 0.1 * torch.randn(3, 2, 9000, generator=torch.Generator().manual_seed(1))
    expected = apply_effects(audio, parameters, 16000)
    monkeypatch.setattr(effect_chain, "gpu_has_kernels", lambda device: False)
    placed = audio.as_subclass(Pretended)
    found = apply_effects(placed, parameters, 16000, out=placed if in_place else None)
    assert torch.equal(found.as_subclass(torch.Tensor), expected)
