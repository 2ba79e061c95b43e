"""Relabels a folder of dubious stems by a classifier trained on the folder itself.

DIR holds <song>/<class>.<ext>, <song>.stem.mp4 or <class>/<file>. OUT gets labels.csv, audit.html
(open it in a browser to listen to the doubtful stems), classifier.pt, stems/ (links to the input,
by label set) and work/ (what --resume goes on from; delete it when you are done). The input is
never changed.
"""

import argparse
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.scales import SCALES, scale_named
from selfrefine.settings import Refining

SUMMARY = "relabel a folder of dubious stems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of stems")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--iterations", type=int, default=2, help="trainings (default: 2)")
    parser.add_argument(
        "--threshold", type=float, help="probability from which a stem has a class (the profile's)"
    )
    rules = parser.add_mutually_exclusive_group()
    rules.add_argument(
        "--most-probable",
        action="store_true",
        default=Refining.most_probable,
        help="a stem in which no class passes the threshold gets its most probable class (default)",
    )
    rules.add_argument(
        "--drop",
        dest="most_probable",
        action="store_false",
        help="a stem in which no class passes the threshold is dropped",
    )
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with what OUT holds")
    parser.add_argument("--copy", action="store_true", help="copy stems into OUT, not link them")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="truth.csv of selfrefine corrupt")
    parser.add_argument(
        "--classifier", type=Path, metavar="FILE", help="use this classifier, train none"
    )


def run(args: argparse.Namespace) -> int:
    scale = scale_named(args.profile)
    if args.threshold is not None and not 0 < args.threshold <= 1:
        raise InputError(f"--threshold {args.threshold}: give a probability above 0, at most 1")
    if args.iterations < 1:
        raise InputError(f"--iterations {args.iterations}: one at least")

    from selfrefine.data.folder import find_songs
    from selfrefine.data.output_folder import make_output_folder

    # Before the networks are loaded, so that a mistyped path costs no wait.
    classifier = args.classifier
    if classifier and classifier.is_dir():
        classifier /= "classifier.pt"
    songs = find_songs(args.source, tracks=False)
    make_output_folder(args.out, args.source, keep=args.resume)

    from selfrefine.refine_folder import RefineOrder, refine_folder

    order = RefineOrder(
        source=args.source,
        out=args.out,
        scale=scale,
        threshold=args.threshold,
        most_probable=args.most_probable,
        iterations=args.iterations,
        seed=args.seed,
        resume=args.resume,
        copy=args.copy,
        truth=args.truth,
        classifier=classifier,
    )
    refine_folder(order, songs)
    return 0
