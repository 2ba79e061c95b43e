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
    """The GPU if there is one, else the CPU; SELFREFINE_DEVICE chooses another.

    Whatever trains or applies a network calls this first. It therefore raises InputError for any
    machine setting that cannot be used, and for a GPU that is not there.
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
    """How many of a batch's items go through the network together, so that a small GPU can train
    with a large batch.

    SELFREFINE_ITEMS_AT_ONCE comes first, then the number that is `known` to fit, then the whole
    batch.
    """
    return min(batch, chosen_items_at_once() or known or batch)


def wait_for_device(device: torch.device) -> None:
    """Returns when a GPU has finished what it was given; at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_left(device: torch.device) -> int:
    """Bytes of a GPU that a stem set may take beside the most that torch has held so far.

    A tenth of the memory stays free: batches differ, and other trainings may run on the same GPU.
    """
    free, total = torch.cuda.mem_get_info(device)
    given_back = torch.cuda.max_memory_reserved(device) - torch.cuda.memory_reserved(device)
    return max(0, free - given_back - total // 10)


def draws_ahead(device: torch.device) -> bool:
    """Whether a thread of its own draws each batch while the network works on the one before.

    SELFREFINE_DRAW_AHEAD says yes with 1 and no with 0. Where it is not set, a GPU draws ahead, and
    a CPU with two cores. On two cores a second thread helps a small network no more than drawing
    ahead does, and it is many times slower than one thread when another process wants a core.
    """
    chosen = chosen_draw_ahead()
    return device.type == "cuda" or os.cpu_count() == 2 if chosen is None else chosen
