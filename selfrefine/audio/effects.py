"""Draws the parameters of the effects that random mixing applies to a stem.

Each chosen stem passes, in this order: dynamic range compressor, algorithmic reverb, mid/side
stereo imager, gain with random polarity. This is section 3.1.1 of the paper, which follows the
music mixing of its reference [3] (Koo et al., ICASSP 2023); the ranges are those of that
reference's public code. `selfrefine.audio.effect_chain` applies the drawn effects to audio.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from selfrefine.settings import EffectRanges


@dataclass(frozen=True)
class EffectParameters:
    """Parameters of the effects of a batch: float32 tensors `(batch,)`, one value per item.

    The units are those of `EffectRanges`. Indexing with an int, a slice, a mask or an index tensor
    gives the parameters of those items.
    """

    compressor_threshold: torch.Tensor
    compressor_ratio: torch.Tensor
    compressor_attack: torch.Tensor
    compressor_release: torch.Tensor
    reverb_room_size: torch.Tensor
    reverb_damping: torch.Tensor
    reverb_wet: torch.Tensor
    reverb_dry: torch.Tensor
    reverb_width: torch.Tensor
    imager_balance: torch.Tensor
    gain: torch.Tensor
    polarity: torch.Tensor  # +1 or -1

    def __len__(self) -> int:
        return len(self.gain)

    def __getitem__(self, index: int | slice | torch.Tensor) -> EffectParameters:
        values = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        return EffectParameters(**{name: value.reshape(-1) for name, value in values.items()})


def draw_effects(count: int, ranges: EffectRanges, generator: torch.Generator) -> EffectParameters:
    """Draws the parameters of `count` items, on the generator's device.

    Each item takes one row of uniform numbers, so a longer draw begins with the items of a shorter
    one. The polarity is +1 or -1, each with chance 1/2.
    """
    names = [field.name for field in fields(ranges)]
    uniform = torch.rand(
        count, len(names) + 1, generator=generator, device=generator.device, dtype=torch.float32
    )
    drawn = {}
    for column, name in enumerate(names):
        low, high = getattr(ranges, name)
        drawn[name] = low + (high - low) * uniform[:, column]
    return EffectParameters(**drawn, polarity=torch.where(uniform[:, -1] < 0.5, -1.0, 1.0))


def draw_gains(count: int, ranges: EffectRanges, generator: torch.Generator) -> torch.Tensor:
    """Draws only the last effect, gain with polarity, as linear factors: float32 `(count,)`."""
    low, high = ranges.gain
    decibels = low + (high - low) * torch.rand(count, generator=generator)
    polarity = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    return polarity * 10 ** (decibels / 20)
