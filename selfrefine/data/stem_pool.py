"""A stem set laid out for drawing: all samples on the training device, segments by index."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor

from selfrefine.classes import CLASSES
from selfrefine.data.audio_set import AudioSet

LARGEST_SHARE = 0.4
"""Of a GPU's free memory that a stem set may take; the network needs the rest."""


@dataclass(frozen=True)
class StemPool:
    """`frames` holds a stereo pair of int16 samples in each int32, so that one gather reads both.

    It lies on `device`, where segments are wanted, or stays memory-mapped on the host. `starts`,
    `lengths` (samples), `scales` and `labels` (bool `(clip, class)`) describe the clips, `names`
    says "song/file" for messages.
    """

    sample_rate: int
    device: torch.device
    frames: Tensor
    starts: Tensor
    lengths: Tensor
    scales: Tensor
    labels: Tensor
    names: tuple[str, ...]


def load_pool(stems: AudioSet, device: torch.device) -> StemPool:
    """Puts a stem set on `device`. On the CPU, and for a set too large for a GPU's free memory,
    its samples stay memory-mapped and segments are copied as they are drawn."""
    pairs = stems.samples.view("<i4").reshape(-1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        frames = torch.from_numpy(pairs)
    labels = torch.tensor([[name in clip.label for name in CLASSES] for clip in stems.clips])
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        fits = frames.nbytes <= LARGEST_SHARE * free
    else:
        fits = True
    return StemPool(
        stems.sample_rate,
        device,
        frames.to(device) if fits else frames,
        torch.tensor([clip.start for clip in stems.clips]),
        torch.tensor([clip.length for clip in stems.clips]),
        torch.tensor([clip.scale for clip in stems.clips]),
        labels.reshape(len(stems.clips), len(CLASSES)),
        tuple(f"{clip.song}/{clip.name}" for clip in stems.clips),
    )


def draw_segments(
    pool: StemPool, candidates: Tensor, count: int, segment: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`count` clips out of `candidates`, in proportion to their length, and a start in each.

    Both are int64 `(count,)` on the CPU. A clip shorter than the segment starts anywhere: it will
    be repeated.
    """
    weights = pool.lengths[candidates].double()
    drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    clips = candidates[drawn]
    room = pool.lengths[clips] - segment
    span = torch.where(room >= 0, room + 1, pool.lengths[clips])
    offsets = (torch.rand(count, generator=generator, dtype=torch.float64) * span).long()
    return clips, offsets


def gather_segments(pool: StemPool, clips: Tensor, offsets: Tensor, segment: int) -> Tensor:
    """float32 `(count, channel=2, segment)` on the pool's device; short clips are repeated."""
    if pool.frames.device.type != "cpu":
        return index_segments(pool, clips, offsets, segment)
    # Pinned, the copy to a GPU runs beside its work.
    out = torch.empty(len(clips), 2, segment, pin_memory=pool.device.type == "cuda")
    copy_segments(
        pool.frames.numpy(),
        pool.starts[clips].numpy(),
        pool.lengths[clips].numpy(),
        offsets.numpy(),
        (pool.scales[clips] / 32767).numpy(),
        out.numpy(),
    )
    return out.to(pool.device, non_blocking=True)


def index_segments(pool: StemPool, clips: Tensor, offsets: Tensor, segment: int) -> Tensor:
    """What `gather_segments` does where the samples lie on a GPU, by torch's indexing."""
    device = pool.frames.device
    of_clips = torch.stack([offsets, pool.lengths[clips], pool.starts[clips]])
    # Not blocking: what is copied waits in a buffer of the driver's, and nobody for the GPU.
    offsets, lengths, starts = of_clips.to(device, non_blocking=True)[..., None]
    scales = (pool.scales[clips] / 32767).to(device, non_blocking=True)
    positions = (torch.arange(segment, device=device) + offsets) % lengths + starts
    pairs = pool.frames[positions].view(torch.int16).unflatten(1, (segment, 2))
    segments = pairs.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return segments * scales[:, None, None]


@njit(cache=True, nogil=True)
def copy_segments(
    frames: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    offsets: np.ndarray,
    scales: np.ndarray,
    out: np.ndarray,
) -> None:
    """Splits channels, scales and repeats in one pass: an index per sample costs many times more.

    `frames` int32 `(sample,)`, a pair of int16 each; `out` float32 `(count, 2, segment)`; the rest
    `(count,)`.
    """
    segment = out.shape[2]
    half = np.int32(16)
    for item in range(out.shape[0]):
        scale = scales[item]
        filled = 0
        position = offsets[item]
        while filled < segment:
            run = min(segment - filled, lengths[item] - position)
            first = starts[item] + position
            pairs = frames[first : first + run]
            left, right = out[item, 0, filled : filled + run], out[item, 1, filled : filled + run]
            # Shifts of whole pairs, which become vector instructions; indices to halves do not.
            for k in range(run):
                left[k] = np.float32(np.int32(pairs[k] << half) >> half) * scale
                right[k] = np.float32(pairs[k] >> half) * scale
            filled += run
            position = 0
