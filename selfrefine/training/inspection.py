"""Looking at a model now and then while it trains."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from selfrefine.progress import Note, ignore
from selfrefine.training.memory import free_memory, unless_out_of_memory

INSPECTIONS = 6
"""How often a training is looked at: evenly over its steps, the last time at its end."""

ATTEMPTS = 2
"""How often a look is tried when memory runs out."""

Inspect = Callable[[nn.Module, int, int], None]
"""Looks at a model after so many of so many steps. The model evaluates, without gradients."""


class Inspections:
    """Has `inspect` look at a training model; nobody looks where it is None."""

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
        """Whether the model is looked at after `step` steps."""
        return step in self._due

    def look(self, step: int) -> None:
        """Has the model looked at after `step` steps. The model and torch's generators stay as they
        were.

        A look that memory does not hold is left out, since the training can do without.
        """
        look = partial(self._inspect, self._model, step, self._steps)
        gpus = [self._device] if self._device.type == "cuda" else []
        self._model.eval()
        with torch.random.fork_rng(devices=gpus), torch.no_grad():
            for _ in range(ATTEMPTS):
                if unless_out_of_memory(look):
                    break
                free_memory(self._device)
            else:
                self._note(f"not looked at after step {step}: memory ran out")
        self._model.train()


def inspected_steps(steps: int) -> set[int]:
    """After how many of `steps` steps a training is looked at."""
    return {math.ceil(steps * look / INSPECTIONS) for look in range(1, INSPECTIONS + 1)}
