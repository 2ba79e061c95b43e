"""Expected time and memory of trainings on one H100 of 80 GB, for a plan without such a GPU.

Nothing here was measured. The floating-point operations and the memory traffic of a training step
were counted at the paper's sizes. The seconds follow from the speed of the device and may be a
third too high or too low. On the device itself, `plan` measures instead.
"""

from experiments.engine.slots import Machine
from experiments.stages.training import Training
from experiments.trainings.step_cost import StepCost
from selfrefine.errors import InputError
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    XUMX,
    ClassifierSettings,
    SeparatorSettings,
)

NAME = "h100"
DEVICE = "one H100, counted and not measured"
CORES = 16

STEP_SECONDS = {"classifier": 0.325, "X-UMX": 0.155, "Demucs": 0.55}
"""Seconds of a training step at the paper's batch sizes of 128, 32 and 160."""

WAITING_SHARE = {"classifier": 0.0, "X-UMX": 0.9, "Demucs": 0.0}
"""Share of a step's time that does not fall with the batch size: X-UMX's LSTMs compute one frame
after another."""

DEMUCS_BYTES_AN_ITEM = 116e9 / 160
LARGEST_BYTES = 72e9


def counted_machine(name: str) -> Machine:
    """The machine with this GPU. Raises InputError for a GPU without counted times."""
    if name != NAME:
        raise InputError(f"--gpu {name}: only {NAME} was counted for; leave it out to measure here")
    # One training after another: the gain of several at once was not counted.
    return Machine(CORES, True, 1)


def counted_step(stage: Training) -> StepCost:
    """The cost of a training on the GPU. Raises InputError for a network that is not the
    paper's."""
    settings = stage.settings
    paper: ClassifierSettings | SeparatorSettings
    if isinstance(settings, ClassifierSettings):
        name, paper = "classifier", ClassifierSettings()
    elif isinstance(settings.network, XUMX):
        name, paper = "X-UMX", PAPER_XUMX
    else:
        name, paper = "Demucs", PAPER_HDEMUCS
    if settings.network != paper.network:
        raise InputError(f"--gpu {NAME}: counted for the paper's networks, not for this {name}")
    fixed = WAITING_SHARE[name]
    seconds = STEP_SECONDS[name] * (fixed + (1 - fixed) * settings.batch / paper.batch)
    at_once = settings.batch
    while name == "Demucs" and at_once * DEMUCS_BYTES_AN_ITEM > LARGEST_BYTES:
        at_once = (at_once + 1) // 2
    memory = at_once * DEMUCS_BYTES_AN_ITEM if name == "Demucs" else 0.0
    return StepCost(DEVICE, seconds, memory, at_once)
