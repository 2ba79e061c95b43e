"""The short format that a training multiplies in, and whether it can be trusted."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor, nn

from selfrefine.machine_settings import only_float32
from selfrefine.progress import Note

LARGEST_ERROR = 0.03
"""The largest relative error that a layer may have in bf16; rounding alone leaves .003."""

LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


@cache
def multiplies_in_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bf16. It does not where SELFREFINE_PRECISION is float32."""
    if only_float32():
        return False
    if device.type == "cuda":
        # Older GPUs emulate bf16 in software, slower than float32.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def autocast(device: torch.device, short: bool) -> AbstractContextManager[object]:
    """Lets networks multiply in bf16 if `short`. A CPU that has bf16 is then a fifth to a half
    faster, with results that are as good."""
    return torch.autocast(device.type, torch.bfloat16) if short else contextlib.nullcontext()


def is_doubtful(device: torch.device) -> bool:
    """Whether bf16 has to be checked on a device.

    On CPUs with AMX, oneDNN's strided convolutions are wrong for some numbers of channels. Where
    their output is narrow, they also read memory that was never written.
    """
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def trusts_bf16(
    model: nn.Module, device: torch.device, exact_step: Callable[[], object], note: Note
) -> bool:
    """Whether `model` can train in bf16 on `device`. Layers that the device gets wrong are noted.

    `exact_step` runs a training step in float32 that changes nothing. It is called only where
    `is_doubtful`.
    """
    if not multiplies_in_bf16(device):
        return False
    if not is_doubtful(device):
        return True
    wrong = layers_wrong_in_bf16(model, exact_step)
    if wrong:
        note(
            f"this CPU computes {len(wrong)} of the network's layers wrong in bf16, as "
            f"{wrong[0]}: it trains in float32"
        )
    return not wrong


def layers_wrong_in_bf16(model: nn.Module, step: Callable[[], object]) -> list[str]:
    """The names of convolutions and linear layers whose output or gradients bf16 gets wrong.

    Each layer is checked on the input that it gets in `step`, a training step in float32 that
    changes nothing. The gradient of the whole network would hide layers that count little at first.
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
    """Whether bf16 gives the same output of a layer, and the same gradients of its input and
    weights, as float32, up to `LARGEST_ERROR`."""
    exact = outcome(layer, given, short=False)
    spoil_free_memory()
    found = outcome(layer, given, short=True)
    pairs = [(own, other) for own, other in zip(found, exact, strict=True) if other.norm() > 0]
    # Written so that NaN fails too.
    return all(bool((own - other).norm() <= LARGEST_ERROR * other.norm()) for own, other in pairs)


def outcome(layer: nn.Module, given: Tensor, short: bool) -> list[Tensor]:
    """The output of a layer, then the gradients of its input and of each weight.

    The gradient of the output is the same random one each time.
    """
    given = given.clone().requires_grad_()
    with autocast(given.device, short):
        output = layer(given)
    generator = torch.Generator().manual_seed(0)
    upstream = torch.randn(output.shape, generator=generator).to(output)
    wanted = [given, *layer.parameters()]
    return [output.detach().float(), *torch.autograd.grad(output, wanted, upstream)]


def spoil_free_memory() -> None:
    """Leaves NaN in the memory that is allocated next, so that a layer that reads it unwritten is
    found."""
    sizes = [2**power for power in range(8, 21)] * 2
    spoilt = [torch.full((size,), float("nan")) for size in sizes]
    del spoilt
