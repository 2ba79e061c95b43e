"""What stages that the store has not seen will cost on this device: seconds and memory.

Trainings are measured by `experiments.trial`, once per device and settings, and kept in the store;
the rest follows from the hours of audio. Silence is counted though it will be cut, so that the
estimates are on the high side.
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

from experiments.data import root_of, split_songs
from experiments.naming import describe
from experiments.runner import tell
from experiments.stages import (
    BandSongs,
    Classifier,
    Corrupted,
    DataSet,
    FolderSongs,
    Probabilities,
    RecognitionOutputs,
    SeparationScore,
    Separator,
    Stage,
    StemSet,
    Trimmed,
)
from experiments.store import Store
from experiments.trial import Trial, try_training
from selfrefine import settings as method
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError

DECODED_PER_SECOND = 150.0
"""Seconds of a stem that a core decodes, resamples and stores in a second."""
TRIMMED_PER_SECOND = 400.0
PLAYED_SHARE = 0.15
"""Of a band song's length, what making it takes."""
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


def expected_cost(stage: Stage, store: Store) -> Cost:
    """Raises InputError where a training cannot be tried on this device."""
    match stage:
        case BandSongs():
            return Cost(stage.songs * stage.seconds * PLAYED_SHARE)
        case FolderSongs() | Corrupted():
            return Cost(stem_seconds(stage) / DECODED_PER_SECOND)
        case Trimmed():
            return Cost(stem_seconds(stage.of) / TRIMMED_PER_SECOND)
        case Classifier() | Separator():
            trial = trial_of(stage, store)
            return Cost(training_steps(stage) * trial.step_seconds, memory_words(stage, trial))
        case Probabilities() | RecognitionOutputs():
            heard = stage.windows_per_segment * stem_seconds(stage.stems.of)
            return Cost(forward_seconds(stage.by, heard, store))
        case SeparationScore():
            heard = stem_seconds(stage.test) / len(CLASSES)
            return Cost(forward_seconds(stage.separator, heard, store))
    return Cost(TABLE_SECONDS)


def training_steps(stage: Classifier | Separator) -> int:
    """Where they depend on the data, as if no class were longer than another."""
    if stage.settings.steps is not None:
        return stage.settings.steps
    settings = stage.settings
    segments = stem_seconds(base(stage.train).of) / len(CLASSES) * settings.sample_rate
    return math.ceil(settings.epochs * segments / settings.segment / settings.batch)


def forward_seconds(stage: Classifier | Separator, heard: float, store: Store) -> float:
    """Of `heard` seconds of audio through a network."""
    settings = stage.settings
    batch_seconds = settings.batch * settings.segment / settings.sample_rate
    return trial_of(stage, store).step_seconds * FORWARD_SHARE * heard / batch_seconds


def memory_words(stage: Classifier | Separator, trial: Trial) -> str:
    stems = stem_seconds(base(stage.train).of) * stage.settings.sample_rate * STORED_BYTES
    words = f"{trial.memory / 1e9:.1f} GB of {trial.device}"
    if not trial.device.startswith("CPU"):
        words += f" and up to {stems / 1e9:.1f} GB for the stems, on disk where that is too much"
    if trial.items_at_once < stage.settings.batch:
        words += f", with SELFREFINE_ITEMS_AT_ONCE={trial.items_at_once}"
    return words


def base(stems: StemSet) -> Trimmed:
    return stems if isinstance(stems, Trimmed) else stems.of.stems


@cache
def stem_seconds(songs: Stage) -> float:
    """Of all stems together, by the headers of a folder's files."""
    match songs:
        case BandSongs():
            return songs.songs * songs.seconds * len(CLASSES)
        case Corrupted():
            return stem_seconds(songs.of)
        case FolderSongs():
            return folder_seconds(songs)
    return 0.0


def folder_seconds(songs: FolderSongs) -> float:
    from selfrefine.data.header import read_header

    dataset = DataSet(songs.name, songs.split)
    seconds = 0.0
    for song in split_songs(root_of(dataset), dataset, songs.tracks):
        # The stems of a song are equally long; one header stands for all.
        stems = [file for file in song.files if file.label]
        seconds += read_header(stems[0]).seconds * len({file.label for file in stems})
    return seconds


def trial_of(stage: Classifier | Separator, store: Store) -> Trial:
    """Measured now, or kept in the store since the last time on this device."""
    return tried(stage.settings, store, describe(stage))


@cache
def tried(settings: method.Classifier | method.Separator, store: Store, words: str) -> Trial:
    path = store.root / "trials.json"
    known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    key = hashlib.sha256(f"{device_mark()} {settings}".encode()).hexdigest()[:16]
    if key not in known:
        tell(f"timing a few steps of: {words}")
        # In a process of its own, so that planning keeps no network in memory.
        with get_context("spawn").Pool(1) as pool:
            try:
                known[key] = pool.apply(try_training, (settings,))
            except RuntimeError as error:
                raise InputError(f"{words} cannot be trained on this device: {error}") from error
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(known, indent=1))
        os.replace(partial, path)
    return Trial(**known[key])


def device_mark() -> str:
    """What a timing holds for: this machine, and the device chosen on it."""
    import platform

    chosen = [os.environ.get(f"SELFREFINE_{name}", "") for name in ("DEVICE", "PRECISION")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"{platform.node()} {os.cpu_count()} {visible} {chosen}"
