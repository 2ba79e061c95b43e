"""How fast a device computes, and how many operations and how much memory a training takes."""

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from selfrefine.training.compiling import uncompiled
from selfrefine.training.device import wait_for_device
from selfrefine.training.drawing import BatchT
from selfrefine.training.gradients import Gradients
from selfrefine.training.memory import unless_out_of_memory
from selfrefine.training.precision import multiplies_in_bf16

Shape = torch.Size

PEAK_SIZE = {"cpu": 1536, "cuda": 8192}
PEAK_ROUNDS = 4
BACKWARD = 2
"""The backward pass has two products for each product of the forward pass."""


def batch_flops(gradients: Gradients[BatchT], batch: BatchT, step: int, at_once: int) -> int:
    """Floating-point operations of a step on the whole batch, counted on its first part of
    `at_once` items. 0 where memory does not hold that."""
    part, share = gradients.task.parts(batch, at_once)[0]
    found = unless_out_of_memory(lambda: step_flops(lambda: gradients.part_loss(part, step)))
    return round(found[0] / share) if found else 0


def step_flops(forward: Callable[[], Any]) -> int:
    """Floating-point operations of a training step whose forward pass is `forward`.

    Convolutions and matrix products are counted. The backward pass is not run; it counts as twice
    the forward pass.
    """
    recurrent = {
        torch.ops.aten.mkldnn_rnn_layer: layer_flops,
        torch.ops.aten._cudnn_rnn: stack_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=recurrent)
    # Operations inside a compiled part could not be seen.
    with torch.no_grad(), uncompiled(), counter:
        forward()
    return (1 + BACKWARD) * counter.get_total_flops()


def layer_flops(shape: Shape, of_input: Shape, of_state: Shape, *rest: Any, **more: Any) -> int:
    """The operations of one direction of one recurrent layer on the CPU: two per weight, time step
    and item."""
    return 2 * math.prod(shape[:2]) * (math.prod(of_input) + math.prod(of_state))


def stack_flops(shape: Shape, weights: list[Shape], *rest: Any, **more: Any) -> int:
    """The operations of all recurrent layers and directions on a GPU: two per weight, time step and
    item."""
    # Biases have one dimension.
    matrices = [math.prod(weight) for weight in weights if len(weight) == 2]
    return 2 * math.prod(shape[:2]) * sum(matrices)


def peak_flops(device: torch.device) -> float:
    """Floating-point operations per second of a large matrix product in the training's format."""
    size = PEAK_SIZE["cuda" if device.type == "cuda" else "cpu"]
    kind = torch.bfloat16 if multiplies_in_bf16(device) else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(PEAK_ROUNDS):
        wait_for_device(device)
        began = time.perf_counter()
        a @ b
        wait_for_device(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def peak_memory(device: torch.device) -> int:
    """The most bytes that torch has held on a GPU, or this process in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
