"""Makes label noise with a known truth out of a clean data set.

The noise is of the kinds that real data sets have: two stems of a song are swapped, a single track
is filed under another class, a stem bleeds into another one, and with --stretch-rate a few seconds
of a stem move to another one. A song's tracks are its files tracks/<class>__<instrument>; where it
has none, its stems are its tracks. OUT gets <song>/<class>.wav, truth.csv (`selfrefine refine
--truth` reads it) and stretches.csv (which classes each stem holds from when to when). The stems of
a song still sum to its mixture.
"""

import argparse
import sys
from pathlib import Path

from selfrefine.commands.numbers import seed
from selfrefine.errors import InputError

SUMMARY = "make label noise with a known truth out of a clean data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of clean songs")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument(
        "--rate", type=float, help="probability that a track moves to another class' stem"
    )
    parser.add_argument(
        "--swap-rate", type=float, help="probability that two stems of a song are swapped"
    )
    parser.add_argument(
        "--bleed-rate", type=float, help="probability that a stem bleeds into another stem"
    )
    parser.add_argument(
        "--stretch-rate",
        type=float,
        help="probability that 3 to 8 s of a stem move to another stem (default: 0)",
    )
    parser.add_argument("--seed", type=seed, default=0)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from selfrefine.app.output_folder import make_output_folder
    from selfrefine.clips.corruption_on_disk import corrupt_song, songs_to_corrupt
    from selfrefine.clips.truth import TRUTH_FLOOR_DB, write_pieces, write_truth
    from selfrefine.settings import Corruption

    default = Corruption()
    noise = Corruption(
        swapped_songs=chance("--swap-rate", args.swap_rate, default.swapped_songs),
        moved_tracks=chance("--rate", args.rate, default.moved_tracks),
        bleeding_stems=chance("--bleed-rate", args.bleed_rate, default.bleeding_stems),
        misfiled_stretches=chance("--stretch-rate", args.stretch_rate, default.misfiled_stretches),
    )
    songs = songs_to_corrupt(args.source)
    make_output_folder(args.out, args.source)
    truths, pieces = [], []
    for number, song in enumerate(tqdm(songs, unit="song", file=sys.stderr, disable=None)):
        folder = args.out / song.name
        whole, parted = corrupt_song(song, folder, noise, [args.seed, number], tqdm.write)
        truths += whole
        pieces += parted
    write_truth(args.out / "truth.csv", truths)
    write_pieces(args.out / "stretches.csv", pieces)
    wrong = sum(truth.label(TRUTH_FLOOR_DB) != (truth.given,) for truth in truths)
    print(f"{wrong} of {len(truths)} stems in {args.out} do not hold what their name says")
    if noise.misfiled_stretches:
        held: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for piece in pieces:
            if piece.label:
                held.setdefault((piece.song, piece.given), set()).add(piece.label)
        changing = sum(len(labels) > 1 for labels in held.values())
        print(f"{changing} hold other classes for some seconds; stretches.csv says from when")
    return 0


def chance(option: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0 <= value <= 1:
        raise InputError(f"{option} {value}: give a chance from 0 to 1")
    return value
