"""Makes label noise with a known truth out of a clean set, as happened to real ones.

Whole stems of a song are swapped, single tracks are filed under another class, stems bleed into
each other. Songs with a folder tracks/ of <class>__<instrument> files lose tracks; of others, the
stems themselves are the tracks. OUT gets <song>/<class>.wav and truth.csv, which
`selfrefine refine --truth` reads. Every song's stems still sum to its mixture.
"""

import argparse
import sys
from pathlib import Path

from selfrefine.errors import InputError

SUMMARY = "make label noise, with its truth, out of a clean set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of clean songs")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument(
        "--rate", type=float, help="chance of a track to move into another class' stem"
    )
    parser.add_argument("--swap-rate", type=float, help="share of songs with two stems swapped")
    parser.add_argument("--bleed-rate", type=float, help="chance of a stem to leak into another")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from selfrefine.data.corruption import TRUTH_FLOOR_DB, write_truth
    from selfrefine.data.corruption_on_disk import corrupt_song, songs_to_corrupt
    from selfrefine.data.output_folder import make_output_folder
    from selfrefine.settings import Corruption

    default = Corruption()
    noise = Corruption(
        swapped_songs=chance("--swap-rate", args.swap_rate, default.swapped_songs),
        moved_tracks=chance("--rate", args.rate, default.moved_tracks),
        bleeding_stems=chance("--bleed-rate", args.bleed_rate, default.bleeding_stems),
    )
    songs = songs_to_corrupt(args.source)
    make_output_folder(args.out, args.source)
    truths = []
    for number, song in enumerate(tqdm(songs, unit="song", file=sys.stderr, disable=None)):
        truths += corrupt_song(song, args.out / song.name, noise, [args.seed, number], tqdm.write)
    write_truth(args.out / "truth.csv", truths)
    wrong = sum(truth.label(TRUTH_FLOOR_DB) != (truth.given,) for truth in truths)
    print(f"{wrong} of {len(truths)} stems in {args.out} do not hold what their name says")
    return 0


def chance(option: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0 <= value <= 1:
        raise InputError(f"{option} {value}: give a chance from 0 to 1")
    return value
