"""Finding the songs in a folder on disk, in the usual layouts of stems:

    <song>/<class>.<ext>                    MUSDB18-HQ, SDXDB23_LabelNoise; `mixture` too
    <song>.stem.mp4                         MUSDB18
    <class>/<file>                          one folder for each label set, as in `bass+drums`
    <song>/tracks/<class>__<instrument>.<ext>   instrument tracks, where those are asked for

Names of classes are read in any case. Nothing here decodes audio; `selfrefine.clips.song_set` does.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.audio_file import AUDIO_SUFFIXES
from selfrefine.files.stem_mp4 import STEM_MP4, STREAMS

FINGERPRINT_BYTES = 65536
MIXTURE = "mixture"
VALIDATION_FOLDERS = ("validation", "valid")
SPLIT_FOLDERS = ("train", *VALIDATION_FOLDERS, "test")


@dataclass(frozen=True)
class StemFile:
    """One signal of a song. `name` is unique within the song. `label` is the given label set, empty
    for a mixture. `stream` is the index of its audio stream in a .stem.mp4, else None."""

    name: str
    label: LabelSet
    path: Path
    stream: int | None = None


@dataclass(frozen=True)
class SongFiles:
    """A song's stems, and its mixture where it has one."""

    name: str
    files: tuple[StemFile, ...]


def find_songs(root: Path, tracks: bool) -> list[SongFiles]:
    """The songs directly under `root`, sorted by name. With `tracks`, songs are given by their
    instrument tracks.

    Raises InputError for a missing folder, for a folder without a song, and for one that mixes
    layouts or holds a signal twice.
    """
    return recognise(root, tracks)[1]


def recognise(root: Path, tracks: bool) -> tuple[str, list[SongFiles]]:
    """The layout in words, and the songs as `find_songs` gives them. Raises what it raises."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror}); check its rights") from None
    finders = (
        {"<song>/tracks/<class>__<instrument>": songs_of_tracks}
        if tracks
        else {
            "<song>/<class>.<ext>": songs_of_stems,
            "<song>.stem.mp4": songs_of_streams,
            "<class>/<file>": songs_of_classes,
        }
    )
    found = {words: songs for words, find in finders.items() if (songs := list(find(entries)))}
    if not found:
        splits = [name for name in SPLIT_FOLDERS if (root / name).is_dir()]
        hint = f"; did you mean its folder {' or '.join(splits)}?" if splits else ""
        raise InputError(
            f"{root}: no song found{hint}; expected {' or '.join(finders)} with the classes "
            f"{', '.join(CLASSES)} and one of the endings {', '.join(AUDIO_SUFFIXES)}"
        )
    if len(found) > 1:
        raise InputError(f"{root}: holds {' and '.join(found)} at once; keep one kind to a folder")
    return next(iter(found.items()))


def audio_files(folder: Path) -> list[Path]:
    """The files directly in `folder` with an ending of audio, sorted by name. macOS' `._` files are
    left out, since they hold no audio."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not path.name.startswith("._")
        and path.is_file()
    )


def songs_of_stems(entries: list[Path]) -> Iterator[SongFiles]:
    for folder in entries:
        if folder.is_dir() and label_set_of(folder.name) is None and (files := stem_files(folder)):
            yield SongFiles(folder.name, tuple(files))


def stem_files(folder: Path) -> list[StemFile]:
    """A song folder's stems and its mixture. Empty where there is no stem."""
    found: dict[str, Path] = {}
    for path in audio_files(folder):
        name = path.stem.lower()
        if name not in (*CLASSES, MIXTURE):
            continue
        if name in found:
            first, second = sorted((found[name].name, path.name), key=ending_rank)
            raise InputError(f"{folder}: both {first} and {second}; keep one of them")
        found[name] = path
    files = [StemFile(name, (name,), found[name]) for name in CLASSES if name in found]
    if files and MIXTURE in found:
        files.append(StemFile(MIXTURE, (), found[MIXTURE]))
    return files


def ending_rank(name: str) -> int:
    return AUDIO_SUFFIXES.index(Path(name).suffix.lower())


def songs_of_streams(entries: list[Path]) -> Iterator[SongFiles]:
    for path in entries:
        if path.name.lower().endswith(STEM_MP4) and path.is_file():
            files = [
                StemFile(name, (name,) if name in CLASSES else (), path, STREAMS.index(name))
                for name in (*CLASSES, MIXTURE)
            ]
            yield SongFiles(path.name[: -len(STEM_MP4)], tuple(files))


def songs_of_classes(entries: list[Path]) -> Iterator[SongFiles]:
    """The songs in class folders. Files of the same name in several folders are one song; so are
    files named `<song>__<stem>`, as refining lays them out."""
    songs: dict[str, dict[str, StemFile]] = {}
    for folder in entries:
        label = label_set_of(folder.name) if folder.is_dir() else None
        if label is None:
            continue
        for path in audio_files(folder):
            song, _, name = path.stem.rpartition("__")
            if not song or not label_set_of(name):
                song, name = path.stem, label_words(label)
            files = songs.setdefault(song, {})
            if name in files:
                raise InputError(f"both {files[name].path} and {path}; keep one of them")
            files[name] = StemFile(name, label, path)
    for song, files in sorted(songs.items()):
        yield SongFiles(song, tuple(files.values()))


def songs_of_tracks(entries: list[Path]) -> Iterator[SongFiles]:
    for folder in entries:
        if (folder / "tracks").is_dir() and (files := track_files(folder)):
            yield SongFiles(folder.name, tuple(files))


def track_files(folder: Path) -> list[StemFile]:
    """A song folder's instrument tracks."""
    found: dict[str, StemFile] = {}
    for path in audio_files(folder / "tracks"):
        label, separator, _ = path.stem.partition("__")
        if not separator or label not in CLASSES:
            raise InputError(
                f"{path}: name it <class>__<instrument>{path.suffix}, the class one of "
                f"{', '.join(CLASSES)}"
            )
        if path.stem in found:
            raise InputError(f"both {found[path.stem].path} and {path}; keep one of them")
        found[path.stem] = StemFile(path.stem, (label,), path)
    return list(found.values())


def unused_audio(root: Path, songs: list[SongFiles]) -> list[Path]:
    """Audio files under `root` and its folders that belong to no song."""
    used = {file.path for song in songs for file in song.files}
    folders = [root, *(path for path in sorted(root.iterdir()) if path.is_dir())]
    return [path for folder in folders for path in audio_files(folder) if path not in used]


def fingerprint(songs: list[SongFiles]) -> str:
    """A digest of the songs' names, labels, file sizes and first bytes: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for song in songs:
        for file in song.files:
            words = (song.name, file.name, label_words(file.label), file.path.stat().st_size)
            digest.update("".join(f"{word}\0" for word in words).encode(errors="surrogateescape"))
            with file.path.open("rb") as stream:
                digest.update(stream.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:16]
