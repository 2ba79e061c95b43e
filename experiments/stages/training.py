"""A network trained on a stem set: the base of classifiers and separators."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.stages.songs import Songs
from experiments.stages.stage import Result, Stage
from experiments.stages.stem_set import StemSet
from experiments.trainings.step_cost import StepCost, device_words, known_to_fit
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES
from selfrefine.settings import ClassifierSettings, SeparatorSettings

if TYPE_CHECKING:
    from experiments.trainings.watching import Metric
    from selfrefine.clips.audio_set import AudioSet
    from selfrefine.training.loop import Inspect, Place, Trained

WEIGHTS = "model.pt"
"""The file of the trained weights in a training's folder."""

LOADING_SECONDS = 5.0
"""Passes until a process has its network on the device."""
FORWARD_SHARE = 1 / 3
"""A forward pass over as much audio takes this share of a training step's time."""
STORED_BYTES = 4
"""Bytes of a stereo pair of samples in a stem set."""
THIN_SECONDS = 60.0
"""A class with less than this to train on is named."""


@dataclass(frozen=True)
class Training(Stage):
    """A network of `settings` trained on `trained_on`, every draw from `seed`."""

    unit: ClassVar[str] = "step"
    on_gpu: ClassVar[bool] = True

    trained_on: StemSet
    settings: ClassifierSettings | SeparatorSettings
    seed: int = 0

    def watched_with(self, songs: Songs) -> Stage:
        """The stage of the validation songs that the training is watched with."""
        raise NotImplementedError

    def own_seed(self) -> int | None:
        return self.seed

    def with_seed(self, seed: int) -> Any:
        return replace(self, seed=seed)

    def steps(self) -> int:
        """The number of steps. Where it depends on the data, no class is taken to be longer than
        another."""
        settings = self.settings
        if settings.steps is not None:
            return settings.steps
        samples = self.trained_on.stem_seconds() / len(CLASSES) * settings.sample_rate
        return math.ceil(settings.epochs * samples / settings.segment / settings.batch)

    def stem_bytes(self) -> float:
        """Bytes of the stems that it draws from."""
        return self.trained_on.stem_seconds() * self.settings.sample_rate * STORED_BYTES

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        step = step_cost_of(self)
        seconds = LOADING_SECONDS + self.steps() * step.step_seconds
        return Cost(seconds, self.memory_words(step))

    def applied_cost(self, heard: float, step_cost_of: StepCostOf) -> Cost:
        """The cost of applying the trained network to `heard` seconds of audio."""
        settings = self.settings
        batch_seconds = settings.batch * settings.segment / settings.sample_rate
        step = step_cost_of(self).step_seconds
        return Cost(LOADING_SECONDS + step * FORWARD_SHARE * heard / batch_seconds)

    def memory_words(self, step: StepCost) -> str:
        if not step.memory:
            return ""
        words = f"{step.memory / 1e9:.1f} GB of {step.device}"
        if not step.device.startswith("CPU"):
            among = "with the stems'" if step.stems_on_device else "the stems on the host:"
            words += f", {among} {self.stem_bytes() / 1e9:.1f} GB"
        if step.items_at_once < self.settings.batch:
            words += f", with SELFREFINE_ITEMS_AT_ONCE={step.items_at_once}"
        return words

    def train(
        self,
        work: Work,
        stems: "AudioSet",
        training: "Callable[[Place], Trained]",
        measure: "Callable[[AudioSet], Metric]",
    ) -> Result:
        """Runs `training` on `stems`, watched by `measure` of the songs that it is watched with.

        Returns the mean loss of the last tenth, the speed, and what there was to train on. Loss and
        speed are those of the whole training, also where it was resumed.
        """
        from selfrefine.training.device import prepare, training_device
        from selfrefine.training.loop import Place
        from selfrefine.training.memory import named_memory_errors
        from selfrefine.training.speed import peak_flops, peak_memory

        note_thin_classes(stems, work)
        device = training_device()
        prepare(device)
        known = known_to_fit(self.settings, device_words(), work.store.root)
        look = inspection(work, measure)
        with named_memory_errors():
            trained = training(Place(work.folder, device, work.progress, look, known))
        history = trained.history
        counted, seconds = len(history.losses), history.seconds or 1e-9
        minutes = {name: round(s / 60, 2) for name, s in single_labelled_seconds(stems).items()}
        speed = {
            "step_seconds": seconds / max(1, counted),
            "data_share": history.data_seconds / seconds,
            "flops_per_second": trained.step_flops * counted / seconds,
            "peak_flops_per_second": peak_flops(device),
            "memory_bytes": peak_memory(device),
            "items_at_once": trained.items_at_once,
            "resumed_at_seconds": history.resumed_at,
        }
        work.progress.note(speed_line(speed))
        return {
            "loss": history.final_loss(),
            "steps": trained.steps,
            **speed,
            "single_labelled_minutes": minutes,
            "multi_labelled_stems": sum(len(clip.label) > 1 for clip in stems.clips),
        }


def inspection(work: Work, measure: "Callable[[AudioSet], Metric]") -> "Inspect | None":
    """The function that looks at the training model; None without songs to watch it with."""
    from experiments.trainings.watching import Watcher
    from selfrefine.clips.audio_set import open_audio_set

    songs = work.watched_with
    if songs is None:
        return None

    def measured() -> "Metric":
        return measure(open_audio_set(work.store.finished(songs)))

    return Watcher(measured, work.validated, work.progress.note).look


def note_thin_classes(stems: "AudioSet", work: Work) -> None:
    """Says when classes have less than a minute to train on: their stems may have been relabelled
    away."""
    thin = [
        f"{seconds:.0f} s of {name}"
        for name, seconds in single_labelled_seconds(stems).items()
        if seconds < THIN_SECONDS
    ]
    if thin:
        work.progress.note(f"there is only {', '.join(thin)} with that label alone to train on")


def single_labelled_seconds(stems: "AudioSet") -> dict[str, float]:
    """Seconds of the stems that hold a class alone, by class."""
    return {
        name: sum(stems.seconds(clip) for clip in stems.clips if clip.label == (name,))
        for name in CLASSES
    }


def speed_line(speed: dict[str, float]) -> str:
    """A training's speed in one line."""
    reached, peak = speed["flops_per_second"] / 1e9, speed["peak_flops_per_second"] / 1e9
    return (
        f"{1000 * speed['step_seconds']:.0f} ms a step, {speed['data_share']:.0%} of it data; "
        f"{reached:.0f} GFLOP/s, {peak:.0f} in a matrix product; "
        f"{speed['memory_bytes'] / 2**30:.1f} GB"
    )
