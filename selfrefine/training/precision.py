"""The short format that a training multiplies in, and whether it can be trusted."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor

from selfrefine.machine_settings import only_float32

LEAST_COSINE = 0.95
"""Between the gradients of one batch in float32 and in bf16; rounding leaves .998 and more."""


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


def short_is_right(gradient: Callable[[bool], Tensor]) -> bool:
    """Whether the gradient of a batch in bf16, `gradient(True)`, is that of float32."""
    exact = gradient(False)
    spoil_free_memory()
    found = gradient(True)
    # NaN is no agreement.
    return bool(torch.nn.functional.cosine_similarity(found, exact, dim=0) >= LEAST_COSINE)


def spoil_free_memory() -> None:
    """Leaves NaN in what is allocated next, so that reading it shows."""
    sizes = [2**power for power in range(8, 23)] * 2
    spoilt = [torch.full((size,), float("nan")) for size in sizes]
    del spoilt
