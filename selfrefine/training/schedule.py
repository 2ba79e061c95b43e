"""The optimiser of a training, and its learning rate at each step."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """Settings of AdamW.

    The rate rises linearly to `learning_rate` over `warmup_steps`. It then falls along half a
    cosine to `final_rate` times that; with a `final_rate` of 1.0 it stays.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    final_rate: float

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first step is 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)


def adamw(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """An optimiser of all weights, at a rate of 0.

    Its moments exist already, so that the first step needs no more memory than any other.
    """
    weights = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=0.0, weight_decay=weight_decay, fused=True)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for moments in optimiser.state.values():
        moments["step"].zero_()
    optimiser.zero_grad(set_to_none=True)
    return optimiser


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Gives all weights the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
