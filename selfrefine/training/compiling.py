"""Fusing the layers of a network that trains on a GPU, by torch.compile."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from selfrefine.machine_settings import chosen_compile

MOST_SHAPES = 64
"""How many shapes torch compiles one layer's code for. Hybrid Demucs has 22 layers of two kinds."""


def compile_layers(model: nn.Module, device: torch.device) -> None:
    """Lets the first step compile the layers of `model`, if SELFREFINE_COMPILE is 1 and the device
    is a GPU.

    The names of the weights stay as they are. X-UMX stays as it is too: its LSTMs take most of its
    time, and torch does not compile them.
    """
    if device.type != "cuda" or not chosen_compile():
        return
    torch._dynamo.config.recompile_limit = MOST_SHAPES
    for part in compiled_parts(model):
        part.compile(dynamic=False)


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """The parts of a network that are compiled separately."""
    from torchaudio.models._hdemucs import _HDecLayer, _HEncLayer

    from selfrefine.models.classifier import InstrumentClassifier

    if isinstance(model, InstrumentClassifier):
        return [model.trunk]
    return [part for part in model.modules() if isinstance(part, _HEncLayer | _HDecLayer)]


def uncompiled() -> AbstractContextManager[object]:
    """A context in which compiled parts compute layer by layer, as where operations are counted."""
    return torch.compiler.set_stance("force_eager")
