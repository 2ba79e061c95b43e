"""The compressor's envelope on a GPU. A file of its own: Triton comes only with torch for CUDA."""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

_LANES = 32  # channels per program: one warp
_AHEAD = 16  # samples fetched before they are needed, so that one wait serves them all


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
        # Pointers advance, since an index over the whole batch may not fit into 32 bits.
        levels += AHEAD * channels
        envelopes += AHEAD * channels


def follow_envelope(
    level: torch.Tensor, attack: torch.Tensor, release: torch.Tensor
) -> torch.Tensor:
    """The envelope of `level`, `(batch, 2, sample)` float32, with the one-pole constants `attack`
    where it rises and `release` where it falls, `(batch,)`; same shape.

    Sequential in time and parallel only over the channels, so a call takes as long for one item as
    for a thousand.
    """
    batch, channel, length = level.shape
    by_time = level.reshape(batch * channel, length).t().contiguous()
    envelopes = torch.empty_like(by_time)
    coefficients = torch.stack([attack, release]).repeat_interleave(channel, dim=1).contiguous()
    programs = (triton.cdiv(batch * channel, _LANES),)
    _follow[programs](
        by_time, envelopes, coefficients, batch * channel, length,
        LANES=_LANES, AHEAD=_AHEAD, num_warps=1,
    )  # fmt: skip
    return envelopes.t().reshape(batch, channel, length)
