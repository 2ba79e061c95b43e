"""What trainings are expected to take on one H100 of 80 GB: a plan for whoever has none at hand.

Nothing here was measured. Floating-point operations and memory traffic of a step were counted at
the paper's sizes, and seconds follow from what the device can do: the middle of a range that
reaches a third up and down. `plan` on the device itself measures.
"""

from experiments.engine.slots import Machine
from experiments.stages.training import Training
from experiments.trainings.trial import Trial
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
"""At the paper's batches of 128, 32 and 160."""

WAITING_SHARE = {"classifier": 0.0, "X-UMX": 0.9, "Demucs": 0.0}
"""Of a step, what does not fall with the batch: X-UMX's LSTMs go through their frames in turn."""

DEMUCS_BYTES_AN_ITEM = 116e9 / 160
LARGEST_BYTES = 72e9


def counted_machine(name: str) -> Machine:
    """Raises InputError for a GPU that nobody counted for."""
    if name != NAME:
        raise InputError(f"--gpu {name}: only {NAME} was counted for; leave it out to measure here")
    # One training after another: what several at once would gain was not counted.
    return Machine(CORES, True, 1)


def counted_trial(stage: Training) -> Trial:
    """Raises InputError for a network of another size than the paper's."""
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
    return Trial(DEVICE, seconds, memory, at_once)
