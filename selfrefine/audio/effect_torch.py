"""Compressor and reverb for the GPU, in batched torch.

The reverb is linear and its transfer function has a closed form. One product of spectra therefore
replaces 24 recursions.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from scipy.fft import next_fast_len

from selfrefine.audio.effect_kernels import (
    ATTACK,
    COMBS,
    DAMPING,
    DRY,
    EXPONENT,
    FEEDBACK,
    INVERSE_THRESHOLD,
    RELEASE,
    WET,
    WET_CROSSED,
)

_ITEMS_AT_ONCE = 64  # limits the memory of the spectra to 200 MB at 44.1 kHz and 3 s

# A spectrum of finite length wraps the reverb's tail around to the start of the item. Spectra on a
# circle of radius r > 1 instead of the unit circle make the wrapped tail weaker by r^length = 1e8.
# This needs no padding, and costs half the digits of float64.
_LOG_SUPPRESSION = math.log(1e8)


def compress(audio: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Compresses `audio` `(batch, 2, sample)` with `coefficients` `(COEFFICIENTS, batch)`."""
    from selfrefine.audio.effect_triton import follow_envelope

    envelope = follow_envelope(audio.abs(), coefficients[ATTACK], coefficients[RELEASE])
    ratio_over = envelope * coefficients[INVERSE_THRESHOLD, :, None, None]
    return audio * ratio_over.clamp(min=1.0).pow(coefficients[EXPONENT, :, None, None])


def reverberate(
    audio: torch.Tensor, coefficients: torch.Tensor, delays: torch.Tensor
) -> torch.Tensor:
    """Adds reverb to `audio` `(batch, 2, sample)`, to the precision of float32.

    `coefficients` is `(COEFFICIENTS, batch)`; `delays` is `(2, 12)`, in samples.
    """
    from selfrefine.audio.effect_triton import respond

    length = audio.shape[-1]
    size = next_fast_len(length, real=True)
    time = torch.arange(length, device=audio.device, dtype=torch.float64)
    growth = torch.exp(_LOG_SUPPRESSION / size * time)
    echoes = _echoes(tuple(delays.flatten().tolist()), size, audio.device)
    reverberated = []
    for part, of_part in zip(
        audio.split(_ITEMS_AT_ONCE), coefficients.split(_ITEMS_AT_ONCE, dim=1), strict=True
    ):
        spectra = torch.fft.rfft(part.sum(1).double() / growth, n=size)
        responded = respond(spectra, echoes, of_part[FEEDBACK], of_part[DAMPING])
        wet = (torch.fft.irfft(responded, n=size)[..., :length] * growth).float()
        same, crossed, dry = (of_part[row, :, None, None] for row in (WET, WET_CROSSED, DRY))
        reverberated.append(same * wet + crossed * wet.flip(1) + dry * part)
    return torch.cat(reverberated)


@lru_cache(maxsize=2)
def _echoes(delays: tuple[int, ...], size: int, device: torch.device) -> torch.Tensor:
    """Responses on the circle of radius r, complex128 `(1 + 2 * 9, bin)`.

    The first row is a delay by one sample. For each channel follow the delays of its eight combs
    and the product of its four allpasses. `delays` holds twelve lengths for each channel.
    """
    samples = torch.tensor([1, *delays], device=device)[:, None]
    # The phase is reduced in integers, so it is exact.
    frequency = torch.arange(size // 2 + 1, device=device)
    phase = (-math.tau / size) * (frequency * samples % size).double()
    radius = torch.exp(-_LOG_SUPPRESSION / size * samples.double())
    delayed = torch.polar(radius.expand_as(phase).contiguous(), phase)
    of_channels = delayed[1:].unflatten(0, (2, -1))
    combs, allpasses = of_channels[:, : len(COMBS)], of_channels[:, len(COMBS) :]
    allpass = ((1.5 * allpasses - 1) / (1 - 0.5 * allpasses)).prod(dim=1, keepdim=True)
    return torch.cat([delayed[:1], torch.cat([combs, allpass], dim=1).flatten(0, 1)])
