"""What stands in the place of the paper's data sets: one function a choice of DATA.

The registry speaks of `DataSet("musdb18", …)` with the splits train (clean),
validation and test, and of `DataSet("sdxdb23", …)` with the splits train (noisy) and uncorrupted.
A choice maps each to songs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from experiments.stages import (
    BandSongs,
    Corrupted,
    DataSet,
    FolderSongs,
    Stage,
    TrulyLabelled,
    closure,
    rebuild,
)
from selfrefine.errors import InputError
from selfrefine.files.layouts import VALIDATION_FOLDERS, SongFiles, find_songs, fingerprint
from selfrefine.files.splits import songs_of_split
from selfrefine.progress import Progress
from selfrefine.settings import Corruption

BAND_SEED = 2023
NOISY_DOMAIN = "b"
"""Of the band, the domain that stands for the label-noise set; "a" stands for MUSDB18."""
VALIDATION_OFFSET = 400
TEST_OFFSET = 500
START_OFFSET = 2000
"""Index of the first song of a domain that is for validation, for the test, for the classifier that
others start from: no song is in two of them."""


@dataclass(frozen=True)
class DataScale:
    """How much data a profile takes, and at what rate (Hz). The band's songs and seconds; of a
    folder, all. `start_songs` of each domain, of `start_seconds`, are what the classifier learns
    from that others start from, whatever the data."""

    sample_rate: int
    clean_songs: int
    noisy_songs: int
    validation_songs: int
    test_songs: int
    seconds: float
    noise: Corruption
    start_songs: int
    start_seconds: float


def band(dataset: DataSet, scale: DataScale) -> Stage:
    """Domain a stands for MUSDB18, domain b for the label-noise set."""

    def songs(domain: str, first: int, count: int) -> BandSongs:
        return BandSongs(domain, first, count, scale.seconds, scale.sample_rate, BAND_SEED)

    if dataset == CLEAN:
        return songs("a", 0, scale.clean_songs)
    if dataset == TEST:
        return songs("a", TEST_OFFSET, scale.test_songs)
    if dataset == VALIDATION:
        return songs("a", VALIDATION_OFFSET, scale.validation_songs)
    uncorrupted = songs(NOISY_DOMAIN, 0, scale.noisy_songs)
    return uncorrupted if dataset == UNCORRUPTED else Corrupted(uncorrupted, scale.noise)


def musdb(dataset: DataSet, scale: DataScale) -> Stage:
    """MUSDB18-HQ or MUSDB18 under $MUSDB_PATH, the label-noise set under $LABELNOISE_PATH, of which
    nobody has an uncorrupted version. Raises InputError where that is asked for."""
    if dataset == UNCORRUPTED:
        raise InputError("musdb does not know the noisy set without its label noise")
    return folder_stage(dataset, scale, tracks=False)


def multitrack(dataset: DataSet, scale: DataScale) -> Stage:
    """Clean multitracks under $MULTITRACK_PATH; the noisy set is their training split with 40% of
    the instrument tracks filed under wrong stems."""
    if dataset in (NOISY, UNCORRUPTED):
        tracks = folder_stage(DataSet("multitrack", "train"), scale, tracks=True)
        return tracks if dataset == UNCORRUPTED else Corrupted(tracks, Corruption(0.0, 0.4, 0.0))
    return folder_stage(DataSet("multitrack", dataset.split), scale, tracks=False)


CHOICES: dict[str, Callable[[DataSet, DataScale], Stage]] = {
    "band": band,
    "musdb": musdb,
    "multitrack": multitrack,
}

CLEAN = DataSet("musdb18", "train")
VALIDATION = DataSet("musdb18", "validation")
TEST = DataSet("musdb18", "test")
START = (DataSet("band", "a"), DataSet("band", "b"))
"""Songs of the band that no other stage is made from: the start must not know what it judges."""
NOISY = DataSet("sdxdb23", "train")
UNCORRUPTED = DataSet("sdxdb23", "uncorrupted")
"""The songs of the noisy set before their labels went wrong."""

WITHOUT_TRUTH = ("musdb",)
"""Choices that do not know what is wrong in their noisy set."""

PATH_VARIABLES = {
    "musdb18": "MUSDB_PATH",
    "sdxdb23": "LABELNOISE_PATH",
    "multitrack": "MULTITRACK_PATH",
}


def can_give(data: str, stage: Stage) -> bool:
    """Whether a data choice has what a stage is made from: the truth of the noisy set is not known
    everywhere."""
    asks_truth = any(
        each == UNCORRUPTED or isinstance(each, TrulyLabelled) for each in closure([stage])
    )
    return not (asks_truth and data in WITHOUT_TRUTH)


def bind(stage: Stage, data: str, scale: DataScale) -> Any:
    """`stage` with songs in the place of every DataSet. Raises InputError for an unknown choice
    and for a folder that cannot be used."""
    if data not in CHOICES:
        raise InputError(f"no data called {data!r}; choose one of {', '.join(CHOICES)}")

    def change(value: Any) -> Any:
        if value in START:
            songs, seconds = scale.start_songs, scale.start_seconds
            return BandSongs(
                value.split, START_OFFSET, songs, seconds, scale.sample_rate, BAND_SEED
            )
        return CHOICES[data](value, scale) if isinstance(value, DataSet) else value

    return rebuild(stage, change)


def folder_stage(dataset: DataSet, scale: DataScale, tracks: bool) -> FolderSongs:
    mark = split_fingerprint(root_of(dataset), dataset, tracks)
    return FolderSongs(dataset.name, dataset.split, tracks, scale.sample_rate, mark)


@cache
def split_fingerprint(root: Path, dataset: DataSet, tracks: bool) -> str:
    """Looked at once a run: twenty rows name the same thousand files."""
    return fingerprint(split_songs(root, dataset, tracks))


def root_of(dataset: DataSet) -> Path:
    """Where a data set lies. Raises InputError when its variable is not set, or wrong."""
    variable = PATH_VARIABLES[dataset.name]
    if not os.environ.get(variable):
        raise InputError(f"{variable} is not set; set it to the folder that holds {dataset.name}")
    root = Path(os.environ[variable])
    if not root.is_dir():
        raise InputError(f"{variable}={root}: no such folder; set it to where {dataset.name} is")
    return root


def split_songs(root: Path, dataset: DataSet, tracks: bool) -> list[SongFiles]:
    """A split's songs. Raises InputError when the split is missing."""
    if dataset.name == "sdxdb23":
        # The label-noise set has no splits: its songs lie at its top.
        return find_songs(root, tracks)
    folder = root / ("test" if dataset.split == "test" else "train")
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; {root} must hold the folders train and test "
            f"(and may hold {VALIDATION_FOLDERS[0]})"
        )
    return songs_of_split(root, dataset.split, tracks)


def folder_songs(
    stage: FolderSongs,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Reads a folder's songs; refuses files that changed since the stage was named."""
    from selfrefine.clips.song_set import read_songs

    dataset = DataSet(stage.name, stage.split)
    songs = split_songs(root_of(dataset), dataset, stage.tracks)
    if fingerprint(songs) != stage.fingerprint:
        raise InputError(
            f"the {stage.split} songs of {stage.name} changed while running; run the command again"
        )
    samples = read_songs(songs, folder, stage.sample_rate, progress)
    return {"songs": len(songs), "minutes": round(samples / stage.sample_rate / 60, 2)}
