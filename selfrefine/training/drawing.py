"""Batches for a training, drawn ahead by a thread where that helps.

A batch depends on the seed and the step alone, so it is the same whoever draws it, and when.
"""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch

from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import StemPool, take_back
from selfrefine.randomness import generator_for
from selfrefine.threads import one_thread
from selfrefine.training.device import draws_ahead
from selfrefine.training.memory import free_memory, unless_out_of_memory
from selfrefine.training.speed import wait

TIMED_DRAWS = 4
"""Over how many draws one is timed on a GPU: with `source_uses` they do not cost alike."""

log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")
Draw = Callable[[int, torch.Generator], BatchT]
"""Makes the batch of a step from its generator, on the training's device."""


@contextmanager
def drawn_batches(
    draw: Draw[BatchT], pool: StemPool | None, seed: int, steps: range, device: torch.device
) -> Iterator[Iterator[BatchT]]:
    """The batches of `steps`, where `draws_ahead` says so each drawn while the network is at the
    one before.

    On a CPU the network then has one thread, so that drawing has another core. Where memory runs
    out, `pool` leaves the GPU and the batch is drawn again, while the network waits.
    """

    def drawn(step: int) -> BatchT:
        return draw(step, generator_for(seed, step))

    def now(step: int) -> BatchT:
        return draw_now(draw, pool, seed, step, device)

    if not draws_ahead(device):
        yield (now(step) for step in steps)
        return
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(one_thread())
        drawing = stack.enter_context(ThreadPoolExecutor(1, "draw", torch.set_num_threads, (1,)))
        yield one_ahead(drawing, drawn, now, pool, steps)


def one_ahead(
    drawing: ThreadPoolExecutor,
    drawn: Callable[[int], BatchT],
    now: Callable[[int], BatchT],
    pool: StemPool | None,
    steps: range,
) -> Iterator[BatchT]:
    """A batch that did not fit into memory beside the step before is drawn `now`, with `pool` away
    from the GPU; where it was, no batch is drawn ahead any more."""
    coming = [drawing.submit(drawn, step) for step in steps[:1]]
    ahead = True
    for step in steps:
        # The future is let go of here, and with it the error of a failed attempt.
        found = unless_out_of_memory(coming.pop().result) if coming else None
        if found is None and ahead:
            ahead = pool is not None and take_back(pool)
            log.warning(
                "memory does not hold a batch that is drawn ahead: %s",
                "the stems stay on the host" if ahead else "batches are drawn in turn",
            )
        batch = found[0] if found else now(step)
        del found
        if ahead and step + 1 in steps:
            coming.append(drawing.submit(drawn, step + 1))
        yield batch
        del batch


def draw_now(
    draw: Draw[BatchT], pool: StemPool | None, seed: int, step: int, device: torch.device
) -> BatchT:
    """The batch of a step; where memory runs out, once more without `pool` on the GPU. Raises
    InputError where it runs out again."""
    for _ in range(2):
        found = unless_out_of_memory(lambda: draw(step, generator_for(seed, step)))
        if found:
            return found[0]
        if pool is not None:
            take_back(pool)
        free_memory(device)
    raise InputError(
        f"the memory of {device} does not hold one batch beside the network; end what else uses "
        "it, or train on another device (SELFREFINE_DEVICE)"
    )


def seconds_of_a_draw(
    draw: Draw[BatchT], pool: StemPool | None, seed: int, step: int, device: torch.device
) -> float:
    """Until the device has done all of it: the mean over the draws of `TIMED_DRAWS` steps."""
    wait(device)
    began = time.monotonic()
    for later in range(step, step + TIMED_DRAWS):
        draw_now(draw, pool, seed, later, device)
    wait(device)
    return (time.monotonic() - began) / TIMED_DRAWS
