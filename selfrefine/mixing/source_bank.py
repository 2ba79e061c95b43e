"""Sources with effects that are reused in several mixtures, mostly in different steps.

Effects take most of the time of random mixing, and a small network learns from mixtures faster than
a CPU core can make them. Each source therefore gets its effects once and is used a few times, as in
data echoing for slow input pipelines (Choi et al., "Faster neural network training with data
echoing", 2019). Each use combines it with other sources, another gain and another polarity.
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
"""Number of groups kept. A batch draws from all of them, so it seldom holds a source twice."""

_STREAM = 1
"""Third number of the groups' random generators, not 0: those of the steps have only two."""


class SourceBank:
    """The newest `GROUPS` groups of sources with effects.

    A group has about as many sources as a batch has mixtures, equally many of each class. The step
    alone decides which groups are kept; the seed and a group's number alone decide what it holds. A
    resumed training therefore draws the same mixtures as an uninterrupted one.
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
        """Draws the batch of a step, like `selfrefine.mixing.random_mixing.draw_mixtures`, but its
        sources also occur in other mixtures."""
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
        # Sources are added one by one, because index_add would first copy them all.
        for (item, group, place), gain in zip(drawn, gains.tolist(), strict=True):
            audio[item].add_(self._sources[group, place], alpha=gain)
        clips = self._clips[groups, places]
        labels = union_of_labels(self._pool, clips, items, settings.batch)
        return Mixtures(audio, labels, clips, items)

    def _renew(self, step: int) -> None:
        """Makes the groups that `step` needs and the bank does not hold."""
        first = int(step * self._groups_per_step)
        for number in range(first, first + GROUPS):
            place = number % GROUPS
            if self._numbers[place] != number:
                self._clips[place], self._sources[place] = self._group(number)
                self._numbers[place] = number

    def _group(self, number: int) -> tuple[Tensor, Tensor]:
        """Clips `(source,)` and sources with effects `(source, channel=2, sample)` of one group.

        They are ordered by class, and the gain effect is 0 dB.
        """
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
