"""An instrument classifier Psi (section 3.1)."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from experiments.profiles import Profile
from experiments.stages.songs import Songs
from experiments.stages.stage import Result, Stage
from experiments.stages.training import WEIGHTS, Training
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import Work
from selfrefine.refining.starting import USUAL_TRAININGS, training_on
from selfrefine.scales import SCALES
from selfrefine.settings import ClassifierSettings, added

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Classifier(Training):
    """A classifier trained from scratch, or on from the weights of `start`; with
    `single_labelled_only` on stems of one class alone."""

    settings: ClassifierSettings = field(default_factory=ClassifierSettings)
    single_labelled_only: bool = False
    start: "Classifier | None" = added(None, as_before=None)

    @property
    def is_start(self) -> bool:
        """Whether others start from it. It is one file, so it has one seed."""
        return self.trained_on.start_of_others

    def words(self) -> str:
        return f"Psi_{self.training_words()}{self.reading_words()}"

    def training_words(self) -> str:
        """The labels that it learns from: "clean", "noisy", "refined", "refined2". "band" is one
        that others start from; those are "started", or "started1" after another number of
        trainings than usual."""
        if self.is_start:
            return "band"
        if self.start is not None:
            trainings = self.trainings_from_start()
            return "started" if trainings == USUAL_TRAININGS else f"started{trainings}"
        times = self.trained_on.relabellings()
        if times == 0:
            return self.trained_on.data_words()
        word = self.trained_on.relabelled_word()
        return word if times == 1 else f"{word}{times}"

    def trainings_from_start(self) -> int:
        """The number of trainings from the start on, each on the labels of the one before."""
        return 0 if self.start is None else 1 + self.trained_on.trainings_from_start()

    def reading_words(self) -> str:
        """A note on a classifier that reads the paper otherwise than its scale does; else ""."""
        if self.is_start or self.start is not None:
            return ""
        for scale in SCALES.values():
            usual = scale.classifier
            otherwise = replace(self.settings, effects=usual.effects)
            if otherwise == usual != self.settings:
                return " (other effects)"
        return self.trained_on.reading()

    def refinements(self) -> int | None:
        before = self.trained_on.refinements()
        return None if before is None else before + 1

    def with_seed(self, seed: int) -> Any:
        return self if self.is_start else replace(self, seed=seed)

    def at_scale(self, profile: Profile) -> Any:
        if self.is_start:
            return replace(self, settings=profile.start)
        if self.start is not None:
            return replace(self, settings=training_on(profile.start, None))
        return self

    def watched_with(self, songs: Songs) -> Stage:
        return Trimmed(songs)

    def trained_model(self, store: Store, device: "torch.device") -> "nn.Module":
        """The trained network, evaluating on `device`."""
        from selfrefine.models.classifier import build_classifier
        from selfrefine.models.weights import load_model

        return load_model(build_classifier(self.settings), store.finished(self) / WEIGHTS, device)

    def compute(self, work: Work) -> Result:
        from experiments.trainings.watching import recognition_measure
        from selfrefine.clips.audio_set import single_labelled
        from selfrefine.models.weights import read_weights
        from selfrefine.training.classifier import train_classifier
        from selfrefine.training.device import training_device

        stems = self.trained_on.clips(work.store)
        if self.single_labelled_only:
            stems = single_labelled(stems)
        start = None
        if self.start is not None:
            start = read_weights(work.store.finished(self.start) / WEIGHTS)
        return self.train(
            work,
            stems,
            lambda place: train_classifier(stems, self.settings, self.seed, place, start),
            lambda songs: recognition_measure(songs, self.settings, training_device()),
        )
