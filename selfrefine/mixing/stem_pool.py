"""A stem set in a layout from which random segments are read quickly."""

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
    """A stem set's samples, and tensors that describe its clips.

    `mapped` `(sample,)` holds the samples in memory-mapped form on the host. Each int32 is a stereo
    pair of int16 samples, so that one gather reads both channels. `frames` is `mapped` or a copy on
    `device`, the device of the drawn segments; only `frames` changes.

    `starts`, `lengths` (samples) and `scales` (amplitude of full scale) are `(clip,)`; `labels` is
    bool `(clip, class)`. `draw_weights`, float64 `(clip,)`, are in proportion to how often each is
    drawn. `has_loss`, bool `(clip,)`, is false for clips that a separator only hears in mixtures.
    `names` are "song/file", for messages.
    """

    sample_rate: int
    device: torch.device
    mapped: Tensor
    frames: Tensor
    starts: Tensor
    lengths: Tensor
    scales: Tensor
    labels: Tensor
    draw_weights: Tensor
    has_loss: Tensor
    names: tuple[str, ...]

    @property
    def elsewhere(self) -> bool:
        """Whether the samples are on a device other than the host."""
        return self.frames is not self.mapped


def load_pool(stems: AudioSet, device: torch.device) -> StemPool:
    """Opens a stem set with memory-mapped samples.

    Segments are copied to `device` when they are drawn, until `place_on_device` moves the samples.
    """
    pairs = stems.samples.view("<i4").reshape(-1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        frames = torch.from_numpy(pairs)
    lengths = torch.tensor([clip.length for clip in stems.clips])
    shares = [stems.draw_shares.get((clip.song, clip.name), 1.0) for clip in stems.clips]
    labels = torch.tensor([[name in clip.label for name in CLASSES] for clip in stems.clips])
    return StemPool(
        stems.sample_rate,
        device,
        frames,
        frames,
        torch.tensor([clip.start for clip in stems.clips]),
        lengths,
        torch.tensor([clip.scale for clip in stems.clips]),
        labels.reshape(len(stems.clips), len(CLASSES)),
        lengths * torch.tensor(shares, dtype=torch.float64),
        torch.tensor([(c.song, c.name) not in stems.without_loss for c in stems.clips]),
        tuple(f"{clip.song}/{clip.name}" for clip in stems.clips),
    )


def place_on_device(pool: StemPool, room: int) -> None:
    """Copies the samples to the pool's device if it is a GPU and they fit into `room` bytes."""
    if pool.device.type != "cpu" and pool.mapped.nbytes <= room:
        pool.frames = pool.mapped.to(pool.device)


def take_back(pool: StemPool) -> bool:
    """Goes back to the samples on the host. Returns whether they were on another device."""
    elsewhere = pool.elsewhere
    pool.frames = pool.mapped
    return elsewhere


def draw_segments(
    pool: StemPool, candidates: Tensor, count: int, segment: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws `count` clips out of `candidates`, in proportion to their weights, and a start in each.
    The weight of a clip is its length, unless its set has a share for it.

    Returns clip indices and starts (samples), both int64 `(count,)` on the CPU. A clip shorter than
    the segment may start anywhere, because it is repeated.
    """
    drawn = torch.multinomial(
        pool.draw_weights[candidates], count, replacement=True, generator=generator
    )
    clips = candidates[drawn]
    room = pool.lengths[clips] - segment
    span = torch.where(room >= 0, room + 1, pool.lengths[clips])
    offsets = (torch.rand(count, generator=generator, dtype=torch.float64) * span).long()
    return clips, offsets


def gather_segments(pool: StemPool, clips: Tensor, offsets: Tensor, segment: int) -> Tensor:
    """Segments as float32 `(count, channel=2, segment)` on the pool's device.

    A clip shorter than the segment is repeated.
    """
    frames = pool.frames
    if frames.device.type != "cpu":
        return index_segments(pool, frames, clips, offsets, segment)
    # From pinned memory, the copy to a GPU runs in parallel with its work.
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
    """`gather_segments` by torch's indexing, for samples `frames` on a GPU."""
    device = frames.device
    of_clips = torch.stack([offsets, pool.lengths[clips], pool.starts[clips]])
    # The copy does not block: the driver buffers it, and the CPU does not wait for the GPU.
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
    """Splits channels, scales and repeats clips in one pass. Indexing each sample is far slower.

    `frames` is int32 `(sample,)`, each a pair of int16. `out` is float32 `(count, 2, segment)` and
    is overwritten. The other arrays are `(count,)`.
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
            # Shifts of whole pairs compile to vector instructions; indexing their halves does not.
            for k in range(run):
                left[k] = np.float32(np.int32(pairs[k] << half) >> half) * scale
                right[k] = np.float32(pairs[k] >> half) * scale
            filled += run
            position = 0
