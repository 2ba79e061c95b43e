"""Songs in a folder on disk: what is there, and reading it into a song set.

A song is a folder that holds stem files named by class (`vocals.wav`, `drums.flac`, …), with or
without a `mixture`; or a folder `tracks` of instrument tracks named `<class>__<instrument>`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfrefine.audio.files import AUDIO_SUFFIXES, Say, read_stereo
from selfrefine.classes import CLASSES
from selfrefine.data.audio_set import AudioSetWriter
from selfrefine.errors import InputError

FINGERPRINT_BYTES = 65536
MIXTURE = "mixture"


@dataclass(frozen=True)
class SongFolder:
    """A song's files: name of the clip, class (empty for a mixture), path."""

    name: str
    files: tuple[tuple[str, str, Path], ...]


def find_songs(root: Path, tracks: bool) -> list[SongFolder]:
    """The songs directly under `root`, by name; of instrument tracks where `tracks`.

    Raises InputError for a missing folder and for one without a song in it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    find = track_files if tracks else stem_files
    songs = [
        SongFolder(folder.name, tuple(files))
        for folder in sorted(root.iterdir())
        if folder.is_dir() and (files := find(folder))
    ]
    if not songs:
        wanted = "tracks/<class>__<instrument>.wav" if tracks else "<class>.wav"
        raise InputError(
            f"{root}: no song found; expected <song>/{wanted} with the classes "
            f"{', '.join(CLASSES)} and one of the endings {', '.join(AUDIO_SUFFIXES)}"
        )
    return songs


def stem_files(folder: Path) -> list[tuple[str, str, Path]]:
    """A song folder's stems and mixture."""
    found = []
    for name in (*CLASSES, MIXTURE):
        paths = [
            path for suffix in AUDIO_SUFFIXES if (path := folder / f"{name}{suffix}").is_file()
        ]
        if len(paths) > 1:
            raise InputError(
                f"{folder}: both {paths[0].name} and {paths[1].name}; keep one of them"
            )
        found += [(name, "" if name == MIXTURE else name, path) for path in paths]
    return found if any(label for _, label, _ in found) else []


def track_files(folder: Path) -> list[tuple[str, str, Path]]:
    """A song folder's instrument tracks."""
    tracks = folder / "tracks"
    if not tracks.is_dir():
        return []
    found = []
    for path in sorted(tracks.iterdir()):
        label, separator, _ = path.stem.partition("__")
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if not separator or label not in CLASSES:
            raise InputError(
                f"{path}: name it <class>__<instrument>{path.suffix}, the class one of "
                f"{', '.join(CLASSES)}"
            )
        found.append((path.stem, label, path))
    return found


def fingerprint(songs: list[SongFolder]) -> str:
    """Sixteen hexadecimal digits of the songs' file names, sizes and beginnings."""
    digest = hashlib.sha256()
    for song in songs:
        for name, label, path in song.files:
            digest.update(f"{song.name}\0{name}\0{label}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:16]


def read_songs(
    songs: list[SongFolder],
    folder: Path,
    sample_rate: int,
    count: Callable[[int, int], None],
    say: Say,
) -> int:
    """Decodes the songs into a song set in `folder`; returns its samples per channel.

    Stems of unequal length are padded to the song's longest; `say` hears of that, and once of
    each kind of conversion. Raises InputError, naming the file, for one that cannot be used.
    """
    heard: dict[str, int] = {}

    def note(sentence: str) -> None:
        heard[sentence] = heard.get(sentence, 0) + 1

    with AudioSetWriter(folder, sample_rate) as writer:
        for number, song in enumerate(songs):
            clips = [
                (name, label, read_stereo(path, sample_rate, note))
                for name, label, path in song.files
            ]
            longest = max(audio.shape[1] for _, _, audio in clips)
            for name, label, audio in clips:
                missing = longest - audio.shape[1]
                if missing:
                    say(
                        f"{song.name}/{name} is {missing / sample_rate:.2f} s shorter than the "
                        "song's longest file and is padded with silence"
                    )
                    audio = np.pad(audio, ((0, 0), (0, missing)))
                writer.add(song.name, name, (label,) if label else (), audio)
            count(number + 1, len(songs))
        for sentence, files in heard.items():
            say(f"{files} {'file' if files == 1 else 'files'}: {sentence}")
        return writer.written
