"""Finding the songs in a folder on disk, in the usual layouts of stems:

    <song>/<class>.<ext>                    MUSDB18-HQ, SDXDB23_LabelNoise; `mixture` too
    <song>.stem.mp4                         MUSDB18
    <class>/<file>                          one folder for each label set, as in `bass+drums`
    <song>/tracks/<class>__<instrument>.<ext>   instrument tracks, where those are asked for

Names of classes and splits are read in any case. Nothing here decodes audio;
`selfrefine.clips.song_set` does.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from selfrefine.classes import CLASSES, LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.audio_file import AUDIO_SUFFIXES
from selfrefine.files.completeness import refuse_absent
from selfrefine.files.names import met_names
from selfrefine.files.stem_mp4 import STEM_MP4, STREAMS
from selfrefine.progress import counted

FINGERPRINT_BYTES = 65536
MIXTURE = "mixture"
VALIDATION_FOLDERS = ("validation", "valid")
SPLIT_FOLDERS = ("train", *VALIDATION_FOLDERS, "test")
TRACKS = "tracks"
LAYOUTS = {
    False: "<song>/<class>.<ext> or <song>.stem.mp4 or <class>/<file> with the classes "
    f"{', '.join(CLASSES)} and an ending of audio as .wav, .flac, .mp3 or .m4a",
    True: f"<song>/{TRACKS}/<class>__<instrument>.<ext> with the classes {', '.join(CLASSES)} and "
    "an ending of audio as .wav, .flac, .mp3 or .m4a",
}
"""The layouts that are read, with instrument tracks or without."""


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


@dataclass(frozen=True)
class Fault:
    """What makes a folder no data set, at a file or folder `where`. `song` is the one that it makes
    unusable; None where that is the whole folder."""

    kind: str
    where: Path
    what: str
    song: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Survey:
    """What a folder holds: its layout in words, its songs sorted by name, and its faults. Where two
    files are one stem, the first of them is in the song. A song of which nothing can be read is in
    the faults alone."""

    layout: str
    songs: list[SongFiles]
    faults: list[Fault]


def find_songs(root: Path, tracks: bool) -> list[SongFiles]:
    """The songs directly under `root`, sorted by name. With `tracks`, songs are given by their
    instrument tracks.

    Raises InputError for a missing folder, for a folder without a song, and for one that mixes
    layouts or holds a signal twice.
    """
    found = survey(root, tracks)
    refuse_faults(found.faults)
    return found.songs


def refuse_faults(faults: list[Fault]) -> None:
    """Raises InputError with the first fault and the number of the others."""
    if faults:
        more = f" ({len(faults)} problems; selfrefine check-data lists them)"
        raise InputError(f"{faults[0]}{more if len(faults) > 1 else ''}")


def survey(root: Path, tracks: bool) -> Survey:
    """Looks through a folder in all layouts. Raises InputError for a missing folder, and for one
    without a song and without a fault."""
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
    faults: list[Fault] = []
    found = {words: some for words, find in finders.items() if (some := find(entries, faults))}
    if not found and not faults:
        raise InputError(
            f"{root}: no song found{where_songs_lie(root)}; expected {LAYOUTS[tracks]}"
        )
    if len(found) > 1:
        words = f"holds {' and '.join(found)} at once; keep one kind to a folder"
        faults.append(Fault("mixed layouts", root, words))
    songs: dict[str, SongFiles] = {}
    for song in (song for of_layout in found.values() for song in of_layout):
        if songs.setdefault(song.name, song) is not song:
            words = f"{song.name!r} is the name of two songs; rename one"
            faults.append(Fault("two songs of one name", root, words, song.name))
    return Survey(" and ".join(found) or "no song can be read", list(songs.values()), faults)


def where_songs_lie(root: Path) -> str:
    """A hint for a folder without songs: the splits in it, instrument tracks, or where stems lie
    deeper."""
    if any(map(has_tracks, root.iterdir())):
        return "; selfrefine corrupt makes stems of instrument tracks"
    if splits := split_folders(root):
        return f"; did you mean its folder {' or '.join(folder.name for folder in splits)}?"
    songs = {path.parent for path in deep_audio(root) if path.stem.lower() in CLASSES}
    places = Counter(song.parent for song in songs if song != root)
    if not places:
        return ""
    place, number = places.most_common(1)[0]
    others = f", and others in {len(places) - 1} more folders" if len(places) > 1 else ""
    return f"; {counted(number, 'song')} in {place}{others}: give that folder"


def split_folders(root: Path) -> list[Path]:
    """The folders of `root` that are named as splits, in any case, in SPLIT_FOLDERS' order."""
    folders = [path for path in sorted(root.iterdir()) if path.name.lower() in SPLIT_FOLDERS]
    folders = [path for path in folders if path.is_dir()]
    return sorted(folders, key=lambda path: SPLIT_FOLDERS.index(path.name.lower()))


def split_folder(root: Path, name: str) -> Path:
    """The folder of the split `name`, which may be written in any case; it may be missing."""
    exact = root / name
    if exact.is_dir() or not root.is_dir():
        return exact
    return next((path for path in split_folders(root) if path.name.lower() == name), exact)


def audio_files(folder: Path) -> list[Path]:
    """The files directly in `folder` with an ending of audio, sorted by name. Links to nowhere, and
    what else cannot be read, are among them. macOS' `._` files are left out, since they hold no
    audio."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not path.name.startswith("._")
        and not path.is_dir()
    )


def listed_audio(folder: Path, faults: list[Fault], song: str | None = None) -> list[Path]:
    """What `audio_files` finds. A folder that cannot be listed is a fault, of `song` where it is
    that song's alone, and counts as empty."""
    try:
        return audio_files(folder)
    except OSError as error:
        words = f"cannot be listed ({error.strerror}); check its rights"
        faults.append(Fault("unreadable folder", folder, words, song))
        return []


def is_class_folder(folder: Path) -> bool:
    """Whether a folder is named by a label set and holds files of that. A folder with stems in it
    is a song, which may be called "Other"."""
    if label_set_of(folder.name) is None or not folder.is_dir():
        return False
    stems = {path.stem.lower() for path in listed_audio(folder, [])} & {*CLASSES, MIXTURE}
    return len(stems) < 2


def songs_of_stems(entries: list[Path], faults: list[Fault]) -> list[SongFiles]:
    return [
        SongFiles(folder.name, tuple(files))
        for folder in entries
        if folder.is_dir()
        and not is_class_folder(folder)
        and (files := listed_stems(folder, faults))
    ]


def stem_files(folder: Path) -> list[StemFile]:
    """A song folder's stems and its mixture. Empty where there is no stem. Raises InputError for
    two files of one stem, and for a folder that cannot be listed."""
    faults: list[Fault] = []
    files = listed_stems(folder, faults)
    refuse_faults(faults)
    return files


def listed_stems(folder: Path, faults: list[Fault]) -> list[StemFile]:
    """What `stem_files` finds; two files of one stem are a fault."""
    found: dict[str, list[Path]] = {}
    for path in listed_audio(folder, faults, folder.name):
        if path.stem.lower() in (*CLASSES, MIXTURE):
            found.setdefault(path.stem.lower(), []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: AUDIO_SUFFIXES.index(path.suffix.lower()))
        faults += [both(folder, paths[0].name, path.name, folder.name) for path in paths[1:]]
    files = [StemFile(name, (name,), found[name][0]) for name in CLASSES if name in found]
    if files and MIXTURE in found:
        files.append(StemFile(MIXTURE, (), found[MIXTURE][0]))
    return files


def both(folder: Path, first: object, second: object, song: str) -> Fault:
    words = f"both {first} and {second}; keep one of them"
    return Fault("two files of one stem", folder, words, song)


def songs_of_streams(entries: list[Path], faults: list[Fault]) -> list[SongFiles]:
    songs = []
    for path in entries:
        if path.name.lower().endswith(STEM_MP4) and not path.is_dir():
            files = [
                StemFile(name, (name,) if name in CLASSES else (), path, STREAMS.index(name))
                for name in (*CLASSES, MIXTURE)
            ]
            songs.append(SongFiles(path.name[: -len(STEM_MP4)], tuple(files)))
    return songs


def songs_of_classes(entries: list[Path], faults: list[Fault]) -> list[SongFiles]:
    """The songs in class folders. Files of the same name in several folders are one song, whatever
    the Unicode form of the name; so are files named `<song>__<stem>`, as refining lays them out."""
    songs: dict[str, dict[str, StemFile]] = {}
    for folder in entries:
        label = label_set_of(folder.name) if is_class_folder(folder) else None
        if label is None:
            continue
        named: list[tuple[Path, str, str]] = []
        for path in listed_audio(folder, faults):
            song, _, name = path.stem.rpartition("__")
            if not song or not label_set_of(name):
                song, name = path.stem, label_words(label)
            named.append((path, song, name))
        met = met_names((song for _, song, _ in named), songs)
        for path, song, name in named:
            files = songs.setdefault(met.get(song, song), {})
            if name in files:
                faults.append(both(folder, files[name].path, path, met.get(song, song)))
                continue
            files[name] = StemFile(name, label, path)
    return [SongFiles(song, tuple(files.values())) for song, files in sorted(songs.items())]


def songs_of_tracks(entries: list[Path], faults: list[Fault]) -> list[SongFiles]:
    return [
        SongFiles(folder.name, tuple(files))
        for folder in entries
        if (files := listed_tracks(folder, faults))
    ]


def has_tracks(folder: Path) -> bool:
    """Whether a song's folder has instrument tracks; False for one that cannot be listed."""
    return os.path.isdir(folder / TRACKS)


def track_files(folder: Path) -> list[StemFile]:
    """A song folder's instrument tracks; empty where it has none. Raises InputError for a track
    that is named by no class, or there twice."""
    faults: list[Fault] = []
    files = listed_tracks(folder, faults)
    refuse_faults(faults)
    return files


def listed_tracks(folder: Path, faults: list[Fault]) -> list[StemFile]:
    """What `track_files` finds; a track that is named by no class, or there twice, is a fault."""
    place = folder / TRACKS
    if not has_tracks(folder):
        if folder.is_dir():
            # A folder that cannot be listed may have some.
            listed_audio(folder, faults, folder.name)
        return []
    found: dict[str, StemFile] = {}
    for path in listed_audio(place, faults, folder.name):
        name, separator, _ = path.stem.partition("__")
        if not separator or name.lower() not in CLASSES:
            words = f"name it <class>__<instrument>{path.suffix}, the class one of "
            words += ", ".join(CLASSES)
            faults.append(Fault("track of no class", path, words, folder.name))
        elif path.stem in found:
            faults.append(both(place, found[path.stem].path.name, path.name, folder.name))
        else:
            found[path.stem] = StemFile(path.stem, (name.lower(),), path)
    return list(found.values())


def unused_audio(root: Path, songs: list[SongFiles]) -> list[Path]:
    """Audio files at any depth below `root` that belong to no song, sorted."""
    used = {file.path for song in songs for file in song.files}
    return [path for path in deep_audio(root) if path not in used]


def deep_audio(root: Path) -> list[Path]:
    """Audio files at any depth below `root`, sorted. Hidden folders, such as .git, are passed
    over."""
    found: list[Path] = []
    seen: set[Path] = set()
    for folder, below, _ in os.walk(root, followlinks=True):
        # A link to a folder above would lead round for ever.
        real = Path(folder).resolve()
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith((".", "__MACOSX"))]
        found += listed_audio(Path(folder), [])
    return sorted(found)


def fingerprint(songs: list[SongFiles]) -> str:
    """A digest of the songs' names, labels, file sizes and first bytes: 16 hexadecimal digits. What
    cannot be read counts by its name alone."""
    digest = hashlib.sha256()
    for song in songs:
        for file in song.files:
            size, head = first_bytes(file.path)
            words = (song.name, file.name, label_words(file.label), size)
            digest.update("".join(f"{word}\0" for word in words).encode(errors="surrogateescape"))
            digest.update(head)
    return digest.hexdigest()[:16]


def first_bytes(path: Path) -> tuple[int, bytes]:
    """A file's size and first FINGERPRINT_BYTES bytes; -1 and nothing where it cannot be read."""
    try:
        refuse_absent(path)
        with path.open("rb") as stream:
            return path.stat().st_size, stream.read(FINGERPRINT_BYTES)
    except (InputError, OSError):
        return -1, b""
