"""Weights on disk, in files that are complete or not there."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole


def save_tensors(state: dict[str, Any], path: Path) -> None:
    """Writes `state` to `path` completely or not at all.

    Raises InputError when the disk refuses it.
    """
    try:
        # An open file, because torch would write the path, with the process id, into the bytes.
        with written_whole(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as either error, and says only that a write failed.
        raise InputError(
            f"{path}: cannot be written; free space on the disk, or choose another folder"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the weights that `train` wrote, on the CPU."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return state


def load_model(model: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """Loads the weights that `train` wrote into `model`, for inference on `device`."""
    model.load_state_dict(read_weights(path))
    return model.to(device).eval()
