"""Corrupting songs on disk: reading them, moving sound between their stems, and writing them."""

import tempfile
from pathlib import Path

import numpy as np

from selfrefine.clips.audio_set import open_audio_set
from selfrefine.clips.corruption import draw_parts, stem_pieces, stem_truth, sum_parts
from selfrefine.clips.song_set import read_songs
from selfrefine.clips.truth import Piece, StemTruth
from selfrefine.errors import InputError
from selfrefine.files.audio_file import write_wav
from selfrefine.files.header import read_header
from selfrefine.files.layouts import (
    Fault,
    SongFiles,
    has_tracks,
    listed_stems,
    refuse_faults,
    survey,
)
from selfrefine.progress import Note, Progress
from selfrefine.settings import Corruption


def songs_to_corrupt(root: Path) -> dict[str, SongFiles | Fault]:
    """A folder's songs by name, without their mixtures; what is wrong where a song is unusable. A
    song is given by its instrument tracks where it has them, else by its stems. Raises InputError
    for a folder that is no data set."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    tracks = any(map(has_tracks, root.iterdir()))
    surveys = [survey(root, tracks=True)] if tracks else []
    if not tracks or any(listed_stems(f, []) for f in root.iterdir() if f.is_dir()):
        surveys.insert(0, survey(root, tracks=False))
    faults = [fault for found in surveys for fault in found.faults]
    refuse_faults([fault for fault in faults if fault.song is None])
    songs: dict[str, SongFiles | Fault] = {
        song.name: SongFiles(song.name, tuple(file for file in song.files if file.label))
        for found in surveys
        for song in found.songs
    }
    songs |= {fault.song: fault for fault in reversed(faults) if fault.song is not None}
    return dict(sorted(songs.items()))


def corrupt_song(
    song: SongFiles, folder: Path, noise: Corruption, seed: list[int], note: Note
) -> tuple[list[StemTruth], list[Piece]]:
    """Writes a song's corrupted stems into `folder`, at the highest sample rate of its files.
    Returns what each stem holds, as a whole and piece by piece.

    Raises InputError for a file that cannot be read, and for one of several classes: such a song is
    not clean.
    """
    for file in song.files:
        if len(file.label) > 1:
            raise InputError(f"{file.path}: has several labels; corrupt clean songs")
    rate = max(read_header(file).sample_rate for file in song.files)
    folder.mkdir(parents=True, exist_ok=True)
    truths: list[StemTruth] = []
    pieces: list[Piece] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".reading-") as temporary:
        read_songs([song], Path(temporary), rate, Progress(note=note))
        tracks = open_audio_set(Path(temporary))
        parts_of = draw_parts(list(tracks.clips), noise, np.random.default_rng(seed))
        for given, parts in parts_of.items():
            write_wav(folder / f"{given}.wav", sum_parts(tracks, parts), rate)
            truths.append(stem_truth(tracks, song.name, given, parts))
            pieces += stem_pieces(tracks, song.name, given, parts)
    return truths, pieces
