"""What a training does when the memory of its device runs out: goes on with fewer items at once."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

ALLOCATION_FAILED = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    # cuBLAS makes its workspace with its handle.
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUFFT_ALLOC_FAILED",
    "CUFFT_INTERNAL_ERROR",
    # After each of a convolution's plans has found too little memory.
    "unable to find an engine to execute this computation",
    "DefaultCPUAllocator: can't allocate memory",
)
"""Of libraries and devices that have no error of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(what in str(error) for what in ALLOCATION_FAILED)


def unless_out_of_memory(work: Callable[[], Result]) -> tuple[Result] | None:
    """What `work` gives, in a tuple; None where memory ran out.

    The error is gone when this returns. Its traceback holds the tensors of the failed attempt, so
    that nothing could be freed before.
    """
    try:
        return (work(),)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return None


def free_memory(device: torch.device) -> None:
    """Gives back what a failed attempt left, and counts the peak of memory anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def slices(items: int, at_once: int) -> list[slice]:
    """A batch cut into what goes through the network together."""
    return [slice(first, min(first + at_once, items)) for first in range(0, items, at_once)]


def halved(items: int) -> int:
    return (items + 1) // 2
