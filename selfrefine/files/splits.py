"""The training, validation and test songs of a data set.

The folders `train` and `test` of a data set are its splits. Its validation songs are those in a
folder `validation` or `valid`, if there is one. Otherwise they are taken out of the training split:
MUSDB18's own fourteen, where the training folder holds any of them; else a seeded share of the
training songs, with every artist on one side.
"""

from pathlib import Path

import numpy as np

from selfrefine.errors import InputError
from selfrefine.files.layouts import (
    VALIDATION_FOLDERS,
    SongFiles,
    find_songs,
    is_class_folder,
    split_folder,
)

VALIDATION_SHARE = 0.14
"""The share of MUSDB18: 14 of 100 songs."""

MUSDB18_VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)


def songs_of_split(root: Path, split: str, tracks: bool) -> list[SongFiles]:
    """The songs of `train`, `validation` or `test` under a data set's folder.

    Raises InputError for a folder without that split, and for a training split too small to take
    validation songs from.
    """
    folders = [split_folder(root, name) for name in VALIDATION_FOLDERS]
    own_validation = [folder for folder in folders if folder.is_dir()]
    if len(own_validation) > 1:
        raise InputError(f"{root}: both {' and '.join(VALIDATION_FOLDERS)}; keep one of them")
    if split == "test" or own_validation:
        folder = own_validation[0] if split == "validation" else split_folder(root, split)
        return find_songs(folder, tracks)
    train = split_folder(root, "train")
    songs = find_songs(train, tracks)
    # All songs' names, also of those without tracks, so that stems and tracks are split alike.
    of_songs = [path for path in train.iterdir() if path.is_dir() and not is_class_folder(path)]
    names = sorted({song.name for song in songs} | {path.name for path in of_songs})
    if len(names) < 2 and split == "train":
        return songs
    held_out = validation_names(names, VALIDATION_SHARE, seed=0)
    chosen = [song for song in songs if (song.name in held_out) == (split == "validation")]
    if not chosen:
        raise InputError(
            f"{train}: no song is left for {split}; add songs, or make a folder "
            f"{root / VALIDATION_FOLDERS[0]}"
        )
    return chosen


def validation_names(names: list[str], share: float, seed: int) -> frozenset[str]:
    """The songs to hold out of training: MUSDB18's own, or a seeded `share`, at least one.

    The songs of an artist (the part of a name before " - ") stay on one side. Where that is not
    possible, because one artist made nearly all of the songs, single songs are held out. Raises
    InputError for fewer than two songs.
    """
    known = MUSDB18_VALIDATION & set(names)
    if known and len(known) < len(names):
        return known
    if len(names) < 2:
        raise InputError(
            f"{len(names)} song cannot be split into training and validation; add songs, or make "
            f"a folder {VALIDATION_FOLDERS[0]}"
        )
    wanted = max(1, round(share * len(names)))
    by_artist: dict[str, list[str]] = {}
    for name in sorted(names):
        by_artist.setdefault(artist_of(name), []).append(name)
    rng = np.random.default_rng(seed)
    groups = list(by_artist.values())
    chosen: list[str] = []
    for index in rng.permutation(len(groups)):
        if len(chosen) + len(groups[index]) <= wanted:
            chosen += groups[index]
    if not chosen:
        chosen = [sorted(names)[index] for index in rng.permutation(len(names))[:wanted]]
    return frozenset(chosen)


def artist_of(song: str) -> str:
    """The part before " - " of "Artist - Title". A name without " - " is its own artist."""
    return song.partition(" - ")[0].strip().casefold()
