"""The songs that take the place of the paper's data sets: one function for each choice of DATA.

The registry names `DataSet("musdb18", …)` with the splits train (clean), validation and test, and
`DataSet("sdxdb23", …)` with the splits train (noisy) and uncorrupted. A choice maps each of them to
songs.
"""

from collections.abc import Callable
from typing import Any

from experiments.profiles import DataScale
from experiments.stages.band_songs import NOISY_DOMAIN, BandSongs
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import CLEAN, NOISY, START, TEST, UNCORRUPTED, VALIDATION, DataSet
from experiments.stages.folder_songs import folder_songs
from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure, rebuild
from experiments.stages.truly_labelled import TrulyLabelled
from selfrefine.errors import InputError
from selfrefine.settings import Corruption

BAND_SEED = 2023
VALIDATION_OFFSET = 400
TEST_OFFSET = 500
START_OFFSET = 2000
"""Index of the first song of a domain for validation, for the test, and for the classifier from
which others start. No song is in two of these sets."""


def band(dataset: DataSet, scale: DataScale) -> Songs:
    """Songs of the embedded band: domain a stands for MUSDB18, domain b for the label-noise set."""

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


def musdb(dataset: DataSet, scale: DataScale) -> Songs:
    """MUSDB18-HQ or MUSDB18 under $MUSDB_PATH, and the label-noise set under $LABELNOISE_PATH.

    Raises InputError for the uncorrupted label-noise set, which nobody has.
    """
    if dataset == UNCORRUPTED:
        raise InputError("musdb does not know the noisy set without its label noise")
    return folder_songs(dataset.name, dataset.split, False, scale.sample_rate)


def multitrack(dataset: DataSet, scale: DataScale) -> Songs:
    """Clean multitracks under $MULTITRACK_PATH. The noisy set is their training split, where each
    instrument track moves to a wrong stem with a probability of 40%."""
    if dataset in (NOISY, UNCORRUPTED):
        tracks = folder_songs("multitrack", "train", True, scale.sample_rate)
        return tracks if dataset == UNCORRUPTED else Corrupted(tracks, Corruption(0.0, 0.4, 0.0))
    return folder_songs("multitrack", dataset.split, False, scale.sample_rate)


CHOICES: dict[str, Callable[[DataSet, DataScale], Songs]] = {
    "band": band,
    "musdb": musdb,
    "multitrack": multitrack,
}

WITHOUT_TRUTH = ("musdb",)
"""Choices whose noisy set has no known true labels."""


def can_give(data: str, stage: Stage) -> bool:
    """Whether a data choice has all that a stage is made from. Some stages need the true labels of
    the noisy set, which are not known for every choice."""
    asks_truth = any(
        each == UNCORRUPTED or isinstance(each, TrulyLabelled) for each in closure([stage])
    )
    return not (asks_truth and data in WITHOUT_TRUTH)


def bind(stage: Stage, data: str, scale: DataScale) -> Any:
    """Returns `stage` with songs in the place of every DataSet. Raises InputError for an unknown
    choice and for a folder that cannot be used."""
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
