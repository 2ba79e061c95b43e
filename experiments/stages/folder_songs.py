"""Songs of a data set in a folder of this machine."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from experiments.stages.data_set import NOISY
from experiments.stages.songs import DECODED_PER_SECOND, Songs, seconds_of_stems
from experiments.stages.stage import Result
from experiments.work import Cost, StepCostOf, Work
from selfrefine.errors import InputError
from selfrefine.files.layouts import (
    VALIDATION_FOLDERS,
    SongFiles,
    find_songs,
    fingerprint,
    split_folder,
)
from selfrefine.files.splits import songs_of_split

PATH_VARIABLES = {
    "musdb18": "MUSDB_PATH",
    "sdxdb23": "LABELNOISE_PATH",
    "multitrack": "MULTITRACK_PATH",
}
"""The environment variable that says where a data set is, by the data set's name."""


@dataclass(frozen=True)
class FolderSongs(Songs):
    """A split's songs, as stems or as instrument `tracks`. The path is no part of the identity; the
    fingerprint of the files is."""

    name: str
    split: str
    tracks: bool
    sample_rate: int
    fingerprint: str

    def words(self) -> str:
        return f"{self.name} {self.split} songs"

    def stem_seconds(self) -> float:
        return split_seconds(data_set_folder(self.name), self.name, self.split, self.tracks)

    def is_noisy(self) -> bool:
        return (self.name, self.split) == (NOISY.name, NOISY.split)

    def is_uncorrupted(self) -> bool:
        return self.tracks

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.stem_seconds() / DECODED_PER_SECOND)

    def compute(self, work: Work) -> Result:
        """Refuses files that changed since the stage was named."""
        from selfrefine.clips.song_set import read_songs

        songs = split_songs(data_set_folder(self.name), self.name, self.split, self.tracks)
        if fingerprint(songs) != self.fingerprint:
            raise InputError(
                f"the {self.split} songs of {self.name} changed while running; run the command "
                "again"
            )
        samples = read_songs(songs, work.folder, self.sample_rate, work.progress)
        return {"songs": len(songs), "minutes": round(samples / self.sample_rate / 60, 2)}


def folder_songs(name: str, split: str, tracks: bool, sample_rate: int) -> FolderSongs:
    """The songs of a split as they are on the disk now. Raises InputError where they are not
    found."""
    mark = split_fingerprint(data_set_folder(name), name, split, tracks)
    return FolderSongs(name, split, tracks, sample_rate, mark)


def data_set_folder(name: str) -> Path:
    """The folder of a data set. Raises InputError when its variable is not set, or wrong."""
    variable = PATH_VARIABLES[name]
    if not os.environ.get(variable):
        raise InputError(f"{variable} is not set; set it to the folder that holds {name}")
    root = Path(os.environ[variable])
    if not root.is_dir():
        raise InputError(f"{variable}={root}: no such folder; set it to where {name} is")
    return root


def split_songs(root: Path, name: str, split: str, tracks: bool) -> list[SongFiles]:
    """A split's songs. Raises InputError when the split is missing."""
    if name == NOISY.name:
        # The label-noise set has no splits: its songs are at its top.
        return find_songs(root, tracks)
    folder = split_folder(root, "test" if split == "test" else "train")
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; {root} must hold the folders train and test "
            f"(and may hold {VALIDATION_FOLDERS[0]})"
        )
    return songs_of_split(root, split, tracks)


@cache
def split_fingerprint(root: Path, name: str, split: str, tracks: bool) -> str:
    """Looked at once a run: twenty rows name the same thousand files."""
    return fingerprint(split_songs(root, name, split, tracks))


@cache
def split_seconds(root: Path, name: str, split: str, tracks: bool) -> float:
    return seconds_of_stems(split_songs(root, name, split, tracks))
