"""LSTMs for GPUs. On the CPU they give the same bits as nn.LSTM."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


class Float32LSTM(nn.LSTM):
    """nn.LSTM without autocast on a GPU.

    Under a bf16 autocast cuDNN's LSTMs run in float16. Without a scaled loss their gradients then
    vanish: those of Hybrid Demucs are near 1e-14. `torch.backends.cudnn` still decides on TF32.
    """

    def forward(self, values: Tensor, state: Any = None) -> Any:
        if not values.is_cuda:
            return super().forward(values, state)  # type: ignore[has-type]
        with torch.autocast("cuda", enabled=False):
            return super().forward(values.float(), state)  # type: ignore[has-type]


class LayeredLSTM(nn.Module):
    """A bidirectional LSTM on `(batch, frame, feature)`, layer by layer, with dropout in between.

    It computes the same numbers as nn.LSTM, and its state has the same names. For the dropout of
    stacked layers cuDNN keeps a random state of its own. It makes this state again, and waits for
    the GPU, whenever torch is seeded, which is at each step of a training.
    """

    def __init__(self, features: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            # Frames come first: with the batch first, dropout on the CPU draws in another order.
            Float32LSTM(2 * hidden if layer else features, hidden, bidirectional=True)
            for layer in range(layers)
        )
        self.register_state_dict_post_hook(name_as_one_stack)
        self.register_load_state_dict_pre_hook(name_as_layers)

    def forward(self, values: Tensor) -> Tensor:
        """`(batch, frame, 2 * hidden)`: the outputs of both directions, concatenated."""
        values = values.transpose(0, 1)
        for number, layer in enumerate(self.layers):
            if number:
                values = nn.functional.dropout(values, self.dropout, self.training)
            values = layer(values)[0]
        return values.transpose(0, 1)


def side_by_side(layers: list[nn.Module], values: Tensor) -> list[Tensor]:
    """Applies each layer to the same values on a GPU, each in a CUDA stream of its own.

    An LSTM processes its frames in sequence, and leaves most of a GPU idle. The backward pass runs
    in the same streams.
    """
    here = torch.cuda.current_stream(values.device)
    streams = streams_of(values.device, len(layers))
    outputs = []
    for stream, layer in zip(streams, layers, strict=True):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            outputs.append(layer(values))
        # A tensor must not be overwritten while a stream other than its own still reads it.
        values.record_stream(stream)
        outputs[-1].record_stream(here)
    for stream in streams:
        here.wait_stream(stream)
    return outputs


@cache
def streams_of(device: torch.device, count: int) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(count)]


def name_as_one_stack(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Renames the weights to nn.LSTM's names: `layers.1.weight_ih_l0` to `weight_ih_l1`."""
    of_layers = [name for name in state if name.startswith(f"{prefix}layers.")]
    for name in of_layers:
        number, weight = name.removeprefix(f"{prefix}layers.").split(".")
        state[prefix + weight.replace("_l0", f"_l{number}")] = state.pop(name)


def name_as_layers(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The inverse of `name_as_one_stack`."""
    layers = len(module.get_submodule("layers")._modules)
    for number in range(layers):
        for weight in module.get_submodule(f"layers.{number}").state_dict():
            name = prefix + weight.replace("_l0", f"_l{number}")
            if name in state:
                state[f"{prefix}layers.{number}.{weight}"] = state.pop(name)


def keep_lstms_in_float32(model: nn.Module) -> None:
    """Turns every nn.LSTM of a model into a Float32LSTM with the same weights."""
    for part in model.modules():
        if type(part) is nn.LSTM:
            part.__class__ = Float32LSTM
