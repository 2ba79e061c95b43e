"""Writes songs of the embedded band: made up, played, sung and mixed from a seed.

DIR/<song>/ gets mixture.wav, the four stems, and tracks/<class>__<instrument>.wav, of which a stem
is the sum. The same arguments give the same bytes.
"""

import argparse
import sys
from pathlib import Path

SUMMARY = "write songs of the embedded band, with stems and instrument tracks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a song")
    parser.add_argument("--sample-rate", type=int, default=44100, help="Hz")
    parser.add_argument("--domain", default="a", help="a or b: other instruments, styles, mixing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first song")


def run(args: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from selfrefine.audio.files import write_wav
    from selfrefine.classes import CLASSES
    from selfrefine.data.band import play_song
    from selfrefine.data.folder import MIXTURE
    from selfrefine.data.output_folder import make_output_folder
    from selfrefine.errors import InputError

    if args.songs < 1:
        raise InputError(f"--songs {args.songs}: ask for one at least")
    make_output_folder(args.out, None)
    for index in tqdm(range(args.songs), unit="song", file=sys.stderr, disable=None):
        number = args.first + index
        tracks = play_song(args.domain, args.seed, number, args.seconds, args.sample_rate)
        folder = args.out / f"Band {args.domain} - {number:03d}"
        (folder / "tracks").mkdir(parents=True)
        stems = dict.fromkeys((*CLASSES, MIXTURE), np.zeros_like(tracks[0].audio))
        for track in tracks:
            for name in (track.stem, MIXTURE):
                stems[name] = stems[name] + track.audio
            path = folder / "tracks" / f"{track.stem}__{file_word(track.name)}.wav"
            count = 1
            while path.exists():
                count += 1
                path = path.with_stem(f"{track.stem}__{file_word(track.name)}_{count}")
            write_wav(path, track.audio, args.sample_rate)
        for name, audio in stems.items():
            write_wav(folder / f"{name}.wav", audio, args.sample_rate)
    print(f"{args.songs} songs of {args.seconds:g} s in {args.out}")
    return 0


def file_word(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
