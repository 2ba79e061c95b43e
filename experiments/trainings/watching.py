"""Watches a training: recognition metrics or SDR on validation songs at some of its steps.

The measures are those of the tables, on little audio. An error here never ends a training.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import nn

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, by_song
from selfrefine.clips.song_signals import fullest_start, references_and_mixture
from selfrefine.errors import InputError
from selfrefine.metrics.recognition import recognition
from selfrefine.metrics.sdr import frame_sdr, median_over_tracks, track_sdr
from selfrefine.mixing.random_mixing import class_candidates, draw_mixtures
from selfrefine.mixing.stem_pool import load_pool
from selfrefine.models.classifier import magnitudes, probabilities
from selfrefine.models.separator import separate_song
from selfrefine.settings import ClassifierSettings, HDemucs, SeparatorSettings
from selfrefine.training.device import items_at_once
from selfrefine.training.memory import is_out_of_memory

SHARE = 0.025
"""Share of a training's time that looks at the model may take. The look at the end is always
taken."""
FIRST_SECONDS = 0.25
"""Assumed cost (s) of the first look."""

MIXTURES = 128
MIXTURES_AT_ONCE = 16
SEED = 400
THRESHOLD = 0.5
"""A fixed threshold, since a classifier has none. Each row that uses the classifier has its own."""

SONGS = 4
SECONDS = 3.0
"""Length (s) of a song's excerpt, in which its quietest source is loudest."""

Values = dict[str, float]
Metric = Callable[[nn.Module], Values]


class Watcher:
    """Measures a model during its training, as far as `SHARE` allows.

    `prepare` makes the metric at the first look. `tell` takes a step and its values. After an
    error, `say` gets one sentence, and the training goes on without being watched.
    """

    def __init__(
        self,
        prepare: Callable[[], Metric],
        tell: Callable[[int, Values], None],
        say: Callable[[str], None],
    ) -> None:
        self.prepare = prepare
        self.tell = tell
        self.say = say
        self.measure: Metric | None = None
        self.broken = False
        self.began = time.monotonic()
        self.spent = 0.0
        self.cost = FIRST_SECONDS

    def look(self, model: nn.Module, step: int, steps: int) -> None:
        began = time.monotonic()
        affordable = self.spent + self.cost <= SHARE * (began - self.began)
        if self.broken or not (affordable or step == steps):
            return
        try:
            if self.measure is None:
                self.measure = self.prepare()
            self.tell(step, {k: v for k, v in self.measure(model).items() if np.isfinite(v)})
        except Exception as error:  # any error: the training matters more than the look
            if is_out_of_memory(error):
                raise  # the training frees memory and tries the look again
            self.broken = True
            reason = (str(error) or repr(error)).splitlines()[0]
            self.say(f"not watched on validation songs: {reason}")
        self.cost = time.monotonic() - began
        self.spent += self.cost


def recognition_measure(
    stems: AudioSet, settings: ClassifierSettings, device: torch.device
) -> Metric:
    """Accuracy, F1, precision and recall on random mixtures that are made as in training.

    The mixtures are the same at each look and on each device. Raises InputError when there are no
    stems.
    """
    # On the host, since the training needs the device's memory.
    pool = load_pool(stems, torch.device("cpu"))
    generator = torch.Generator().manual_seed(SEED)
    candidates = class_candidates(pool)
    mixtures = draw_mixtures(pool, candidates, settings, MIXTURES, generator, settings.effects)
    truth = mixtures.labels.bool().numpy()

    @torch.no_grad()
    def measure(model: nn.Module) -> Values:
        outputs = [
            probabilities(model, magnitudes(audio.to(device), settings)).cpu().numpy()
            for audio in mixtures.audio.split(items_at_once(MIXTURES_AT_ONCE))
        ]
        scores = recognition(truth, np.concatenate(outputs), np.full(len(CLASSES), THRESHOLD))
        return averaged_and_by_class(asdict(scores))

    return measure


def separation_measure(
    songs: AudioSet, settings: SeparatorSettings, device: torch.device
) -> Metric:
    """SDR (dB) on a few seconds of a few songs: as in the tables, the median over frames of 1 s and
    then over songs. Raises InputError when no song has an excerpt with all sources."""
    excerpts = [
        (references, torch.from_numpy(mixture).to(device))
        for references, mixture in fullest_excerpts(songs)
    ]
    if isinstance(settings.network, HDemucs):
        # Hybrid Demucs pads its input to this length.
        short = min(SECONDS, settings.network.inference_seconds)
        settings = replace(settings, network=replace(settings.network, inference_seconds=short))
    second = songs.sample_rate

    def measure(model: nn.Module) -> Values:
        scores = []
        for references, mixture in excerpts:
            estimates = separate_song(model, settings, mixture).cpu().numpy()
            scores.append(track_sdr(frame_sdr(references, estimates, second, second)))
        return averaged_and_by_class({"sdr": median_over_tracks(np.array(scores))})

    return measure


def fullest_excerpts(songs: AudioSet) -> list[tuple[np.ndarray, np.ndarray]]:
    """References `(class, channel, sample)` and mixture `(channel, sample)` of the first songs that
    have an excerpt with all sources. Raises InputError when no song has one."""
    length = round(SECONDS * songs.sample_rate)
    found = []
    for clips in by_song(songs).values():
        references, mixture = references_and_mixture(songs, clips)
        start = fullest_start(references, min(length, mixture.shape[-1]))
        stretch = slice(start, start + length)
        if np.abs(references[..., stretch]).max(axis=(1, 2)).all():
            found.append((references[..., stretch].copy(), mixture[:, stretch].copy()))
        if len(found) == SONGS:
            return found
    if not found:
        raise InputError("no validation song has a stretch in which all sources sound")
    return found


def averaged_and_by_class(scores: dict[str, np.ndarray]) -> Values:
    """Turns scores `(class,)` into single values: "f1" is the mean, "f1/vocals" that of a class."""
    found: Values = {}
    for measure, values in scores.items():
        found[measure] = float(values.mean())
        found |= {f"{measure}/{name}": float(v) for name, v in zip(CLASSES, values, strict=True)}
    return found
