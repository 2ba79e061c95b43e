"""Expected time and memory of trainings on a GPU that is not here, for a plan.

On an H200 trainings of 60 steps at the paper's sizes were timed, with the drawing of their batches;
of Demucs only the network's step. For an H100 the floating-point operations and the memory traffic
of a step were counted, and nothing was timed: the seconds may be a third too high or too low. On a
device that is here, `plan` measures instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.engine.slots import Machine
from experiments.profiles import SMALL_AT_44100
from experiments.stages.training import Training
from experiments.trainings.step_cost import StepCost, cost_of
from selfrefine.errors import InputError
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    XUMX,
    ClassifierSettings,
    SeparatorSettings,
)

CORES = 16


@dataclass(frozen=True)
class KnownGpu:
    """A GPU with 16 cores beside it.

    `step_seconds` are of the paper's networks at the paper's batch sizes of 128, 32 and 160.
    `start_seconds` are of the classifier that others start from at 44.1 kHz, None where nothing is
    known of it. Demucs gets at most `demucs_bytes` of the GPU's memory.
    """

    words: str
    step_seconds: dict[str, float]
    start_seconds: float | None
    demucs_bytes: float


KNOWN = {
    "h100": KnownGpu(
        "one H100, counted and not measured",
        {"classifier": 0.325, "X-UMX": 0.155, "Demucs": 0.55},
        None,
        72e9,
    ),
    "h200": KnownGpu(
        "one H200, as measured on one",
        {"classifier": 0.333, "X-UMX": 0.244, "Demucs": 0.727},
        0.016,
        130e9,
    ),
}

WAITING_SHARE = {"classifier": 0.0, "X-UMX": 0.9, "Demucs": 0.0}
"""Share of a step's time that does not fall with the batch size: X-UMX's LSTMs compute one frame
after another."""

DEMUCS_BYTES_AN_ITEM = 117e9 / 160


def known_gpu(name: str) -> KnownGpu:
    """The GPU of this name. Raises InputError for one that nothing is known of."""
    if name not in KNOWN:
        raise InputError(
            f"--gpu {name}: only {' and '.join(KNOWN)} are known; leave it out to measure here"
        )
    return KNOWN[name]


def known_machine() -> Machine:
    # One training after another: several at once gained a sixth at most.
    return Machine(CORES, True, 1)


def steps_as_start(settings: ClassifierSettings) -> bool:
    """Whether a step costs what one of the start at 44.1 kHz does."""
    return cost_of(settings) == cost_of(SMALL_AT_44100)


def known_step(gpu: KnownGpu) -> Callable[[Training], StepCost]:
    """The cost of a training on the GPU, by stage. The function raises InputError for a network of
    which nothing is known."""

    def cost(stage: Training) -> StepCost:
        settings = stage.settings
        paper: ClassifierSettings | SeparatorSettings
        if isinstance(settings, ClassifierSettings):
            name, paper = "classifier", ClassifierSettings()
            if gpu.start_seconds is not None and steps_as_start(settings):
                return StepCost(gpu.words, gpu.start_seconds, 0.0, settings.batch)
        elif isinstance(settings.network, XUMX):
            name, paper = "X-UMX", PAPER_XUMX
        else:
            name, paper = "Demucs", PAPER_HDEMUCS
        if settings.network != paper.network:
            raise InputError(f"--gpu: nothing is known of this {name}, only of the paper's")
        fixed = WAITING_SHARE[name]
        seconds = gpu.step_seconds[name] * (fixed + (1 - fixed) * settings.batch / paper.batch)
        at_once = settings.batch
        while name == "Demucs" and at_once * DEMUCS_BYTES_AN_ITEM > gpu.demucs_bytes:
            at_once = (at_once + 1) // 2
        memory = at_once * DEMUCS_BYTES_AN_ITEM if name == "Demucs" else 0.0
        return StepCost(gpu.words, seconds, memory, at_once)

    return cost
