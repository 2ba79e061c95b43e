"""Training a separator on stems that may carry several labels (section 3.2)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from selfrefine.audio.spectrogram import magnitude
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.mixing.separation_batch import (
    SeparationBatch,
    draw_separation_batch,
    separation_candidates,
)
from selfrefine.mixing.stem_pool import load_pool
from selfrefine.models.grouped_loss import Kept
from selfrefine.models.separator import build_separator, separation_loss
from selfrefine.models.xumx import CrossNet
from selfrefine.randomness import generator_for
from selfrefine.settings import SeparatorSettings
from selfrefine.training.loop import Place, Trained, train
from selfrefine.training.memory import slices
from selfrefine.training.schedule import Schedule
from selfrefine.training.task import Task

STATISTICS_MIXTURES = 64
"""How many mixtures X-UMX's input statistics are measured on."""


def train_separator(
    stems: AudioSet, settings: SeparatorSettings, seed: int, place: Place
) -> Trained:
    """Trains a separator. Leaves the weights in the place's `folder/model.pt`.

    Raises InputError when no stem has one label, and what `train` raises.
    """
    pool = load_pool(stems, place.device)
    candidates = separation_candidates(pool)
    if not any(len(clips) for clips in candidates.single):
        raise InputError(
            "no single-labelled stem is left to train on; lower the refining threshold"
        )
    torch.manual_seed(seed)
    model = build_separator(settings)
    single_steps = round(settings.single_share * settings.steps)

    def draw(step: int, generator: torch.Generator) -> SeparationBatch:
        chance = 0.0 if step < single_steps else settings.multi_chance
        return draw_separation_batch(pool, candidates, settings, settings.batch, chance, generator)

    def parts(batch: SeparationBatch, at_once: int) -> list[tuple[SeparationBatch, float]]:
        return [
            (
                replace(
                    batch,
                    mixture=batch.mixture[piece],
                    targets=batch.targets[piece],
                    groups=batch.groups[piece],
                ),
                (piece.stop - piece.start) / len(batch.mixture),
            )
            for piece in slices(len(batch.mixture), at_once)
        ]

    def loss(model: nn.Module, batch: SeparationBatch, step: int) -> Tensor:
        kept = Kept(kept_share(settings, step), settings.kept_relative)
        return separation_loss(model, batch.mixture, batch.targets, batch.groups, kept)

    def sources(batch: SeparationBatch) -> list[str]:
        return [pool.names[clip] for clip in batch.clips.tolist()]

    if isinstance(model, CrossNet):
        # The step after the last: these draws are used nowhere else.
        generator = generator_for(seed, settings.steps)
        batch = draw_separation_batch(
            pool, candidates, settings, STATISTICS_MIXTURES, 0.0, generator
        )
        model.set_statistics(*magnitude_statistics(model, batch.mixture))
    schedule = Schedule(
        settings.steps,
        settings.learning_rate,
        settings.weight_decay,
        settings.warmup_steps,
        settings.final_rate,
    )
    task = Task(draw, parts, loss, sources, settings.batch, pool)
    return train(model, task, schedule, seed, place)


def kept_share(settings: SeparatorSettings, step: int) -> float:
    """The share of the items whose loss counts in a step, for each class."""
    if not settings.kept_shares:
        return 1.0
    return settings.kept_shares[step * len(settings.kept_shares) // settings.steps]


def magnitude_statistics(model: CrossNet, mixtures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation per input bin, `(bin,)`, of mixtures `(batch, channel, sample)`.

    The deviation has a floor of 1e-4 of the largest, as in Open-Unmix.
    """
    spectra = magnitude(mixtures, model.settings.fft, model.settings.hop, centred=True)
    spectra = spectra[:, :, : model.bins_in].transpose(2, 3).reshape(-1, model.bins_in)
    deviation = spectra.std(dim=0)
    return spectra.mean(dim=0).cpu(), deviation.clamp(min=1e-4 * deviation.max()).cpu()
