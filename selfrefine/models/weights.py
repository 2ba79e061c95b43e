"""Weights on disk, in files that are complete or not there."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.special_file import refuse_special


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
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise InputError(
            f"{path}: cannot be written{reason}; free space on the disk, or choose another folder"
        ) from error


def read_tensors(path: Path) -> dict[str, Any]:
    """What `save_tensors` wrote to `path`, on the CPU.

    Raises OSError for a file that cannot be opened, and ValueError for one with a byte that is not
    as it was written, or that is something else.
    """
    refuse_special(path)
    try:
        # torch's files are zip archives, but torch does not verify their checksums.
        with zipfile.ZipFile(path) as archive:
            # Entries that are compressed, or that share bytes, could take any amount of memory.
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("holds more than its size")
            if archive.testzip():
                raise ValueError("a checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as error:
        # Both raise many types of errors for bytes that are not one of these files.
        raise ValueError("not a file of tensors") from error
    if not isinstance(content, dict):
        raise ValueError("not a file of tensors")
    return content


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the weights that `train` wrote, on the CPU. Raises InputError for a file that cannot be
    read, and for weights that are not finite."""
    try:
        state = read_tensors(path).get("model")
        if not isinstance(state, dict) or not all_finite(state):
            raise ValueError("no finite weights")
    except (OSError, ValueError) as error:
        raise damaged_file(path, error) from error
    return state


def load_model(model: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """Loads the weights that `train` wrote into `model`, for inference on `device`.

    Raises what `read_weights` raises, and InputError for the weights of another network.
    """
    state = read_weights(path)
    if not has_form(state, model.state_dict()):
        raise damaged_file(path, ValueError("weights of another network"))
    model.load_state_dict(state)
    return model.to(device).eval()


def damaged_file(path: Path, error: Exception) -> InputError:
    """The error for a file of our own that cannot be used."""
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(f"{path}: damaged ({reason}); delete it and run again")


def has_form(found: Any, expected: Any) -> bool:
    """Whether nested dictionaries, lists and values have the names, lengths and types of those
    `expected`, and their tensors the same shapes and types."""
    if isinstance(expected, Tensor):
        return (
            isinstance(found, Tensor)
            and found.layout == expected.layout
            and found.shape == expected.shape
            and found.dtype == expected.dtype
        )
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and found.keys() == expected.keys()
            and all(has_form(found[name], value) for name, value in expected.items())
        )
    return type(found) is type(expected)


def all_finite(state: Any) -> bool:
    """Whether nested dictionaries hold finite tensors and nothing else."""
    if isinstance(state, Mapping):
        return all(all_finite(value) for value in state.values())
    return isinstance(state, Tensor) and not state.is_meta and bool(state.isfinite().all())
