"""A trained network as one file, with its kind, classes, settings and weights."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfrefine import settings as method
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.models.settings_bounds import refuse_impossible
from selfrefine.models.weights import all_finite, has_form, read_tensors, read_weights, save_tensors

FORMAT = 1
KINDS = {
    "Classifier": method.ClassifierSettings,
    "Separator": method.SeparatorSettings,
    "ConvNeXt": method.ConvNeXt,
    "EffectRanges": method.EffectRanges,
    "XUMX": method.XUMX,
    "HDemucs": method.HDemucs,
}
"""Types of settings, by their names in the files."""

NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class ClassifierFile:
    """`threshold` is the refining threshold that belongs to the classifier."""

    model: nn.Module
    settings: method.ClassifierSettings
    threshold: float


@dataclass(frozen=True)
class SeparatorFile:
    model: nn.Module
    settings: method.SeparatorSettings


def save_classifier(
    path: Path, weights: Path, settings: method.ClassifierSettings, threshold: float
) -> None:
    """Writes a classifier to `path`. `weights` is the file of weights that training wrote."""
    write_model(path, weights, settings, {"threshold": threshold})


def save_separator(path: Path, weights: Path, settings: method.SeparatorSettings) -> None:
    """Writes a separator to `path`. `weights` is the file of weights that training wrote."""
    write_model(path, weights, settings, {})


def load_classifier(path: Path, device: torch.device) -> ClassifierFile:
    """Loads a classifier for inference, from a file or from classifier.pt in a folder.

    Raises InputError for a file that is not a classifier.
    """
    from selfrefine.models.classifier import build_classifier

    content, settings = read_model(path, method.ClassifierSettings)
    model = with_weights(path, lambda: build_classifier(settings), content, device)
    threshold = content.get("threshold")
    # Written so that NaN fails too.
    if not isinstance(threshold, float) or not 0 < threshold <= 1:
        raise InputError(
            f"{path}: lacks a threshold above 0, at most 1; give another, or train again"
        )
    return ClassifierFile(model, settings, threshold)


def load_separator(path: Path, device: torch.device) -> SeparatorFile:
    """Loads a separator for inference, from a file or from separator.pt in a folder.

    Raises InputError for a file that is not a separator.
    """
    from selfrefine.models.separator import build_separator

    content, settings = read_model(path, method.SeparatorSettings)
    model = with_weights(path, lambda: build_separator(settings), content, device)
    return SeparatorFile(model, settings)


def write_model(path: Path, weights: Path, settings: Any, more: dict[str, Any]) -> None:
    state = read_weights(weights)
    content = {"format": FORMAT, "classes": CLASSES, "settings": written(settings), "model": state}
    save_tensors(content | more, path)


def read_model(path: Path, kind: Any) -> tuple[dict[str, Any], Any]:
    what = NAMES[kind].lower()
    if path.is_dir():
        path = path / f"{what}.pt"
    try:
        content = read_tensors(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not a {what} file, or damaged ({error}); give one that selfrefine wrote"
        ) from error
    version = content.get("format")
    if not isinstance(version, int) or version != FORMAT:
        raise InputError(f"{path}: not a {what} file of this version; train it again")
    missing = [name for name in ("classes", "settings", "model") if name not in content]
    if missing:
        raise InputError(f"{path}: lacks its {' and '.join(missing)}; give another, or train again")
    classes = content["classes"]
    if not isinstance(classes, (tuple, list)) or tuple(classes) != CLASSES:
        raise InputError(
            f"{path}: made for the classes {classes!r:.80}; give one for {', '.join(CLASSES)}"
        )
    try:
        settings = restored(json.loads(content["settings"]), path)
    except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its settings cannot be read ({error}); train it again"
        ) from error
    if type(settings) not in (method.ClassifierSettings, method.SeparatorSettings):
        raise InputError(f"{path}: its settings are of no network; train it again")
    if not isinstance(settings, kind):
        other = NAMES[type(settings)].lower()
        raise InputError(f"{path}: is a {other}, not a {what}; give the other file")
    try:
        refuse_impossible(settings)
    except ValueError as error:
        raise InputError(f"{path}: its settings are impossible ({error}); give another") from error
    return content, settings


def with_weights(
    path: Path, build: Callable[[], nn.Module], content: dict[str, Any], device: torch.device
) -> nn.Module:
    """The network that `build` makes, with the weights of a file's `content`.

    Raises InputError for weights that are not those of the network, before any memory is taken for
    it, and for weights that are not finite.
    """
    state = content["model"]
    try:
        with torch.device("meta"):
            outline = build().state_dict()
    except Exception as error:
        # Each network has its own errors for sizes that do not go together.
        raise InputError(f"{path}: its settings make no network; train it again") from error
    if not has_form(state, outline):
        raise InputError(f"{path}: its weights do not fit its settings; train it again")
    if not all_finite(state):
        raise InputError(f"{path}: has weights that are NaN or infinite; train it again")
    model = build()
    model.load_state_dict(state)
    return model.to(device).eval()


def written(value: Any) -> str:
    """Nested settings as JSON; each dataclass has its name under "is"."""

    def tagged(value: Any) -> Any:
        if not dataclasses.is_dataclass(value):
            return value
        fields = {f.name: tagged(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": NAMES[type(value)]} | fields

    return json.dumps(tagged(value))


def restored(value: Any, path: Path) -> Any:
    """Settings from the parsed JSON of `written`.

    Raises InputError for settings of another version.
    """
    if isinstance(value, list):
        return tuple(restored(part, path) for part in value)
    if not isinstance(value, dict):
        return value
    fields = {name: restored(part, path) for name, part in value.items() if name != "is"}
    try:
        return KINDS[value["is"]](**fields)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: written by another version ({error}); train it again") from error
