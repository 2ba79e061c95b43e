"""Compressor and reverb in batched torch, for the GPU; all but the envelope runs anywhere.

The reverb is linear, and its transfer function is known in closed form, so it is one product of
spectra instead of 24 recursions.
"""

from __future__ import annotations

import math

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

_ITEMS_AT_ONCE = 32  # bounds the memory of the spectra: 34 MB each at 44.1 kHz and 3 s

# A spectrum of finite length hears the reverb's tail again at the start of the item. Spectra on a
# circle of radius r > 1 instead of the unit circle make that echo weaker by r^length = 1e8, without
# any padding, and cost half the digits of float64.
_LOG_SUPPRESSION = math.log(1e8)


def compress(audio: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """`audio` `(batch, 2, sample)`, `coefficients` `(COEFFICIENTS, batch)` -> same shape."""
    from selfrefine.audio.effect_envelope import follow_envelope

    envelope = follow_envelope(audio.abs(), coefficients[ATTACK], coefficients[RELEASE])
    ratio_over = envelope * coefficients[INVERSE_THRESHOLD, :, None, None]
    return audio * ratio_over.clamp(min=1.0).pow(coefficients[EXPONENT, :, None, None])


def reverberate(
    audio: torch.Tensor, coefficients: torch.Tensor, delays: torch.Tensor
) -> torch.Tensor:
    """`audio` `(batch, 2, sample)`, `coefficients` `(COEFFICIENTS, batch)`, `delays` `(2, 12)` ->
    same shape, to the precision of float32."""
    chunks = zip(
        audio.split(_ITEMS_AT_ONCE), coefficients.split(_ITEMS_AT_ONCE, dim=1), strict=True
    )
    return torch.cat([_reverberate(*chunk, delays) for chunk in chunks])


def _reverberate(
    audio: torch.Tensor, coefficients: torch.Tensor, delays: torch.Tensor
) -> torch.Tensor:
    length = audio.shape[-1]
    size = next_fast_len(length, real=True)
    log_radius = _LOG_SUPPRESSION / size
    time = torch.arange(length, device=audio.device, dtype=torch.float64)
    frequency = torch.arange(size // 2 + 1, device=audio.device)

    def delayed(samples: int) -> torch.Tensor:
        """z^-samples on the circle; the phase is reduced as an integer, hence exact."""
        phase = (-math.tau / size) * (frequency * samples % size).double()
        return torch.polar(torch.full_like(phase, math.exp(-log_radius * samples)), phase)

    growth = torch.exp(log_radius * time)
    spectrum = torch.fft.rfft(audio.sum(1).double() / growth, n=size)
    loop = coefficients[FEEDBACK, :, None] / (1 - coefficients[DAMPING, :, None] * delayed(1))
    wet = []
    for combs, allpasses in ((row[: len(COMBS)], row[len(COMBS) :]) for row in delays.tolist()):
        response = torch.zeros_like(loop)
        for echo in map(delayed, combs):
            response += echo / (1 - loop * echo)
        for echo in map(delayed, allpasses):
            response *= (1.5 * echo - 1) / (1 - 0.5 * echo)
        wet.append(torch.fft.irfft(spectrum * response, n=size)[:, :length] * growth)
    left_right = torch.stack(wet, dim=1).float()
    same, crossed, dry = (coefficients[row, :, None, None] for row in (WET, WET_CROSSED, DRY))
    return same * left_right + crossed * left_right.flip(1) + dry * audio
