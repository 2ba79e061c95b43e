"""The losses of a training between two of its reports."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from selfrefine.errors import InputError


class Unread(NamedTuple):
    """A step whose loss and gradient norm, both scalars, the GPU may not have computed yet."""

    step: int
    loss: Tensor
    norm: Tensor
    sources: list[str]


class Losses:
    """Losses and gradient norms since the last report.

    They are read as late as possible, since reading waits for the GPU.
    """

    def __init__(self) -> None:
        self._unread: list[Unread] = []
        self._read: list[tuple[float, float]] = []

    @property
    def count(self) -> int:
        """How many steps were added since the last report."""
        return len(self._unread) + len(self._read)

    def add(self, step: int, loss: Tensor, norm: Tensor, sources: list[str]) -> None:
        """Adds a step. `loss` and `norm` are scalars; `sources` names the stems of its batch."""
        self._unread.append(Unread(step, loss, norm, sources))

    def read(self) -> None:
        """Waits for the losses of all steps so far.

        Raises InputError for the first step whose loss or gradient norm is not finite. The message
        names the stems of its batch.
        """
        if not self._unread:
            return
        # One tensor, so that the CPU waits for the GPU once.
        values = torch.stack([torch.stack((each.loss, each.norm)) for each in self._unread])
        for each, (loss, norm) in zip(self._unread, values.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                named = ", ".join(sorted(set(each.sources)))
                raise InputError(
                    f"the loss is {loss} and the gradient's norm {norm} at step {each.step}; look "
                    "for broken audio in the stems of that batch, or lower the learning rate: "
                    f"{named}"
                )
            self._read.append((loss, norm))
        self._unread = []

    def take(self) -> tuple[list[float], float]:
        """The losses of all steps since the last report, and the last gradient norm; forgets both.

        Raises what `read` raises.
        """
        self.read()
        taken, self._read = self._read, []
        return [loss for loss, _ in taken], taken[-1][1]
