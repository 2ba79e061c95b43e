"""A classifier's outputs on random mixtures, by which it is tested (section 5.1)."""

from collections.abc import Iterator

import torch
from torch import nn

from selfrefine.clips.audio_set import AudioSet
from selfrefine.mixing.random_mixing import class_candidates, draw_mixtures
from selfrefine.mixing.stem_pool import load_pool
from selfrefine.models.classifier import magnitudes, probabilities
from selfrefine.settings import ClassifierSettings

MIXTURES_AT_ONCE = 16


@torch.inference_mode()
def mixture_outputs(
    model: nn.Module,
    stems: AudioSet,
    settings: ClassifierSettings,
    count: int,
    seed: int,
    device: torch.device,
) -> Iterator[tuple[tuple[bool, ...], tuple[float, ...]]]:
    """Yields true labels and outputs, each `(class,)`, for `count` mixtures made as in training,
    with effects. `model` is on `device`, in evaluation mode. The same seed makes the same mixtures
    for every classifier of the same input length. Raises InputError when there are no stems."""
    pool = load_pool(stems, device)
    candidates = class_candidates(pool)
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, MIXTURES_AT_ONCE):
        mixtures = draw_mixtures(
            pool,
            candidates,
            settings,
            min(MIXTURES_AT_ONCE, count - first),
            generator,
            settings.effects,
        )
        outputs = probabilities(model, magnitudes(mixtures.audio, settings)).double()
        labels = mixtures.labels.bool().tolist()
        for truth, values in zip(labels, outputs.tolist(), strict=True):
            yield tuple(truth), tuple(values)
