"""The loss and the gradients of a step."""

from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor, nn

from selfrefine.randomness import generator_for
from selfrefine.training.drawing import BatchT
from selfrefine.training.precision import autocast
from selfrefine.training.task import Task


@dataclass(frozen=True)
class Gradients(Generic[BatchT]):
    """Computes losses and gradients of `model` on a task's batches, in bf16 if `short`."""

    model: nn.Module
    task: Task[BatchT]
    seed: int
    device: torch.device
    short: bool

    def compute(self, batch: BatchT, step: int, at_once: int) -> Tensor:
        """Leaves the gradients of a batch in the model. Returns the batch's loss, a scalar.

        At most `at_once` items go through the network together; the parts' gradients are summed.
        """
        # Dropout draws from torch's global generators.
        torch.manual_seed(generator_for(self.seed, step).initial_seed())
        self.model.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        for part, share in self.task.parts(batch, at_once):
            part_loss = self.part_loss(part, step) * share
            part_loss.backward()
            loss += part_loss.detach()
        return loss

    def part_loss(self, part: BatchT, step: int) -> Tensor:
        """The mean loss over the items of a part, a scalar."""
        with autocast(self.device, self.short):
            return self.task.loss(self.model, part, step)


def gradient_norm(model: nn.Module) -> Tensor:
    """The Euclidean norm of all gradients together, a scalar on the model's device."""
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
