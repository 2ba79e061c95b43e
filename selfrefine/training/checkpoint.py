"""Weights and checkpoints on disk: whole or not at all."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.machine_settings import chosen_checkpoint_seconds

USUAL_SECONDS = 20.0
"""Between two checkpoints, unless writing one takes long."""
SHARE = 0.02
"""Of a training's time that checkpoints may take."""
BYTES_PER_SECOND = 5e8
"""What a disk is taken to write before the first checkpoint was timed."""


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int
) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    save_atomically(state, path)


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Restores both and returns the step to go on with."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all. Raises InputError where the disk does not take it."""
    partial = path.with_name(path.name + ".partial")
    try:
        torch.save(state, partial)
    except RuntimeError as error:
        # How torch reports a full disk; its words say no more than that a write failed.
        partial.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written; free space on the disk, or choose another folder"
        ) from error
    os.replace(partial, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Those that `train` left, on the CPU."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return state


def load_model(model: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """The weights that `train` left, ready for inference on `device`."""
    model.load_state_dict(read_weights(path))
    return model.to(device).eval()


class CheckpointPace:
    """When the next checkpoint is due: after SELFREFINE_CHECKPOINT_SECONDS where that is set, else
    so late that all of them take `SHARE` of the training, and `USUAL_SECONDS` at least."""

    def __init__(self, model: nn.Module) -> None:
        self._chosen = chosen_checkpoint_seconds()
        # AdamW keeps two moments of each weight.
        size = 3 * sum(weight.numel() * weight.element_size() for weight in model.parameters())
        self._cost = size / BYTES_PER_SECOND
        self._saved = time.monotonic()

    def due(self) -> bool:
        pause = max(USUAL_SECONDS, self._cost / SHARE) if self._chosen is None else self._chosen
        return time.monotonic() - self._saved > pause

    def save(
        self, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int
    ) -> None:
        began = time.monotonic()
        save_checkpoint(path, model, optimiser, step)
        self._saved = time.monotonic()
        self._cost = self._saved - began
