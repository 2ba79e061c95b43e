"""What stages and the engine exchange: the work that a stage gets, and the cost that it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.trainings.step_cost import StepCost
from selfrefine.progress import Progress

TABLE_SECONDS = 0.1
"""A stage that only works on tables takes this long."""


@dataclass(frozen=True)
class Work:
    """The place where a stage computes, and what it reports to.

    `folder` is its own in the `store`; `cores` are for it alone. A training is watched with the
    songs or stems of `watched_with`, if any: `validated(step, values)` takes what it reaches on
    them.
    """

    store: Store
    folder: Path
    progress: Progress
    watched_with: Stage | None
    validated: Callable[[int, dict[str, float]], None]
    cores: int


@dataclass(frozen=True)
class Cost:
    """`seconds` on one core or the GPU; `memory` in words, empty where it is little."""

    seconds: float
    memory: str = ""


StepCostOf = Callable[[Any], StepCost]
"""Gives the cost of a step of a training, which is given as its stage, on some device."""
