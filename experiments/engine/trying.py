"""Short trials of trainings on this device, each in its own process."""

import os
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from experiments.engine.runner import allocator_settings, tell
from experiments.stages.stage import describe
from experiments.stages.training import Training
from experiments.store import Store
from experiments.trainings.trial import Settings, Trial, device_words, kept_or_tried, try_training
from experiments.work import TrialOf
from selfrefine.errors import InputError


def measured_here(store: Store) -> TrialOf:
    """Returns a function that gives the trial of a training on this device, made now or read from
    the store. The function raises InputError if the training cannot be tried."""

    def trial_of(stage: Training) -> Trial:
        return tried(stage.settings, stage.stem_bytes(), store.root, describe(stage))

    return trial_of


@cache
def tried(settings: Settings, stem_bytes: float, root: Path, words: str) -> Trial:
    def attempt() -> Trial:
        tell(f"timing a few steps of: {words}")
        os.environ.update(allocator_settings())
        # In its own process, so that no network stays in the memory of this one.
        with get_context("spawn").Pool(1) as pool:
            try:
                return pool.apply(try_training, (settings, stem_bytes))
            except RuntimeError as error:
                raise InputError(f"{words} cannot be trained on this device: {error}") from error

    return kept_or_tried(settings, stem_bytes, device_here(), root, attempt)


@cache
def device_here() -> str:
    """The device in words, found in another process: only torch knows the GPU, and this process
    does not load torch."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(device_words)
