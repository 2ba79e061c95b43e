"""The device that trains, and its precision."""

import contextlib
import os
from contextlib import AbstractContextManager
from functools import cache

import torch

from selfrefine.errors import InputError


def training_device() -> torch.device:
    """The GPU when there is one; SELFREFINE_DEVICE names another."""
    chosen = os.environ.get("SELFREFINE_DEVICE")
    return torch.device(chosen or ("cuda" if torch.cuda.is_available() else "cpu"))


def prepare(device: torch.device) -> None:
    """Lets matrix products use the device's fast short formats: TF32 on a GPU, bf16 on CPUs that
    multiply in it. Sums stay in float32."""
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "medium")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = device.type == "cuda"


def items_at_once(batch: int) -> int:
    """How many of a batch's items go through the network together: SELFREFINE_ITEMS_AT_ONCE, or
    all. Gradients of the parts are summed, so that a small GPU can train with a large batch."""
    chosen = os.environ.get("SELFREFINE_ITEMS_AT_ONCE")
    if chosen is None:
        return batch
    if not chosen.isdecimal() or int(chosen) < 1:
        raise InputError(f"SELFREFINE_ITEMS_AT_ONCE={chosen}: give a number of 1 or more")
    return min(batch, int(chosen))


def draws_ahead(device: torch.device) -> bool:
    """Whether batches are drawn by a thread of their own while the network is at the one before.

    SELFREFINE_DRAW_AHEAD says so with 1 and not with 0. Else a GPU's are, and those of a CPU with
    two cores: there a second thread helps a small network no more than that, and is many times
    slower than one when another process wants a core.
    """
    chosen = os.environ.get("SELFREFINE_DRAW_AHEAD", "")
    if chosen not in ("", "0", "1"):
        raise InputError(f"SELFREFINE_DRAW_AHEAD={chosen}: give 0 or 1")
    return chosen == "1" if chosen else device.type == "cuda" or os.cpu_count() == 2


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where the device multiplies in it: a fifth faster on such a CPU, and as good."""
    if multiplies_in_bf16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


@cache
def multiplies_in_bf16(device: torch.device) -> bool:
    """SELFREFINE_PRECISION=float32 says no for every device."""
    if os.environ.get("SELFREFINE_PRECISION") == "float32":
        return False
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
