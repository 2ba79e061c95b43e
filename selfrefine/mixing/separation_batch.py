"""Mixtures and targets that train a separator, with multi-labelled sources (section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from selfrefine.audio.loudness import gain_to
from selfrefine.classes import CLASSES
from selfrefine.mixing.stem_pool import StemPool, draw_segments, gather_segments
from selfrefine.settings import SeparatorSettings


@dataclass(frozen=True)
class SeparationBatch:
    """`mixture` `(batch, channel=2, sample)`, `targets` `(batch, target=4, channel=2, sample)`.

    `groups`, on the CPU, holds 0 or 1: `(batch, target=4, class=4)`. Target t is compared with the
    sum of the estimates of the classes in row t. With single-labelled sources only, `groups` is the
    identity. A source with the label set bass+drums takes one row with two ones. The row that
    becomes free is all zeros, and this target has no loss. So are the rows of a source without
    loss. `clips` `(source,)` are the indices of the clips in the batch.
    """

    mixture: Tensor
    targets: Tensor
    groups: Tensor
    clips: Tensor


@dataclass(frozen=True)
class SeparationCandidates:
    """Indices of a pool's clips: single-labelled ones per class; and those that are multi-labelled
    or have no loss."""

    single: list[Tensor]
    multi: Tensor


def separation_candidates(pool: StemPool) -> SeparationCandidates:
    """Divides a pool's clips by the number of their labels, and by whether they have a loss."""
    alone = (pool.labels.sum(dim=1) == 1) & pool.has_loss
    single = [torch.nonzero(pool.labels[:, c] & alone).flatten() for c in range(len(CLASSES))]
    return SeparationCandidates(single, torch.nonzero(~alone).flatten())


def draw_sources(
    pool: StemPool,
    candidates: SeparationCandidates,
    count: int,
    multi_chance: float,
    segment: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws a clip and the start of a segment for each target of `count` mixtures.

    Returns clips `(count, target)`, offsets in samples `(count, target)`, and groups
    `(count, target, class)`. Clip and offset are -1 where a target is silent or merged into another
    one. With probability `multi_chance` a mixture has a multi-labelled source, in the row of its
    first class. A class without single-labelled clips is a silent target.
    """
    groups = torch.eye(len(CLASSES)).repeat(count, 1, 1)
    clips = torch.full((count, len(CLASSES)), -1)
    offsets = torch.full((count, len(CLASSES)), -1)
    merged = torch.zeros(count, len(CLASSES), dtype=torch.bool)
    with_multi = torch.rand(count, generator=generator) < multi_chance
    if len(candidates.multi) and with_multi.any():
        items = torch.nonzero(with_multi).flatten()
        drawn, starts = draw_segments(pool, candidates.multi, len(items), segment, generator)
        labels = pool.labels[drawn]
        row = labels.int().argmax(dim=1)
        merged[items] = labels
        groups[items] *= ~labels[:, :, None]
        groups[items, row] = labels.float() * pool.has_loss[drawn][:, None]
        clips[items, row], offsets[items, row] = drawn, starts
    for c, of_class in enumerate(candidates.single):
        rows = ~merged[:, c]
        if len(of_class) and rows.any():
            clips[rows, c], offsets[rows, c] = draw_segments(
                pool, of_class, int(rows.sum()), segment, generator
            )
    return clips, offsets, groups


def draw_separation_batch(
    pool: StemPool,
    candidates: SeparationCandidates,
    settings: SeparatorSettings,
    count: int,
    multi_chance: float,
    generator: torch.Generator,
) -> SeparationBatch:
    """Draws `count` mixtures of sources from any songs.

    Each source has a random gain and channel order, and a random sign with `settings.sign_flip`.
    The mixture is brought to the loudness `settings.loudness_lufs`, as in inference, and the
    targets are scaled by the same gain (section 4.2).
    """
    clips, offsets, groups = draw_sources(
        pool, candidates, count, multi_chance, settings.segment, generator
    )
    present = clips >= 0
    sources = gather_segments(pool, clips[present], offsets[present], settings.segment)
    device = sources.device
    low, high = settings.gain
    gains = low + (high - low) * torch.rand(len(sources), generator=generator)
    # The indices are found on the CPU. Counting a mask on a GPU would wait for its work.
    swapped = torch.nonzero(torch.rand(len(sources), generator=generator) < 0.5)[:, 0]
    if settings.sign_flip:
        gains *= torch.where(torch.rand(len(sources), generator=generator) < 0.5, -1.0, 1.0)
    swapped = swapped.to(device, non_blocking=True)
    places = torch.nonzero(present).to(device, non_blocking=True)
    sources *= gains.to(device, non_blocking=True)[:, None, None]
    sources[swapped] = sources[swapped].flip(1)
    targets = sources.new_zeros(count, len(CLASSES), 2, settings.segment)
    targets[places[:, 0], places[:, 1]] = sources
    mixture = targets.sum(dim=1)
    gain = gain_to(settings.loudness_lufs, mixture, settings.sample_rate)
    mixture *= gain[:, None, None]
    targets *= gain[:, None, None, None]
    return SeparationBatch(mixture, targets, groups, clips[present])
