"""Effected sources that go into several mixtures, most of them steps apart.

Effects are most of what random mixing costs, and a small network learns from mixtures faster than
a core can make them. There a source is effected once and used a few times, as data echoing does
behind a slow pipeline (Choi et al., "Faster neural network training with data echoing", 2019):
each time in other company, with another gain and another polarity.
"""

from dataclasses import replace

import torch
from torch import Tensor

from selfrefine.audio.effects import draw_effects, draw_gains
from selfrefine.mixing.random_mixing import (
    Mixtures,
    choose_classes,
    effected,
    sources_per_mixture,
    union_of_labels,
)
from selfrefine.mixing.stem_pool import StemPool, draw_segments, gather_segments
from selfrefine.randomness import generator_for
from selfrefine.settings import ClassifierSettings

GROUPS = 16
"""Groups kept, out of all of which each batch is drawn: it seldom holds a source twice."""

_STREAM = 1
"""Not 0: keeps the groups' draws apart from the steps', which have no third number."""


class SourceBank:
    """The newest `GROUPS` groups of effected sources, each about as many as a batch has mixtures,
    of every class alike.

    How far the groups have got depends on the step alone, and a group on the seed and its number
    alone: a resumed training mixes what an unbroken one does.
    """

    def __init__(
        self, pool: StemPool, candidates: list[Tensor], settings: ClassifierSettings, seed: int
    ) -> None:
        self._pool = pool
        self._candidates = candidates
        self._settings = settings
        self._seed = seed
        self._available = torch.tensor([len(clips) > 0 for clips in candidates])
        self._classes = torch.nonzero(self._available).flatten()
        self._of_class = max(1, settings.batch // len(self._classes))
        used = settings.batch * sources_per_mixture(settings.mix_chance, len(self._classes))
        group = self._of_class * len(self._classes)
        self._groups_per_step = used / settings.source_uses / group
        self._numbers = [-1] * GROUPS
        self._clips = torch.zeros(GROUPS, group, dtype=torch.long)
        self._sources = torch.zeros(GROUPS, group, 2, settings.segment, device=pool.device)

    def draw_mixtures(self, step: int, generator: torch.Generator) -> Mixtures:
        """The batch of a step, like that of `selfrefine.mixing.random_mixing.draw_mixtures` in all
        but that a source was or will be in other mixtures."""
        self._renew(step)
        settings = self._settings
        chosen = choose_classes(settings.batch, self._available, settings.mix_chance, generator)
        items, columns = torch.nonzero(chosen[:, self._classes], as_tuple=True)
        count = len(items)
        groups = torch.randint(GROUPS, (count,), generator=generator)
        of_class = torch.randint(self._of_class, (count,), generator=generator)
        places = columns * self._of_class + of_class
        gains = draw_gains(count, settings.effects, generator)
        audio = self._sources.new_zeros(settings.batch, 2, settings.segment)
        drawn = torch.stack([items, groups, places], dim=1).tolist()
        # One by one, because index_add would first copy them all.
        for (item, group, place), gain in zip(drawn, gains.tolist(), strict=True):
            audio[item].add_(self._sources[group, place], alpha=gain)
        clips = self._clips[groups, places]
        labels = union_of_labels(self._pool, clips, items, settings.batch)
        return Mixtures(audio, labels, clips, items)

    def _renew(self, step: int) -> None:
        """Makes those of the groups for `step` that the bank does not hold."""
        first = int(step * self._groups_per_step)
        for number in range(first, first + GROUPS):
            place = number % GROUPS
            if self._numbers[place] != number:
                self._clips[place], self._sources[place] = self._group(number)
                self._numbers[place] = number

    def _group(self, number: int) -> tuple[Tensor, Tensor]:
        """Clips `(source,)` and effected sources `(source, channel=2, sample)`, class by class, at
        a gain of 0 dB."""
        settings, pool = self._settings, self._pool
        generator = generator_for(self._seed, number, _STREAM)
        drawn = [
            draw_segments(pool, of_class, self._of_class, settings.segment, generator)
            for of_class in self._candidates
            if len(of_class)
        ]
        clips, offsets = (torch.cat(part) for part in zip(*drawn, strict=True))
        sources = gather_segments(pool, clips, offsets, settings.segment)
        ranges = replace(settings.effects, gain=(0.0, 0.0))
        parameters = draw_effects(len(clips), ranges, generator)
        return clips, effected(sources, parameters, pool.sample_rate)
