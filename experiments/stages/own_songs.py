"""A user's own songs to test on: `--test folder`, found under the folders that $TEST_PATH names.

A song is a folder directly under one of them, or under its `train`, `test` or `validation`. It
holds stems, or instrument tracks in `tracks/`; where it holds both, the stems are used. A
.stem.mp4 is a song too.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from experiments.stages.songs import DECODED_PER_SECOND, Songs, seconds_of_stems
from experiments.stages.stage import Result
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.layouts import (
    SPLIT_FOLDERS,
    SongFiles,
    fingerprint,
    songs_of_streams,
    split_folders,
    stem_files,
    track_files,
)

VARIABLE = "TEST_PATH"
LAYOUTS = "<song>/<class>.<ext>, <song>/tracks/<class>__<instrument>.<ext> or <song>.stem.mp4"


@dataclass(frozen=True)
class OwnSongs(Songs):
    """The songs of one or more folders. The identity is the fingerprint of their files, as in
    FolderSongs."""

    private: ClassVar[bool] = True

    sample_rate: int
    fingerprint: str

    def words(self) -> str:
        return "own songs"

    def stem_seconds(self) -> float:
        return own_seconds(os.environ.get(VARIABLE, ""))

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(self.stem_seconds() / DECODED_PER_SECOND)

    def compute(self, work: Work) -> Result:
        """Refuses files that changed since the stage was named."""
        from selfrefine.clips.song_set import read_songs

        songs = songs_under(os.environ.get(VARIABLE, ""))
        if fingerprint(songs) != self.fingerprint:
            raise InputError(
                f"the songs under {VARIABLE} changed while running; run the command again"
            )
        samples = read_songs(songs, work.folder, self.sample_rate, work.progress)
        return {"songs": len(songs), "minutes": round(samples / self.sample_rate / 60, 2)}


def own_songs(sample_rate: int) -> OwnSongs:
    """The songs as a stage, at a sample rate in Hz. Raises what `find_own_songs` raises."""
    return OwnSongs(sample_rate, songs_and_mark(os.environ.get(VARIABLE, ""))[1])


def find_own_songs() -> list[SongFiles]:
    """The songs of all folders, by name.

    Raises InputError where the variable is not set, a folder is missing or holds no song, two songs
    share a name, or no song has one of the classes.
    """
    return songs_and_mark(os.environ.get(VARIABLE, ""))[0]


@cache
def songs_and_mark(path: str) -> tuple[list[SongFiles], str]:
    """Looked at once a run: every row names the same songs."""
    songs = songs_under(path)
    return songs, fingerprint(songs)


def songs_under(path: str) -> list[SongFiles]:
    """The songs under the folders that `path` names, joined as in $PATH."""
    roots = dict.fromkeys(Path(word).resolve() for word in path.split(os.pathsep) if word)
    if not roots:
        raise InputError(
            f"{VARIABLE} is not set; set it to the folder of the songs to test on (several are "
            f"joined by {os.pathsep!r})"
        )
    found: dict[str, SongFiles] = {}
    for root in roots:
        for song in songs_of_root(root):
            if found.get(song.name, song) != song:
                first, second = (each.files[0].path.parent for each in (found[song.name], song))
                raise InputError(
                    f"{VARIABLE}: two songs are called {song.name!r}, in {first} and {second}; "
                    "rename one, or leave out its folder"
                )
            found[song.name] = song
    songs = [found[name] for name in sorted(found)]
    labels = {file.label for song in songs for file in song.files}
    lacking = [name for name in CLASSES if (name,) not in labels]
    if lacking:
        raise InputError(
            f"{VARIABLE}={path}: none of the {len(songs)} songs has {' or '.join(lacking)}, so "
            "that cannot be tested; add a song that has"
        )
    return songs


def songs_of_root(root: Path) -> list[SongFiles]:
    """The songs of a folder and of its splits. Raises InputError for a folder that is missing,
    cannot be listed, or holds none."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    try:
        places = [root, *split_folders(root)]
        songs = [song for place in places for song in songs_in(place)]
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be listed ({error.strerror}); check its rights"
        ) from None
    if not songs:
        raise InputError(
            f"{root}: no song found; expected {LAYOUTS}, directly in it or in its "
            f"{', '.join(SPLIT_FOLDERS)}, with the classes {', '.join(CLASSES)}"
        )
    return songs


def songs_in(place: Path) -> Iterator[SongFiles]:
    """The songs directly in a folder."""
    entries = sorted(place.iterdir())
    for folder in entries:
        if not folder.is_dir():
            continue
        files = stem_files(folder)
        if files := files or track_files(folder):
            yield SongFiles(folder.name, tuple(files))
    yield from songs_of_streams(entries, [])


@cache
def own_seconds(path: str) -> float:
    return seconds_of_stems(songs_under(path))
