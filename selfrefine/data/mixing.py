"""Random mixing: multi-labelled mixtures of single stems (section 3.1.1, figure 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from selfrefine.audio.effect_chain import apply_effects, apply_effects_with_pedalboard
from selfrefine.audio.effects import draw_effects
from selfrefine.classes import CLASSES
from selfrefine.data.stem_pool import StemPool, draw_segments, gather_segments
from selfrefine.errors import InputError
from selfrefine.machine_settings import effects_by_pedalboard
from selfrefine.settings import Classifier, EffectRanges


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

    `available` is bool `(class,)`. Redrawing lifts a class' prevalence from p to
    p / (1 - (1 - p)^n) with n classes available: .533 at p = .5 and four.
    """
    chosen = torch.zeros(count, len(CLASSES), dtype=torch.bool)
    empty = torch.ones(count, dtype=torch.bool)
    while empty.any():
        draws = torch.rand(count, len(CLASSES), generator=generator) < chance
        chosen = torch.where(empty[:, None], draws & available, chosen)
        empty = ~chosen.any(dim=1)
    return chosen


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
    settings: Classifier,
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
        parameters = draw_effects(len(clips), effects, generator)
        if effects_by_pedalboard():
            sources = apply_effects_with_pedalboard(sources, parameters, pool.sample_rate)
        else:
            sources = apply_effects(sources, parameters, pool.sample_rate, out=sources)
    device = sources.device
    audio = sources.new_zeros(count, 2, settings.segment).index_add_(0, items.to(device), sources)
    labels = torch.zeros(count, len(CLASSES)).index_add_(0, items, pool.labels[clips].float())
    return Mixtures(audio, labels.clamp_(max=1.0).to(device), clips, items)
