"""The checkpoints of a training, and the weights that it leaves."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfrefine.machine_settings import chosen_checkpoint_seconds
from selfrefine.models.weights import (
    all_finite,
    damaged_file,
    has_form,
    read_tensors,
    save_tensors,
)
from selfrefine.training.history import History, history_of, history_tensors

USUAL_SECONDS = 20.0
"""Seconds between two checkpoints, unless writing one takes long."""
SHARE = 0.02
"""The share of a training's time that checkpoints may take."""
BYTES_PER_SECOND = 5e8
"""The assumed speed of a disk, until the first checkpoint is timed."""


class Checkpoints:
    """The files of a training in `folder`: `checkpoint.pt` while it runs, `model.pt` at its end.

    `training` are the numbers by which a checkpoint is known to be of this training. A checkpoint
    is due SELFREFINE_CHECKPOINT_SECONDS after the one before. Where that is not set, the pause is
    so long that all checkpoints take `SHARE` of the training, and at least `USUAL_SECONDS`.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        training: dict[str, float],
    ) -> None:
        self._checkpoint = folder / "checkpoint.pt"
        self._weights = folder / "model.pt"
        self._model = model
        self._optimiser = optimiser
        self._training = training
        self._chosen = chosen_checkpoint_seconds()
        # AdamW keeps two moments of each weight.
        size = 3 * sum(weight.numel() * weight.element_size() for weight in model.parameters())
        self._cost = size / BYTES_PER_SECOND
        self._saved = time.monotonic()

    def resume(self, steps: int) -> tuple[int, History]:
        """Restores model and optimiser from the checkpoint. Returns how many of the `steps` steps
        are done, and their history: 0 and an empty one where there is no checkpoint.

        Removes partial files, which a training leaves when it is killed while it writes. Raises
        InputError for a checkpoint that is damaged or of another training.
        """
        for path in (self._checkpoint, self._weights):
            for part in path.parent.glob(f"{path.name}.*.partial"):
                part.unlink(missing_ok=True)
        if not self._checkpoint.exists():
            return 0, History()
        try:
            state = read_tensors(self._checkpoint)
            refuse_other_training(state, self._model, self._optimiser, self._training, steps)
            history = history_of(state["history"]) if "history" in state else History()
        except (OSError, ValueError) as error:
            raise damaged_file(self._checkpoint, error) from error
        self._model.load_state_dict(state["model"])
        groups = self._optimiser.state_dict()["param_groups"]
        moments = state["optimiser"]["state"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        return state["step"], history

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        pause = max(USUAL_SECONDS, self._cost / SHARE) if self._chosen is None else self._chosen
        return time.monotonic() - self._saved > pause

    def save(self, step: int, history: History) -> None:
        """Writes a checkpoint of a training that has done `step` steps. Raises InputError when the
        disk does not take it."""
        began = time.monotonic()
        more = {"step": step, "history": history_tensors(history), "training": self._training}
        save_checkpoint(self._checkpoint, self._model, self._optimiser, more)
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def finish(self) -> None:
        """Writes the trained weights and removes the checkpoint. Raises InputError when the disk
        does not take them."""
        save_tensors({"model": self._model.state_dict()}, self._weights)
        self._checkpoint.unlink(missing_ok=True)


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, more: dict[str, Any]
) -> None:
    """Writes what a training needs to go on."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    save_tensors(state | more, path)


def refuse_other_training(
    state: dict[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    training: dict[str, float],
    steps: int,
) -> None:
    """Raises ValueError for what a checkpoint held if it is not of this training of `steps`
    steps."""
    step, own = state.get("step"), state.get("optimiser")
    # Only the moments: the settings of the optimiser are those of the training.
    moments = own.get("state") if isinstance(own, dict) else None
    if not has_form(state.get("model"), model.state_dict()) or not has_form(
        moments, optimiser.state_dict()["state"]
    ):
        raise ValueError("of another network")
    if not all_finite(state["model"]) or not all_finite(moments):
        raise ValueError("values that are not finite")
    if type(step) is not int or not 0 <= step <= steps:
        raise ValueError("no number of steps")
    # A checkpoint of an earlier version does not say what it is of.
    if state.get("training", training) != training:
        raise ValueError("of a training with another seed or other settings")
