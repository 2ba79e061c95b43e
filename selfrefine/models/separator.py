"""A separator of either network: how to build it, its loss, and separation of a whole song."""

from typing import cast

import torch
from torch import Tensor, nn

from selfrefine.audio.loudness import gain_to
from selfrefine.models.grouped_loss import ALL, Kept
from selfrefine.models.hdemucs import build_hdemucs, hdemucs_loss, separate_hdemucs
from selfrefine.models.xumx import CrossNet, separate_xumx, xumx_loss
from selfrefine.settings import XUMX, HDemucs, SeparatorSettings


def build_separator(settings: SeparatorSettings) -> nn.Module:
    network = settings.network
    if isinstance(network, XUMX):
        return CrossNet(network, settings.sample_rate)
    return build_hdemucs(network)


def separation_loss(
    model: nn.Module, mixture: Tensor, targets: Tensor, groups: Tensor, kept: Kept = ALL
) -> Tensor:
    """The network's loss, a scalar. Shapes are as in SeparationBatch. `kept` is that of
    `grouped_loss`."""
    if isinstance(model, CrossNet):
        return xumx_loss(model, mixture, targets, groups, kept)
    return hdemucs_loss(model, mixture, targets, groups, kept)


@torch.inference_mode()
def separate_song(model: nn.Module, settings: SeparatorSettings, mixture: Tensor) -> Tensor:
    """Separates a song `(channel=2, sample)` into sources `(class=4, channel=2, sample)`.

    The song is brought to the loudness `settings.loudness_lufs`, and the estimates are scaled by
    the inverse gain (section 4.2; Jeon and Lee, ISMIR 2022). A silent song has a gain of 1.
    """
    gain = gain_to(settings.loudness_lufs, mixture[None], settings.sample_rate)[0]
    return separate_levelled(model, settings, mixture * gain) / gain


@torch.inference_mode()
def separate_levelled(model: nn.Module, settings: SeparatorSettings, mixture: Tensor) -> Tensor:
    """Separates a mixture that already has the right loudness. Shapes are as in `separate_song`."""
    model.eval()
    if isinstance(settings.network, HDemucs):
        segment = round(settings.network.inference_seconds * settings.sample_rate)
        return separate_hdemucs(model, mixture, segment, settings.network.inference_overlap)
    return separate_xumx(cast(CrossNet, model), mixture)
