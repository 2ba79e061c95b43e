"""Triton kernels for the parts of the effects that torch cannot compute in one GPU operation: the
compressor's envelope and the reverb's response.

They have a file to themselves because Triton comes only with torch for CUDA.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

_LANES = 32  # channels per program: one warp
_AHEAD = 32  # samples fetched before they are needed, so that they share one wait
_BINS = 256  # bins of a spectrum per program


@triton.jit
def _follow(
    levels: tl.tensor,
    envelopes: tl.tensor,
    coefficients: tl.tensor,
    channels: tl.tensor,
    length: tl.tensor,
    LANES: tl.constexpr,
    AHEAD: tl.constexpr,
) -> None:
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = lane < channels
    attack = tl.load(coefficients + lane, mask=inside, other=0.0)
    release = tl.load(coefficients + channels + lane, mask=inside, other=0.0)
    envelope = tl.zeros((LANES,), tl.float32)
    for start in range(0, length, AHEAD):
        fetched = ()
        for i in tl.static_range(AHEAD):
            valid = inside & (start + i < length)
            level = tl.load(levels + i * channels + lane, mask=valid, other=0.0)
            fetched = fetched + (level,)  # type: ignore[assignment]  # noqa: RUF005
        for i in tl.static_range(AHEAD):
            level = fetched[i]
            coefficient = tl.where(level > envelope, attack, release)
            envelope = level + coefficient * (envelope - level)
            valid = inside & (start + i < length)
            tl.store(envelopes + i * channels + lane, envelope, mask=valid)
        # Pointers advance because an index over the whole batch may not fit into 32 bits.
        levels += AHEAD * channels
        envelopes += AHEAD * channels


def follow_envelope(
    level: torch.Tensor, attack: torch.Tensor, release: torch.Tensor
) -> torch.Tensor:
    """The envelope of `level`, both `(batch, 2, sample)` float32.

    The one-pole constant is `attack` where the envelope rises and `release` where it falls; both
    are `(batch,)`. The computation is sequential in time and parallel only over channels, so one
    item takes as long as a thousand.
    """
    batch, channel, length = level.shape
    by_time = level.reshape(batch * channel, length).t().contiguous()
    envelopes = torch.empty_like(by_time)
    coefficients = torch.stack([attack, release]).repeat_interleave(channel, dim=1).contiguous()
    programs = (triton.cdiv(batch * channel, _LANES),)
    # Triton launches on the current GPU, which may not be the one that holds the audio.
    with torch.cuda.device_of(level):
        _follow[programs](
            by_time, envelopes, coefficients, batch * channel, length,
            LANES=_LANES, AHEAD=_AHEAD, num_warps=1,
        )  # fmt: skip
    return envelopes.t().reshape(batch, channel, length)


@triton.jit
def _respond(
    spectra: tl.tensor,
    responded: tl.tensor,
    echoes: tl.tensor,
    feedback: tl.tensor,
    damping: tl.tensor,
    bins: tl.tensor,
    COMBS: tl.constexpr,
    BINS: tl.constexpr,
) -> None:
    # A complex number is a pair of float64; `row` is the length of one spectrum in float64.
    # Items are the first axis, so that neighbouring programs share the same echoes in the cache.
    item, row = tl.program_id(0), 2 * bins
    position = tl.program_id(1) * BINS + tl.arange(0, BINS)
    inside = position < bins
    at = 2 * position
    x_re = tl.load(spectra + item * row + at, mask=inside, other=0.0)
    x_im = tl.load(spectra + item * row + at + 1, mask=inside, other=0.0)
    fed, damped = tl.load(feedback + item), tl.load(damping + item)
    # The loop gain of a comb: feedback / (1 - damping z^-1).
    below_re = 1.0 - damped * tl.load(echoes + at, mask=inside, other=0.0)
    below_im = -damped * tl.load(echoes + at + 1, mask=inside, other=0.0)
    scale = fed / (below_re * below_re + below_im * below_im)
    loop_re, loop_im = scale * below_re, -scale * below_im
    echoes += row
    for channel in tl.static_range(2):
        sum_re = tl.zeros((BINS,), tl.float64)
        sum_im = tl.zeros((BINS,), tl.float64)
        for _ in tl.static_range(COMBS):
            e_re = tl.load(echoes + at, mask=inside, other=0.0)
            e_im = tl.load(echoes + at + 1, mask=inside, other=0.0)
            below_re = 1.0 - (loop_re * e_re - loop_im * e_im)
            below_im = -(loop_re * e_im + loop_im * e_re)
            scale = 1.0 / (below_re * below_re + below_im * below_im)
            sum_re += scale * (e_re * below_re + e_im * below_im)
            sum_im += scale * (e_im * below_re - e_re * below_im)
            echoes += row
        a_re = tl.load(echoes + at, mask=inside, other=0.0)
        a_im = tl.load(echoes + at + 1, mask=inside, other=0.0)
        echoes += row
        h_re, h_im = sum_re * a_re - sum_im * a_im, sum_re * a_im + sum_im * a_re
        to = responded + (2 * item + channel) * row + at
        tl.store(to, x_re * h_re - x_im * h_im, mask=inside)
        tl.store(to + 1, x_re * h_im + x_im * h_re, mask=inside)


def respond(
    spectra: torch.Tensor, echoes: torch.Tensor, feedback: torch.Tensor, damping: torch.Tensor
) -> torch.Tensor:
    """Responses of both channels' reverbs to `spectra` `(item, bin)`: `(item, channel=2, bin)`.

    All three are complex128. `echoes` is `(1 + 2 * (combs + 1), bin)`: a delay by one sample, then
    for each channel the delays of its combs and the response of its allpasses. `feedback` and
    `damping` are `(item,)`. The kernel takes one pass; torch would write and read a number per
    item, bin and channel thirty times.
    """
    items, bins = spectra.shape
    combs = (len(echoes) - 3) // 2
    responded = torch.empty(items, 2, bins, dtype=spectra.dtype, device=spectra.device)
    with torch.cuda.device_of(spectra):
        _respond[items, triton.cdiv(bins, _BINS)](
            *(torch.view_as_real(x.contiguous()) for x in (spectra, responded, echoes)),
            feedback.double().contiguous(), damping.double().contiguous(), bins,
            COMBS=combs, BINS=_BINS,
        )  # fmt: skip
    return responded
