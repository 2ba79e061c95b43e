"""Recognising that memory ran out, and using less of it."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from selfrefine.errors import InputError

WorkT = TypeVar("WorkT")

ALLOCATION_FAILED = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    # cuBLAS reports this where its workspace, which it makes with its handle, finds no memory.
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUFFT_ALLOC_FAILED",
    "CUFFT_INTERNAL_ERROR",
    # cuDNN reports this where each plan of a convolution found too little memory.
    "unable to find an engine to execute this computation",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)
"""Parts of the messages by which libraries say that memory ran out, where their errors have no type
of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(what in str(error) for what in ALLOCATION_FAILED)


def unless_out_of_memory(work: Callable[[], WorkT]) -> tuple[WorkT] | None:
    """Calls `work` and returns its result in a tuple, or None where memory ran out.

    The error does not outlive the call: its traceback would keep the tensors of the failed attempt
    from being freed. Other errors are raised.
    """
    try:
        return (work(),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


@contextmanager
def named_memory_errors() -> Iterator[None]:
    """Raises InputError, with the remedy, where memory runs out in the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(
            f"memory ran out ({reason}); end what else uses it, run fewer trainings at once "
            "(--workers), or let fewer items go through the network together "
            "(SELFREFINE_ITEMS_AT_ONCE=1)"
        ) from error


def free_memory(device: torch.device) -> None:
    """Gives memory that nothing uses back to the device, and starts measuring the peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def slices(items: int, at_once: int) -> list[slice]:
    """Cuts `items` items into slices of at most `at_once`."""
    return [slice(first, min(first + at_once, items)) for first in range(0, items, at_once)]


def halved(items: int) -> int:
    """Half of a number of items, rounded up."""
    return (items + 1) // 2
