"""What stages that the store has not seen will cost: seconds and memory.

On this device trainings are measured by `experiments.trainings.trial`, once per device and
settings, and kept in the store; for another GPU they are taken from
`experiments.engine.counted_gpu`. The rest follows from the hours of audio. Silence is counted
though it will be cut, so that the estimates are on the high side.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from experiments.data import root_of, split_songs
from experiments.engine.runner import allocator_settings, tell
from experiments.naming import describe
from experiments.own_songs import find_own_songs
from experiments.stages import (
    BandSongs,
    Classifier,
    Coloured,
    Corrupted,
    DataSet,
    FolderSongs,
    OwnSongs,
    Probabilities,
    RecognitionOutputs,
    SeparationScore,
    Separator,
    Stage,
    StemSet,
    Trimmed,
    TrulyLabelled,
)
from experiments.store import Store
from experiments.trainings.trial import Settings, Trial, device_words, kept_or_tried, try_training
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles

DECODED_PER_SECOND = 150.0
"""Seconds of a stem that a core decodes, resamples and stores in a second."""
TRIMMED_PER_SECOND = 400.0
PLAYED_SHARE = 0.15
"""Of a band song's length, what making it takes."""
LOADING_SECONDS = 5.0
"""Until a process has its network on the device."""
TABLE_SECONDS = 0.1
"""Of stages that only work on tables."""
FORWARD_SHARE = 1 / 3
"""Of a training step's time, what a forward pass over as much audio takes."""
STORED_BYTES = 4
"""Of a stereo pair of samples."""


@dataclass(frozen=True)
class Cost:
    """`memory` in words, empty where it is little."""

    seconds: float
    memory: str = ""


TrialOf = Callable[[Classifier | Separator], Trial]
"""What a training costs on some device."""


def expected_cost(stage: Stage, trial_of: TrialOf) -> Cost:
    """Raises what `trial_of` raises."""
    match stage:
        case BandSongs():
            return Cost(stage.songs * stage.seconds * PLAYED_SHARE)
        case FolderSongs() | OwnSongs() | Corrupted():
            return Cost(stem_seconds(stage) / DECODED_PER_SECOND)
        case Trimmed():
            return Cost(stem_seconds(stage.of) / TRIMMED_PER_SECOND)
        case Coloured():
            return Cost(set_seconds(stage) / TRIMMED_PER_SECOND)
        case Classifier() | Separator():
            trial = trial_of(stage)
            seconds = LOADING_SECONDS + training_steps(stage) * trial.step_seconds
            return Cost(seconds, memory_words(stage, trial))
        case Probabilities() | RecognitionOutputs():
            heard = stage.windows_per_segment * stem_seconds(stage.stems.of)
            return Cost(forward_seconds(stage.by, heard, trial_of))
        case SeparationScore():
            heard = stem_seconds(stage.test) / len(CLASSES)
            return Cost(forward_seconds(stage.separator, heard, trial_of))
    return Cost(TABLE_SECONDS)


def training_steps(stage: Classifier | Separator) -> int:
    """Where they depend on the data, as if no class were longer than another."""
    if stage.settings.steps is not None:
        return stage.settings.steps
    settings = stage.settings
    segments = set_seconds(stage.train) / len(CLASSES) * settings.sample_rate
    return math.ceil(settings.epochs * segments / settings.segment / settings.batch)


def forward_seconds(stage: Classifier | Separator, heard: float, trial_of: TrialOf) -> float:
    """Of `heard` seconds of audio through a network."""
    settings = stage.settings
    batch_seconds = settings.batch * settings.segment / settings.sample_rate
    step = trial_of(stage).step_seconds
    return LOADING_SECONDS + step * FORWARD_SHARE * heard / batch_seconds


def stem_bytes(stage: Classifier | Separator) -> float:
    """Of the stems that a training draws from."""
    return set_seconds(stage.train) * stage.settings.sample_rate * STORED_BYTES


def memory_words(stage: Classifier | Separator, trial: Trial) -> str:
    if not trial.memory:
        return ""
    words = f"{trial.memory / 1e9:.1f} GB of {trial.device}"
    if not trial.device.startswith("CPU"):
        among = "with the stems'" if trial.stems_on_device else "the stems on the host:"
        words += f", {among} {stem_bytes(stage) / 1e9:.1f} GB"
    if trial.items_at_once < stage.settings.batch:
        words += f", with SELFREFINE_ITEMS_AT_ONCE={trial.items_at_once}"
    return words


def set_seconds(stems: StemSet) -> float:
    """Of a stem set."""
    match stems:
        case Trimmed():
            return stem_seconds(stems.of)
        case TrulyLabelled():
            return stem_seconds(stems.of.of)
        case Coloured():
            return 2 * (stem_seconds(stems.first.of) + stem_seconds(stems.second.of))
    return stem_seconds(stems.of.stems.of)


@cache
def stem_seconds(songs: Stage) -> float:
    """Of all stems together, by the headers of a folder's files."""
    match songs:
        case BandSongs():
            return songs.songs * songs.seconds * len(CLASSES)
        case Corrupted():
            return stem_seconds(songs.of)
        case FolderSongs():
            dataset = DataSet(songs.name, songs.split)
            return folder_seconds(split_songs(root_of(dataset), dataset, songs.tracks))
        case OwnSongs():
            return folder_seconds(find_own_songs())
    return 0.0


def folder_seconds(songs: list[SongFiles]) -> float:
    from selfrefine.files.header import read_header

    seconds = 0.0
    for song in songs:
        # The stems of a song are equally long; one header stands for all.
        stems = [file for file in song.files if file.label]
        seconds += read_header(stems[0]).seconds * len({file.label for file in stems})
    return seconds


def measured_here(store: Store) -> TrialOf:
    """Trials on this device, made now or kept in the store since the last time. They raise
    InputError where a training cannot be tried."""

    def trial_of(stage: Classifier | Separator) -> Trial:
        return tried(stage.settings, stem_bytes(stage), store.root, describe(stage))

    return trial_of


@cache
def tried(settings: Settings, stem_bytes: float, root: Path, words: str) -> Trial:
    def attempt() -> Trial:
        tell(f"timing a few steps of: {words}")
        os.environ.update(allocator_settings())
        # In a process of its own, so that planning keeps no network in memory.
        with get_context("spawn").Pool(1) as pool:
            try:
                return pool.apply(try_training, (settings, stem_bytes))
            except RuntimeError as error:
                raise InputError(f"{words} cannot be trained on this device: {error}") from error

    return kept_or_tried(settings, stem_bytes, device_here(), root, attempt)


@cache
def device_here() -> str:
    """Asked in a process of its own: only torch knows a GPU, and planning does without torch."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(device_words)
