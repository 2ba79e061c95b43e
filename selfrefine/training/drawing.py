"""Batches for a training, drawn ahead by a thread where that helps.

A batch depends on the seed and the step alone, so it does not matter when it is drawn and by which
thread.
"""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import torch

from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import StemPool, take_back
from selfrefine.randomness import generator_for
from selfrefine.threads import one_thread
from selfrefine.training.device import draws_ahead, wait_for_device
from selfrefine.training.memory import free_memory, unless_out_of_memory

TIMED_DRAWS = 4
"""Over how many draws the time of one is averaged on a GPU. With `source_uses`, draws do not cost
the same."""

log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")
Draw = Callable[[int, torch.Generator], BatchT]
"""Makes the batch of a step from its generator, on the training's device."""


@dataclass(frozen=True)
class Draws(Generic[BatchT]):
    """How the batches of a training are drawn.

    `draw` takes stems from `pool`, which leaves the GPU where memory runs out. None stands for
    stems that never are on a GPU.
    """

    draw: Draw[BatchT]
    pool: StemPool | None
    seed: int
    device: torch.device

    def of_step(self, step: int) -> BatchT:
        """The batch of a step. Raises what torch raises when memory runs out."""
        return self.draw(step, generator_for(self.seed, step))


@contextmanager
def drawn_batches(draws: Draws[BatchT], steps: range) -> Iterator[Iterator[BatchT]]:
    """Yields the batches of `steps`. Where `draws_ahead` says so, a thread draws each batch while
    the network works on the one before.

    On a CPU the network then has one thread, so that another core is free for drawing. Taking a
    batch raises what `draw_now` raises.
    """
    if not draws_ahead(draws.device):
        yield (draw_now(draws, step) for step in steps)
        return
    with ExitStack() as stack:
        if draws.device.type == "cpu":
            stack.enter_context(one_thread())
        drawing = stack.enter_context(ThreadPoolExecutor(1, "draw", torch.set_num_threads, (1,)))
        yield one_ahead(drawing, draws, steps)


def one_ahead(drawing: ThreadPoolExecutor, draws: Draws[BatchT], steps: range) -> Iterator[BatchT]:
    """Yields the batches of `steps`. Meanwhile `drawing` draws the next one.

    Memory may not hold a batch beside the step before. Such a batch is drawn again while the
    network waits, with the stems off the GPU. If they were not on it, no batch is drawn ahead any
    more.
    """
    coming = [drawing.submit(draws.of_step, step) for step in steps[:1]]
    ahead = True
    for step in steps:
        # Only `coming` holds the future, and with it the tensors of a failed attempt.
        found = unless_out_of_memory(coming.pop().result) if coming else None
        if found is None and ahead:
            ahead = draws.pool is not None and take_back(draws.pool)
            log.warning(
                "memory does not hold a batch that is drawn ahead: %s",
                "the stems stay on the host" if ahead else "batches are drawn in turn",
            )
        batch = found[0] if found else draw_now(draws, step)
        del found
        if ahead and step + 1 in steps:
            coming.append(drawing.submit(draws.of_step, step + 1))
        yield batch
        del batch


def draw_now(draws: Draws[BatchT], step: int) -> BatchT:
    """The batch of a step. Where memory runs out, the stems leave the GPU and the batch is drawn
    again. Raises InputError where memory then runs out too."""
    for _ in range(2):
        found = unless_out_of_memory(partial(draws.of_step, step))
        if found:
            return found[0]
        if draws.pool is not None:
            take_back(draws.pool)
        free_memory(draws.device)
    raise InputError(
        f"the memory of {draws.device} does not hold one batch beside the network; end what else "
        "uses it, or train on another device (SELFREFINE_DEVICE)"
    )


def seconds_of_a_draw(draws: Draws[BatchT], step: int) -> float:
    """Mean seconds until the device has finished a draw, over `TIMED_DRAWS` steps from `step`."""
    wait_for_device(draws.device)
    began = time.monotonic()
    for later in range(step, step + TIMED_DRAWS):
        draw_now(draws, later)
    wait_for_device(draws.device)
    return (time.monotonic() - began) / TIMED_DRAWS
