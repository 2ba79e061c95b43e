"""Steps of trainings, measured on this device, each in its own process."""

import os
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from experiments.engine.processes import allocator_settings
from experiments.engine.runner import tell
from experiments.stages.stage import describe
from experiments.stages.training import Training
from experiments.store import Store
from experiments.trainings.step_cost import (
    Settings,
    StepCost,
    device_words,
    kept_or_measured,
    measure_step,
)
from experiments.work import StepCostOf
from selfrefine.errors import InputError
from selfrefine.files.temporary_folder import use_own_temporary_folder


def measured_here(store: Store) -> StepCostOf:
    """Returns a function that gives the cost of a training's step on this device, measured now or
    read from the store. The function raises InputError if the training cannot be tried."""
    use_own_temporary_folder()

    def step_cost_of(stage: Training) -> StepCost:
        return measured_step(stage.settings, stage.stem_bytes(), store.root, describe(stage))

    return step_cost_of


@cache
def measured_step(settings: Settings, stem_bytes: float, root: Path, words: str) -> StepCost:
    def attempt() -> StepCost:
        tell(f"timing a few steps of: {words}")
        os.environ.update(allocator_settings())
        # In its own process, so that no network stays in the memory of this one.
        with get_context("spawn").Pool(1) as pool:
            try:
                return pool.apply(measure_step, (settings, stem_bytes))
            except RuntimeError as error:
                raise InputError(f"{words} cannot be trained on this device: {error}") from error

    return kept_or_measured(settings, stem_bytes, device_here(), root, attempt)


@cache
def device_here() -> str:
    """The device in words, found in another process: only torch knows the GPU, and this process
    does not load torch."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(device_words)
