"""The checkpoints of a training, and the weights that it leaves."""

import time
from pathlib import Path

import torch
from torch import nn

from selfrefine.machine_settings import chosen_checkpoint_seconds
from selfrefine.models.weights import save_tensors

USUAL_SECONDS = 20.0
"""Seconds between two checkpoints, unless writing one takes long."""
SHARE = 0.02
"""The share of a training's time that checkpoints may take."""
BYTES_PER_SECOND = 5e8
"""The assumed speed of a disk, until the first checkpoint is timed."""


class Checkpoints:
    """The files of a training in `folder`: `checkpoint.pt` while it runs, `model.pt` at its end.

    A checkpoint is due SELFREFINE_CHECKPOINT_SECONDS after the one before. Where that is not set,
    the pause is so long that all checkpoints take `SHARE` of the training, and at least
    `USUAL_SECONDS`.
    """

    def __init__(self, folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._checkpoint = folder / "checkpoint.pt"
        self._weights = folder / "model.pt"
        self._model = model
        self._optimiser = optimiser
        self._chosen = chosen_checkpoint_seconds()
        # AdamW keeps two moments of each weight.
        size = 3 * sum(weight.numel() * weight.element_size() for weight in model.parameters())
        self._cost = size / BYTES_PER_SECOND
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Restores model and optimiser from the checkpoint. Returns how many steps are done: 0
        where there is no checkpoint.

        Removes partial files, which a training leaves when it is killed while it writes.
        """
        for path in (self._checkpoint, self._weights):
            for part in path.parent.glob(f"{path.name}.*.partial"):
                part.unlink(missing_ok=True)
        if not self._checkpoint.exists():
            return 0
        state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        pause = max(USUAL_SECONDS, self._cost / SHARE) if self._chosen is None else self._chosen
        return time.monotonic() - self._saved > pause

    def save(self, step: int) -> None:
        """Writes a checkpoint of a training that has done `step` steps. Raises InputError when the
        disk does not take it."""
        began = time.monotonic()
        save_checkpoint(self._checkpoint, self._model, self._optimiser, step)
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def finish(self) -> None:
        """Writes the trained weights and removes the checkpoint. Raises InputError when the disk
        does not take them."""
        save_tensors({"model": self._model.state_dict()}, self._weights)
        self._checkpoint.unlink(missing_ok=True)


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Writes what a training needs to go on after `step` steps."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    save_tensors(state, path)
