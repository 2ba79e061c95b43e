"""Weights and checkpoints on disk: whole or not at all."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.machine_settings import chosen_checkpoint_seconds

USUAL_SECONDS = 20.0
"""Between two checkpoints, unless writing one takes long."""
SHARE = 0.02
"""The share of a training's time that checkpoints may take."""
BYTES_PER_SECOND = 5e8
"""The assumed speed of a disk, until the first checkpoint is timed."""


class Checkpoints:
    """What a training leaves in `folder`: `checkpoint.pt` on its way, `model.pt` at its end.

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

        Removes what a training left that was killed while it wrote.
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
        save_atomically({"model": self._model.state_dict()}, self._weights)
        self._checkpoint.unlink(missing_ok=True)


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Writes what a training needs to go on after `step` steps."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    save_atomically(state, path)


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Writes `state` whole or not at all. Raises InputError when the disk does not take it."""
    try:
        # An open file, since torch writes the name of a path into its bytes, process id and all.
        with written_whole(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as either, and says no more than that a write failed.
        raise InputError(
            f"{path}: cannot be written; free space on the disk, or choose another folder"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights that `train` left, on the CPU."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return state


def load_model(model: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """Gives `model` the weights that `train` left, ready for inference on `device`."""
    model.load_state_dict(read_weights(path))
    return model.to(device).eval()
