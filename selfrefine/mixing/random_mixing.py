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
    """A batch of mixtures: `audio` `(batch, channel=2, sample)`, `labels` float `(batch, class)`.

    `clips` and `items` are `(source,)`: source k is clip `clips[k]` and lies in mixture `items[k]`.
    """

    audio: Tensor
    labels: Tensor
    clips: Tensor
    items: Tensor


def choose_classes(
    count: int, available: Tensor, chance: float, generator: torch.Generator
) -> Tensor:
    """Draws which classes each mixture contains: bool `(count, class)`.

    Each class in `available`, bool `(class,)`, is chosen with probability `chance`. Mixtures
    without any class are drawn again.
    """
    chosen = torch.zeros(count, len(CLASSES), dtype=torch.bool)
    empty = torch.ones(count, dtype=torch.bool)
    while empty.any():
        draws = torch.rand(count, len(CLASSES), generator=generator) < chance
        chosen = torch.where(empty[:, None], draws & available, chosen)
        empty = ~chosen.any(dim=1)
    return chosen


def sources_per_mixture(chance: float, available: int) -> float:
    """Average number of sources per mixture, with `available` classes.

    Redrawing empty mixtures raises the probability of a class from p to p / (1 - (1 - p)^n), which
    is .533 for p = .5 and n = 4 classes.
    """
    return available * chance / (1 - (1 - chance) ** available)


def class_candidates(pool: StemPool) -> list[Tensor]:
    """For each class, the indices of the clips whose label set contains it.

    Raises InputError when no class has a clip.
    """
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
    """Draws `count` random mixtures of `settings.segment` samples, on the pool's device.

    `candidates` holds the indices of clips per class. The label set of a mixture is the union of
    its sources' label sets. With `effects` of None the sources are not changed.
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
    """Applies effects to sources `(source, channel=2, sample)`, possibly in place.

    pedalboard applies them where SELFREFINE_EFFECTS asks for it.
    """
    if effects_by_pedalboard():
        return apply_effects_with_pedalboard(sources, parameters, sample_rate)
    return apply_effects(sources, parameters, sample_rate, out=sources)


def union_of_labels(pool: StemPool, clips: Tensor, items: Tensor, count: int) -> Tensor:
    """Label sets of `count` mixtures: float `(mixture, class)` on the pool's device.

    `clips` and `items` are `(source,)`, as in `Mixtures`.
    """
    labels = torch.zeros(count, len(CLASSES)).index_add_(0, items, pool.labels[clips].float())
    return labels.clamp_(max=1.0).to(pool.device, non_blocking=True)
