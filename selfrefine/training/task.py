"""The parts of the training loop that differ between trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from torch import Tensor, nn

from selfrefine.mixing.stem_pool import StemPool
from selfrefine.training.drawing import BatchT, Draw


@dataclass(frozen=True)
class Task(Generic[BatchT]):
    """The batches that a training draws and the loss that it minimises.

    - `draw(step, generator)` makes a batch of `items` items on the training's device. It may run in
      a thread of its own.
    - `parts(batch, at_once)` splits a batch into parts of at most `at_once` items. Each part comes
      with its share of the batch's items; the shares sum to 1.
    - `loss(model, part, step)` is a scalar, the mean over the part's items.
    - `sources(batch)` names the stems in a batch. The message about a loss that is not finite
      shows them.
    - `pool` holds the stems that batches are drawn from; None where no stems are ever on a GPU.
    """

    draw: Draw[BatchT]
    parts: Callable[[BatchT, int], list[tuple[BatchT, float]]]
    loss: Callable[[nn.Module, BatchT, int], Tensor]
    sources: Callable[[BatchT], list[str]]
    items: int
    pool: StemPool | None = None
