"""Random mixing: multi-labelled mixtures of single stems (section 3.1.1, figure 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from selfrefine.audio.effect_chain import apply_effects, apply_effects_with_pedalboard
from selfrefine.audio.effects import EffectParameters, draw_effects
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.machine_settings import effects_by_pedalboard
from selfrefine.mixing.stem_pool import StemPool, draw_segments, gather_segments
from selfrefine.settings import ClassifierSettings, EffectRanges


@dataclass(frozen=True)
class Mixtures:
    """`audio` `(batch, channel=2, sample)`, `labels` float `(batch, class)`; `clips` and `items`
    `(source,)` say which clip went into which mixture."""

    audio: Tensor
    labels: Tensor
    clips: Tensor
    items: Tensor


def choose_classes(
    count: int, available: Tensor, chance: float, generator: torch.Generator
) -> Tensor:
    """Bool `(count, class)`: each available class with `chance`, drawn again while empty.

    `available` is bool `(class,)`.
    """
    chosen = torch.zeros(count, len(CLASSES), dtype=torch.bool)
    empty = torch.ones(count, dtype=torch.bool)
    while empty.any():
        draws = torch.rand(count, len(CLASSES), generator=generator) < chance
        chosen = torch.where(empty[:, None], draws & available, chosen)
        empty = ~chosen.any(dim=1)
    return chosen


def sources_per_mixture(chance: float, available: int) -> float:
    """On average, with so many classes available: redrawing empty mixtures lifts a class'
    prevalence from p to p / (1 - (1 - p)^n), .533 at p = .5 and four."""
    return available * chance / (1 - (1 - chance) ** available)


def class_candidates(pool: StemPool) -> list[Tensor]:
    """For each class the clips whose label has it. Raises InputError when there are no clips."""
    candidates = [torch.nonzero(pool.labels[:, c]).flatten() for c in range(len(CLASSES))]
    if not any(len(clips) for clips in candidates):
        raise InputError(
            "no stem is left to train on: every one was dropped; lower the refining threshold"
        )
    return candidates


def draw_mixtures(
    pool: StemPool,
    candidates: list[Tensor],
    settings: ClassifierSettings,
    count: int,
    generator: torch.Generator,
    effects: EffectRanges | None,
) -> Mixtures:
    """`count` random mixtures of `settings.segment` samples, on the pool's device.

    A mixture's label is the union of its sources' labels. `effects` of None leaves the sources as
    they are.
    """
    available = torch.tensor([len(clips) > 0 for clips in candidates])
    chosen = choose_classes(count, available, settings.mix_chance, generator)
    clips = torch.zeros(count, len(CLASSES), dtype=torch.long)
    offsets = torch.zeros_like(clips)
    for c, of_class in enumerate(candidates):
        rows = chosen[:, c]
        if rows.any():
            clips[rows, c], offsets[rows, c] = draw_segments(
                pool, of_class, int(rows.sum()), settings.segment, generator
            )
    items = torch.nonzero(chosen)[:, 0]
    clips, offsets = clips[chosen], offsets[chosen]
    sources = gather_segments(pool, clips, offsets, settings.segment)
    if effects is not None:
        sources = effected(sources, draw_effects(len(clips), effects, generator), pool.sample_rate)
    audio = sources.new_zeros(count, 2, settings.segment)
    audio.index_add_(0, items.to(sources.device, non_blocking=True), sources)
    return Mixtures(audio, union_of_labels(pool, clips, items, count), clips, items)


def effected(sources: Tensor, parameters: EffectParameters, sample_rate: int) -> Tensor:
    """Sources `(source, channel=2, sample)` with effects, possibly in place; by pedalboard where
    SELFREFINE_EFFECTS says so."""
    if effects_by_pedalboard():
        return apply_effects_with_pedalboard(sources, parameters, sample_rate)
    return apply_effects(sources, parameters, sample_rate, out=sources)


def union_of_labels(pool: StemPool, clips: Tensor, items: Tensor, count: int) -> Tensor:
    """Float `(mixture, class)` of `count` mixtures, on the pool's device; `clips` and `items`
    `(source,)` as in `Mixtures`."""
    labels = torch.zeros(count, len(CLASSES)).index_add_(0, items, pool.labels[clips].float())
    return labels.clamp_(max=1.0).to(pool.device, non_blocking=True)
