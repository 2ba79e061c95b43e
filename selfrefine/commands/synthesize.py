"""Writes songs of the embedded band, which composes, plays, sings and mixes them from a seed.

DIR/<song>/ gets mixture.wav, the four stems, and tracks/<class>__<instrument>.wav. Each stem is the
sum of its class' tracks. The same arguments give the same bytes. As many songs are played at once
as there are cores.
"""

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from selfrefine.commands.numbers import seed

if TYPE_CHECKING:
    from selfrefine.band import Track

SUMMARY = "write songs of the embedded band, with stems and instrument tracks"
MOST_SONGS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a song in s")
    parser.add_argument("--sample-rate", type=int, default=44100, help="Hz")
    parser.add_argument("--domain", default="a", help="a or b; instruments, styles, mixing differ")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first song")


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.output_folder import make_output_folder
    from selfrefine.app.progress_bar import ProgressBar
    from selfrefine.band import play_songs
    from selfrefine.errors import InputError
    from selfrefine.files.temporary_folder import use_own_temporary_folder
    from selfrefine.progress import counted

    if not 1 <= args.songs <= MOST_SONGS:
        raise InputError(f"--songs {args.songs}: ask for 1 to {MOST_SONGS}")
    make_output_folder(args.out, None)
    use_own_temporary_folder()
    numbers = range(args.first, args.first + args.songs)
    with (
        closing(
            play_songs(
                args.domain, args.seed, numbers, args.seconds, args.sample_rate, usable_cores()
            )
        ) as played,
        ProgressBar("songs", "song") as bar,
    ):
        for number, tracks in zip(numbers, played, strict=True):
            folder = args.out / f"Band {args.domain} - {number:03d}"
            write_tracks_and_stems(folder, tracks, args.sample_rate)
            bar.count(number - args.first + 1, args.songs)
    print(f"{counted(args.songs, 'song')} of {args.seconds:g} s in {args.out}")
    return 0


def write_tracks_and_stems(folder: Path, tracks: "list[Track]", sample_rate: int) -> None:
    """Makes a song's folder, which must be new, and writes its tracks, stems and mixture."""
    import numpy as np

    from selfrefine.classes import CLASSES
    from selfrefine.files.audio_file import write_wav
    from selfrefine.files.layouts import MIXTURE

    (folder / "tracks").mkdir(parents=True)
    stems = dict.fromkeys((*CLASSES, MIXTURE), np.zeros_like(tracks[0].audio))
    for track in tracks:
        for name in (track.stem, MIXTURE):
            stems[name] = stems[name] + track.audio
        path = folder / "tracks" / f"{track.stem}__{safe_file_name(track.name)}.wav"
        count = 1
        while path.exists():
            count += 1
            path = path.with_stem(f"{track.stem}__{safe_file_name(track.name)}_{count}")
        write_wav(path, track.audio, sample_rate)
    for name, audio in stems.items():
        write_wav(folder / f"{name}.wav", audio, sample_rate)


def usable_cores() -> int:
    """The number of cores that this process may use, or of all cores where the system has no such
    restriction."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def safe_file_name(name: str) -> str:
    """A name with everything but letters and digits replaced by underscores."""
    return "".join(c if c.isalnum() else "_" for c in name)
