"""The short format that a training multiplies in, and whether it can be trusted."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor, nn

from selfrefine.machine_settings import only_float32

LARGEST_ERROR = 0.03
"""Of a layer in bf16, relative; rounding alone leaves .003."""

LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


@cache
def multiplies_in_bf16(device: torch.device) -> bool:
    """SELFREFINE_PRECISION=float32 says no for every device."""
    if only_float32():
        return False
    if device.type == "cuda":
        # Without what older ones do in software, slower than float32.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def autocast(device: torch.device, short: bool) -> AbstractContextManager[object]:
    """bf16 where it is `short`: a fifth to a half faster on a CPU that has it, and as good."""
    return torch.autocast(device.type, torch.bfloat16) if short else contextlib.nullcontext()


def is_doubtful(device: torch.device) -> bool:
    """Whether bf16 is to be checked: on CPUs with AMX, oneDNN's strided convolutions read memory
    that nobody wrote where their output is narrow, and are wrong for some numbers of channels."""
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def layers_wrong_in_bf16(model: nn.Module, step: Callable[[], object]) -> list[str]:
    """Names of convolutions and products whose output or gradients in bf16 are not float32's, each
    on what it is given in `step`, a training step in float32 that has no effect.

    Layer by layer, since a whole network's gradient hides layers that count little at first.
    """
    inputs: dict[str, Tensor] = {}

    def noting(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            inputs[name] = given[0].detach()

        return note

    layers = {name: part for name, part in model.named_modules() if isinstance(part, LAYERS)}
    hooks = [part.register_forward_pre_hook(noting(name)) for name, part in layers.items()]
    try:
        step()
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name, given in inputs.items() if not is_right(layers[name], given)]


def is_right(layer: nn.Module, given: Tensor) -> bool:
    """Whether a layer's output, and the gradients of its input and its weights, are float32's."""
    exact = outcome(layer, given, short=False)
    spoil_free_memory()
    found = outcome(layer, given, short=True)
    pairs = [(own, other) for own, other in zip(found, exact, strict=True) if other.norm() > 0]
    # NaN is no small error.
    return all(bool((own - other).norm() <= LARGEST_ERROR * other.norm()) for own, other in pairs)


def outcome(layer: nn.Module, given: Tensor, short: bool) -> list[Tensor]:
    given = given.clone().requires_grad_()
    with autocast(given.device, short):
        output = layer(given)
    generator = torch.Generator().manual_seed(0)
    upstream = torch.randn(output.shape, generator=generator).to(output)
    wanted = [given, *layer.parameters()]
    return [output.detach().float(), *torch.autograd.grad(output, wanted, upstream)]


def spoil_free_memory() -> None:
    """Leaves NaN in what is allocated next, so that reading it shows."""
    sizes = [2**power for power in range(8, 21)] * 2
    spoilt = [torch.full((size,), float("nan")) for size in sizes]
    del spoilt
