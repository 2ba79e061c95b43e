"""The work that a training does once, before its first step, so that no step takes longer."""

from functools import partial

from selfrefine.mixing.stem_pool import StemPool, place_on_device
from selfrefine.training.device import memory_left
from selfrefine.training.drawing import BatchT, Draws, draw_now, seconds_of_a_draw
from selfrefine.training.fitting import Fitting
from selfrefine.training.gradients import Gradients
from selfrefine.training.memory import free_memory, unless_out_of_memory

REHEARSALS = 2
"""In the first rehearsal cuDNN chooses its algorithms, which takes more memory than they need
later. The second shows how much memory a step needs."""


def warm_up(
    draws: Draws[BatchT], gradients: Gradients[BatchT], fitting: Fitting, step: int
) -> float:
    """Makes everything ready for `step`, the first of a training; changes no weight.

    The first draw compiles code and fills a bank of sources. A GPU also rehearses the step, and
    takes the stems if its memory holds them beside it. Returns the seconds of a draw on a GPU, 0.0
    on a CPU. Raises InputError when memory does not hold one item.
    """
    batch = draw_now(draws, step)
    if draws.device.type != "cuda":
        return 0.0
    for _ in range(REHEARSALS):
        free_memory(draws.device)
        fitting.without_effect(partial(gradients.compute, batch, step))
    if draws.pool is not None:
        place_stems(draws.pool)
    return seconds_of_a_draw(draws, step + 1)


def place_stems(pool: StemPool) -> None:
    """Moves the stems to the GPU if its memory holds them; else they stay on the host."""
    room = memory_left(pool.device)
    # Another process may take that memory first.
    unless_out_of_memory(lambda: place_on_device(pool, room))
