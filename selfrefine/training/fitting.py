"""Making a training's step fit into its device's memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import StemPool, take_back
from selfrefine.progress import Note
from selfrefine.training.memory import free_memory, halved, unless_out_of_memory

Attempt = Callable[[int], Tensor]
"""Leaves a batch's gradients in the model and returns the batch's loss, a scalar. The argument is
how many items go through the network together."""


class Fitting:
    """Finds how many of a batch's `items` memory holds in the network together: `at_once`.

    Where memory runs out, the stems leave the GPU first, which changes nothing but speed. After
    that `at_once` is halved. The sum of the parts' gradients is the whole batch's, except for
    networks with batch normalisation, which sees a part at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        pool: StemPool | None,
        at_once: int,
        items: int,
        device: torch.device,
        note: Note,
    ) -> None:
        self.at_once = at_once
        self._items = items
        self._model = model
        self._pool = pool
        self._device = device
        self._note = note
        self._normalises = any(isinstance(part, _BatchNorm) for part in model.modules())
        self._buffers = list(model.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]

    def fitted(self, attempt: Attempt, step: int) -> Tensor:
        """Repeats `attempt` until memory lasts and returns its loss. Failed attempts leave no
        trace. Raises InputError where memory does not hold one item."""
        self._keep()
        before = self.at_once
        while (found := unless_out_of_memory(lambda: attempt(self.at_once))) is None:
            self._restore()
            if not self._shrink():
                return self._last(attempt)
        if self.at_once != before:
            self._note(self._words(step))
        return found[0]

    def without_effect(self, attempt: Attempt) -> None:
        """Finds what fits, as `fitted` does. The model keeps its buffers and has no gradients."""
        self.fitted(attempt, 0)
        self._restore()
        self._model.zero_grad(set_to_none=True)

    def _keep(self) -> None:
        """Copies the buffers, in which batch normalisation counts failed attempts too."""
        for kept, buffer in zip(self._kept, self._buffers, strict=True):
            kept.copy_(buffer)

    def _restore(self) -> None:
        for kept, buffer in zip(self._kept, self._buffers, strict=True):
            buffer.copy_(kept)

    def _shrink(self) -> bool:
        """Makes the next attempt smaller and frees memory. Returns False if it is as small as it
        can be."""
        smaller = True
        if self._pool is not None and take_back(self._pool):
            self._note("memory ran out: the stems stay on the host, and the step is repeated")
        elif self.at_once > 1:
            self.at_once = halved(self.at_once)
        else:
            smaller = False
        free_memory(self._device)
        return smaller

    def _last(self, attempt: Attempt) -> Tensor:
        """Tries one item in all memory that can be freed. The InputError for a failure quotes
        torch's error."""
        try:
            return attempt(self.at_once)
        except (RuntimeError, MemoryError) as error:
            raise InputError(
                f"the memory of {self._device} does not hold the network and one item of a batch; "
                "end what else uses it, or train on another device (SELFREFINE_DEVICE): "
                f"{(str(error) or repr(error)).splitlines()[0]}"
            ) from error

    def _words(self, step: int) -> str:
        words = (
            f"memory ran out at step {step}: from here on {self.at_once} of a batch's "
            f"{self._items} items go through the network together; "
            f"SELFREFINE_ITEMS_AT_ONCE={self.at_once} begins so"
        )
        if self._normalises:
            words += "; batch normalisation sees these alone, which changes the result a little"
        return words
