"""A stem set laid out for drawing: all samples on the training device, segments by index."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet


@dataclass
class StemPool:
    """`frames` holds a stereo pair of int16 samples in each int32, so that one gather reads both.

    It lies on `device`, where segments are wanted, or is `mapped`, in memory-mapped form on the
    host; only this changes. `starts`, `lengths` (samples), `scales` and `labels` (bool
    `(clip, class)`) describe the clips, `names` says "song/file" for messages.
    """

    sample_rate: int
    device: torch.device
    mapped: Tensor
    frames: Tensor
    starts: Tensor
    lengths: Tensor
    scales: Tensor
    labels: Tensor
    names: tuple[str, ...]

    @property
    def elsewhere(self) -> bool:
        """Whether the samples left the host."""
        return self.frames is not self.mapped


def load_pool(stems: AudioSet, device: torch.device) -> StemPool:
    """A stem set whose samples are memory-mapped, and whose segments are copied to `device` as they
    are drawn, until `place_on_device`."""
    pairs = stems.samples.view("<i4").reshape(-1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        frames = torch.from_numpy(pairs)
    labels = torch.tensor([[name in clip.label for name in CLASSES] for clip in stems.clips])
    return StemPool(
        stems.sample_rate,
        device,
        frames,
        frames,
        torch.tensor([clip.start for clip in stems.clips]),
        torch.tensor([clip.length for clip in stems.clips]),
        torch.tensor([clip.scale for clip in stems.clips]),
        labels.reshape(len(stems.clips), len(CLASSES)),
        tuple(f"{clip.song}/{clip.name}" for clip in stems.clips),
    )


def place_on_device(pool: StemPool, room: int) -> None:
    """Moves the samples to where segments are wanted, if they fit into `room` bytes."""
    if pool.device.type != "cpu" and pool.mapped.nbytes <= room:
        pool.frames = pool.mapped.to(pool.device)


def take_back(pool: StemPool) -> bool:
    """Leaves the samples on the host; whether they were elsewhere."""
    elsewhere = pool.elsewhere
    pool.frames = pool.mapped
    return elsewhere


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
    frames = pool.frames
    if frames.device.type != "cpu":
        return index_segments(pool, frames, clips, offsets, segment)
    # Pinned, the copy to a GPU runs beside its work.
    out = torch.empty(len(clips), 2, segment, pin_memory=pool.device.type == "cuda")
    copy_segments(
        frames.numpy(),
        pool.starts[clips].numpy(),
        pool.lengths[clips].numpy(),
        offsets.numpy(),
        (pool.scales[clips] / 32767).numpy(),
        out.numpy(),
    )
    return out.to(pool.device, non_blocking=True)


def index_segments(
    pool: StemPool, frames: Tensor, clips: Tensor, offsets: Tensor, segment: int
) -> Tensor:
    """What `gather_segments` does where the samples `frames` lie on a GPU, by torch's indexing."""
    device = frames.device
    of_clips = torch.stack([offsets, pool.lengths[clips], pool.starts[clips]])
    # Not blocking: what is copied waits in a buffer of the driver's, and nobody for the GPU.
    offsets, lengths, starts = of_clips.to(device, non_blocking=True)[..., None]
    scales = (pool.scales[clips] / 32767).to(device, non_blocking=True)
    positions = (torch.arange(segment, device=device) + offsets) % lengths + starts
    pairs = frames[positions].view(torch.int16).unflatten(1, (segment, 2))
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
