"""The types in which networks compute under autocast on a GPU. The tensors only pretend to be on
one: torch's own rules for CUDA choose the types, and nothing is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules import rnn

from selfrefine.audio.spectrogram import hann_window
from selfrefine.models.hdemucs import build_hdemucs
from selfrefine.models.recurrent import Float32LSTM
from selfrefine.models.xumx import CrossNet
from selfrefine.settings import XUMX, HDemucs

BF16 = torch.bfloat16


@contextmanager
def autocast_as_on_a_gpu() -> Iterator[None]:
    """Turns autocast on as on a GPU. Where there is none, torch.autocast does nothing."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", BF16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


@pytest.fixture
def recurrent_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, torch.dtype]]:
    """For each call of cuDNN's LSTM, whether autocast was on, and the type of the values. Autocast
    would run it in float16, whatever type was asked for."""
    calls: list[tuple[bool, torch.dtype]] = []

    def lstm(
        values: torch.Tensor,
        state: tuple[torch.Tensor, torch.Tensor],
        weights: list[torch.Tensor],
        has_biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[torch.Tensor, ...]:
        calls.append((torch.is_autocast_enabled("cuda"), values.dtype))
        assert {weight.dtype for weight in weights} == {torch.float32}
        hidden = state[0].shape[-1] * (2 if bidirectional else 1)
        return values.new_empty(*values.shape[:-1], hidden), *state

    monkeypatch.setattr(rnn, "_VF", SimpleNamespace(lstm=lstm))
    return calls


@pytest.fixture
def pretended_gpu() -> Iterator[None]:
    hann_window.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield
    hann_window.cache_clear()


def output_types(model: nn.Module, mixture: torch.Tensor) -> dict[type, set[torch.dtype]]:
    """The types of the outputs under autocast, by kind of layer."""
    found: dict[type, set[torch.dtype]] = {}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        found.setdefault(type(module), set()).add(first.dtype)

    for module in model.modules():
        module.register_forward_hook(note)
    with autocast_as_on_a_gpu():
        model(mixture)
    return found


def test_a_plain_lstm_would_run_under_autocast(
    recurrent_calls: list[tuple[bool, torch.dtype]], pretended_gpu: None
) -> None:
    model = nn.LSTM(4, 4, 2, bidirectional=True)
    with autocast_as_on_a_gpu():
        model(torch.empty(5, 2, 4))
    assert recurrent_calls == [(True, torch.float32)]


def test_hybrid_demucs_lstms_are_in_float32_and_its_convolutions_in_bf16(
    recurrent_calls: list[tuple[bool, torch.dtype]], pretended_gpu: None
) -> None:
    model = build_hdemucs(HDemucs(channels=8, fft=1024, depth=5))
    types = output_types(model, torch.empty(2, 2, 32768))
    assert types[Float32LSTM] == {torch.float32}
    assert nn.LSTM not in types
    assert set(recurrent_calls) == {(False, torch.float32)}
    assert len(recurrent_calls) == sum(isinstance(part, nn.LSTM) for part in model.modules()) > 0
    layers = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
    assert {dtype for kind in layers for dtype in types[kind]} == {BF16}


def test_xumx_lstms_are_in_float32_and_its_products_in_bf16(
    recurrent_calls: list[tuple[bool, torch.dtype]],
    pretended_gpu: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products: list[torch.dtype] = []
    linear = nn.functional.linear

    def noted(*arguments: Any) -> torch.Tensor:
        found = linear(*arguments)
        products.append(found.dtype)
        return found

    monkeypatch.setattr(nn.functional, "linear", noted)
    model = CrossNet(XUMX(fft=1024, hop=512, hidden=32, lstm_layers=3), 16000)
    model.side_by_side = False  # streams need a GPU
    types = output_types(model, torch.empty(2, 9, 2, 513))
    assert types[Float32LSTM] == {torch.float32}
    assert recurrent_calls == [(False, torch.float32)] * (4 * 3)
    assert len(products) == 2 + 4
    assert set(products) == {BF16}
