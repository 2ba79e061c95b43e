"""Makes label noise with a known truth out of a clean data set.

The noise is of the kinds that real data sets have: two stems of a song are swapped, a single track
is filed under another class, a stem bleeds into another one, and with --stretch-rate a few seconds
of a stem move to another one. A song's tracks are its files tracks/<class>__<instrument>; where it
has none, its stems are its tracks. OUT gets <song>/<class>.wav, truth.csv (`selfrefine refine
--truth` reads it) and stretches.csv (which classes each stem holds from when to when). The stems of
a song still sum to its mixture. A silent stem has no true class.

A song that cannot be read is named and left out. The same command, called again, passes over the
songs that are done. Exit code 0: every song was corrupted. 1: some were not. 2: none was.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from selfrefine.commands.numbers import seed
from selfrefine.errors import InputError
from selfrefine.progress import counted

if TYPE_CHECKING:
    from selfrefine.clips.truth import Piece, StemTruth

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
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="each song's noise is drawn from this and from its number in DIR (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.corrupt_folder import corrupted_song, finished_truths, was_begun
    from selfrefine.app.failures import Failures
    from selfrefine.app.output_folder import make_output_folder
    from selfrefine.app.progress_bar import ProgressBar
    from selfrefine.clips.corruption_on_disk import songs_to_corrupt
    from selfrefine.clips.truth import write_pieces, write_truth
    from selfrefine.files.layouts import Fault
    from selfrefine.settings import Corruption

    default = Corruption()
    noise = Corruption(
        swapped_songs=chance("--swap-rate", args.swap_rate, default.swapped_songs),
        moved_tracks=chance("--rate", args.rate, default.moved_tracks),
        bleeding_stems=chance("--bleed-rate", args.bleed_rate, default.bleeding_stems),
        misfiled_stretches=chance("--stretch-rate", args.stretch_rate, default.misfiled_stretches),
    )
    songs = songs_to_corrupt(args.source)
    make_output_folder(args.out, args.source, keep=was_begun(args.out))
    passed_over = 0
    with ProgressBar("corrupting", "song") as bar:
        failures = Failures("songs", "corrupted", len(songs), bar.note)
        for number, (name, song) in enumerate(songs.items()):
            with failures.caught(name):
                if isinstance(song, Fault):
                    raise InputError(str(song))
                # The seed of a song is its number among all, so that a bad song changes no other.
                passed_over += corrupted_song(song, args.out, noise, [args.seed, number], bar.note)
            bar.count(number + 1, len(songs))
    if len(failures.reasons) < len(songs):
        truths, pieces = finished_truths(args.out, failures)
        write_truth(args.out / "truth.csv", truths)
        write_pieces(args.out / "stretches.csv", pieces)
        print_noise(args.out, truths, pieces, passed_over, noise.misfiled_stretches > 0)
    return failures.exit_code()


def print_noise(
    out: Path,
    truths: "list[StemTruth]",
    pieces: "list[Piece]",
    passed_over: int,
    with_stretches: bool,
) -> None:
    from selfrefine.clips.truth import TRUTH_FLOOR_DB

    if passed_over:
        print(f"passed over, since corrupted before: {counted(passed_over, 'song')}")
    labels = [(truth.given, truth.label(TRUTH_FLOOR_DB)) for truth in truths]
    wrong = sum(label not in ((), (given,)) for given, label in labels)
    print(f"{wrong} of {len(truths)} stems in {out} do not hold what their name says")
    if silent := sum(not label for _, label in labels):
        print(f"{counted(silent, 'stem')} silent")
    if with_stretches:
        held: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for piece in pieces:
            if piece.label:
                held.setdefault((piece.song, piece.given), set()).add(piece.label)
        changing = sum(len(labels) > 1 for labels in held.values())
        print(f"{changing} hold other classes for some seconds; stretches.csv says from when")


def chance(option: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0 <= value <= 1:
        raise InputError(f"{option} {value}: give a chance from 0 to 1")
    return value
