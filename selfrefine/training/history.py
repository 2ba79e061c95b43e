"""The losses and times of a training's steps, also of those before it was resumed."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class History:
    """The steps of a training so far: the loss of each, and the sums of their seconds and of their
    seconds for data. `resumed_at` are the seconds of those before the training was last resumed.

    A checkpoint of an earlier version has none; then only the steps since it are counted.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    data_seconds: float = 0.0
    resumed_at: float = field(default=0.0, compare=False)

    def add(self, losses: list[float], seconds: float, data_seconds: float) -> None:
        """Adds steps with the mean time of one, and its mean time for data."""
        self.losses += losses
        self.seconds += len(losses) * seconds
        self.data_seconds += len(losses) * data_seconds

    def final_loss(self) -> float:
        """The mean loss of the last tenth of the steps; 0 where none is known."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / max(1, len(last))


def history_tensors(history: History) -> dict[str, Tensor]:
    """The history as it stands in a checkpoint."""
    seconds = [history.seconds, history.data_seconds]
    return {
        "losses": torch.tensor(history.losses, dtype=torch.float64),
        "seconds": torch.tensor(seconds, dtype=torch.float64),
    }


def history_of(state: Any) -> History:
    """The history that `history_tensors` wrote. Raises ValueError for anything else."""
    try:
        losses, seconds = state["losses"].tolist(), state["seconds"].tolist()
        if not all(map(math.isfinite, [*losses, *seconds])):
            raise ValueError("losses or times that are not finite")
        in_all, for_data = seconds
        return History(losses, in_all, for_data, resumed_at=in_all)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("no losses and times") from error
