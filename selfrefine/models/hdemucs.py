"""Hybrid Demucs (Demucs v3), built by torchaudio."""

import torch
from torch import Tensor, nn
from torchaudio.models import HDemucs as TorchaudioHDemucs

from selfrefine.classes import CLASSES
from selfrefine.models.grouped_loss import grouped_loss
from selfrefine.settings import HDemucs


def build_hdemucs(settings: HDemucs) -> nn.Module:
    """`(batch, channel=2, sample)` to `(batch, class=4, channel=2, sample)`.

    Its two branches only stay aligned for an FFT of 256, 1024 or 4096.
    """
    return TorchaudioHDemucs(
        sources=list(CLASSES),
        audio_channels=2,
        channels=settings.channels,
        nfft=settings.fft,
        depth=settings.depth,
    )


def hdemucs_loss(model: nn.Module, mixture: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
    """Mean absolute error in the time domain per target, summed over targets (section 4.2).

    Shapes as in SeparationBatch.
    """
    return grouped_loss(model(mixture), targets, groups, torch.abs)


def separate_hdemucs(model: nn.Module, mixture: Tensor, segment: int, overlap: float) -> Tensor:
    """Sources `(class=4, channel=2, sample)` of `(channel=2, sample)`.

    Segments of `segment` samples that overlap by the share `overlap`, faded into each other by
    triangular weights.
    """
    length = mixture.shape[-1]
    hop = max(1, round(segment * (1 - overlap)))
    half = torch.arange(1, segment // 2 + 1, device=mixture.device, dtype=mixture.dtype)
    weight = (
        torch.cat([half, half.flip(0)])
        if segment % 2 == 0
        else torch.cat([half, half[-1:] + 1, half.flip(0)])
    )
    sources = mixture.new_zeros(len(CLASSES), 2, length)
    weights = mixture.new_zeros(length)
    for start in range(0, max(1, length - segment + hop), hop):
        chunk = mixture[:, start : start + segment]
        taken = chunk.shape[-1]
        padded = nn.functional.pad(chunk, (0, segment - taken))
        estimate = model(padded[None])[0, ..., :taken]
        sources[..., start : start + taken] += estimate * weight[:taken]
        weights[start : start + taken] += weight[:taken]
    return sources / weights
