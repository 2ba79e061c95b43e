"""The device that trains."""

import os

import torch

from selfrefine.errors import InputError
from selfrefine.machine_settings import (
    chosen_device,
    chosen_draw_ahead,
    chosen_items_at_once,
    refuse_bad_settings,
)


def training_device() -> torch.device:
    """The GPU when there is one; SELFREFINE_DEVICE names another.

    Whoever trains or applies a network asks this first, so it raises InputError for any machine
    setting that cannot be used, and for a GPU that is not there.
    """
    refuse_bad_settings()
    chosen = chosen_device()
    if chosen is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(chosen)
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        found = f"torch finds {gpus} of them" if gpus else "torch finds none"
        raise InputError(
            f"SELFREFINE_DEVICE={chosen}: no such GPU here, {found}; give cpu, or unset it for the "
            "best there is"
        )
    return device


def prepare(device: torch.device) -> None:
    """Lets matrix products use the device's fast short formats: TF32 on a GPU, bf16 on CPUs that
    multiply in it. Sums stay in float32."""
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "medium")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = device.type == "cuda"


def items_at_once(batch: int, known: int | None = None) -> int:
    """How many of a batch's items go through the network together: SELFREFINE_ITEMS_AT_ONCE, or so
    many as are `known` to fit, or all. Gradients of the parts are summed, so that a small GPU can
    train with a large batch."""
    return min(batch, chosen_items_at_once() or known or batch)


def memory_left(device: torch.device) -> int:
    """Bytes that a stem set may take of a GPU beside what torch held of it at most so far. A tenth
    of the memory stays free: batches differ, and other trainings may run on the same GPU."""
    free, total = torch.cuda.mem_get_info(device)
    given_back = torch.cuda.max_memory_reserved(device) - torch.cuda.memory_reserved(device)
    return max(0, free - given_back - total // 10)


def draws_ahead(device: torch.device) -> bool:
    """Whether batches are drawn by a thread of their own while the network is at the one before.

    SELFREFINE_DRAW_AHEAD says so with 1 and not with 0. Else a GPU's are, and those of a CPU with
    two cores: there a second thread helps a small network no more than that, and is many times
    slower than one when another process wants a core.
    """
    chosen = chosen_draw_ahead()
    return device.type == "cuda" or os.cpu_count() == 2 if chosen is None else chosen
