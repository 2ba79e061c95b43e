"""Inspecting a model a few times while it trains."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from selfrefine.progress import Note, ignore
from selfrefine.training.compiling import uncompiled
from selfrefine.training.memory import free_memory, unless_out_of_memory

INSPECTIONS = 6
"""How often a training is inspected: evenly over its steps, the last time at its end."""

ATTEMPTS = 2
"""How often an inspection is tried when memory runs out."""

Inspect = Callable[[nn.Module, int, int], None]
"""Inspects a model, given how many steps are done and how many there are in all. The model is in
evaluation mode, without gradients."""


class Inspections:
    """Calls `inspect` on a model while it trains. Nothing is inspected where that is None."""

    def __init__(
        self,
        inspect: Inspect | None,
        model: nn.Module,
        steps: int,
        device: torch.device,
        note: Note,
    ) -> None:
        self._inspect = inspect or ignore
        self._model = model
        self._steps = steps
        self._due = inspected_steps(steps) if inspect else set()
        self._device = device
        self._note = note

    def due(self, step: int) -> bool:
        """Whether the model is inspected after `step` steps."""
        return step in self._due

    def look(self, step: int) -> None:
        """Inspects the model after `step` steps. The model and torch's generators stay as they
        were.

        An inspection is left out where memory does not hold it: the training does not need it.
        """
        look = partial(self._inspect, self._model, step, self._steps)
        gpus = [self._device] if self._device.type == "cuda" else []
        self._model.eval()
        with torch.random.fork_rng(devices=gpus), torch.no_grad(), uncompiled():
            for _ in range(ATTEMPTS):
                if unless_out_of_memory(look):
                    break
                free_memory(self._device)
            else:
                self._note(f"not looked at after step {step}: memory ran out")
        self._model.train()


def inspected_steps(steps: int) -> set[int]:
    """The numbers of steps after which a training of `steps` steps is inspected."""
    return {math.ceil(steps * look / INSPECTIONS) for look in range(1, INSPECTIONS + 1)}
