"""Training the instrument classifier on random mixtures (section 3.1)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selfrefine.clips.audio_set import AudioSet
from selfrefine.mixing.random_mixing import class_candidates, draw_mixtures
from selfrefine.mixing.source_bank import SourceBank
from selfrefine.mixing.stem_pool import StemPool, load_pool
from selfrefine.models.classifier import build_classifier, magnitudes
from selfrefine.settings import ClassifierSettings
from selfrefine.training.loop import Place, Trained, train
from selfrefine.training.memory import slices
from selfrefine.training.schedule import Schedule
from selfrefine.training.task import Task


@dataclass(frozen=True)
class Labelled:
    """Spectra `inputs` `(batch, channel, bin, frame)` and their `labels` `(batch, class)`.

    `clips` `(source,)` are the indices of all stems in the batch, also where this is a part of it.
    """

    inputs: Tensor
    labels: Tensor
    clips: Tensor


def train_classifier(
    stems: AudioSet,
    settings: ClassifierSettings,
    seed: int,
    place: Place,
    start: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Trains a classifier on pseudo labels, the labels of `stems`.

    Leaves the weights in the place's `folder/model.pt`. The weights begin as those of `start`, a
    state of the same network, or as random ones. Raises InputError when no stem is left to train
    on, and what `train` raises.
    """
    pool = load_pool(stems, place.device)
    candidates = class_candidates(pool)
    torch.manual_seed(seed)
    model = build_classifier(settings)
    if start is not None:
        model.load_state_dict(start)
    steps = settings.steps or epoch_steps(pool, candidates, settings)

    bank = SourceBank(pool, candidates, settings, seed) if settings.source_uses > 1 else None

    def draw(step: int, generator: torch.Generator) -> Labelled:
        if bank is not None:
            mixtures = bank.draw_mixtures(step, generator)
        else:
            mixtures = draw_mixtures(
                pool, candidates, settings, settings.batch, generator, settings.effects
            )
        return Labelled(magnitudes(mixtures.audio, settings), mixtures.labels, mixtures.clips)

    def parts(batch: Labelled, at_once: int) -> list[tuple[Labelled, float]]:
        count = len(batch.labels)
        return [
            (
                Labelled(batch.inputs[piece], batch.labels[piece], batch.clips),
                (piece.stop - piece.start) / count,
            )
            for piece in slices(count, at_once)
        ]

    def loss(model: nn.Module, batch: Labelled, step: int) -> Tensor:
        use_bce = step < settings.bce_share * steps
        return classification_loss(model(batch.inputs), batch.labels, use_bce)

    def sources(batch: Labelled) -> list[str]:
        return [pool.names[clip] for clip in batch.clips.tolist()]

    schedule = Schedule(
        steps,
        settings.learning_rate,
        settings.weight_decay,
        settings.warmup_steps,
        settings.final_rate,
    )
    task = Task(draw, parts, loss, sources, settings.batch, pool)
    return train(model, task, schedule, seed, place)


def epoch_steps(pool: StemPool, candidates: list[Tensor], settings: ClassifierSettings) -> int:
    """Steps of `settings.epochs` epochs. An epoch cuts the longest class into segments once."""
    longest = max(int(pool.lengths[clips].sum()) for clips in candidates)
    return math.ceil(settings.epochs * longest / settings.segment / settings.batch)


def classification_loss(logits: Tensor, labels: Tensor, use_bce: bool) -> Tensor:
    """Binary cross-entropy of logits `(batch, class)` if `use_bce`, else the mean absolute error of
    their sigmoids. A scalar."""
    if use_bce:
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
    return (torch.sigmoid(logits.float()) - labels).abs().mean()
