"""Relabels a folder of dubious stems.

A classifier that comes with this package judges every stem, is trained further on the folder's own
stems, and judges them again. A given label changes only where another one is probable enough. With
--start none, a classifier is trained on the folder alone, from random weights, as in the paper.
DIR holds <song>/<class>.<ext>, <song>.stem.mp4 or <class>/<file>. OUT gets labels.csv, segments.csv
(what each stem holds from when to when), audit.html (open it in a browser to listen to the doubtful
stems and decide), classifier.pt, stems/ (links to the input, by label set) and work/ (--resume
needs it; delete it when you are done). The input is never changed.
"""

import argparse
from pathlib import Path

from selfrefine.commands.numbers import seed
from selfrefine.errors import InputError
from selfrefine.refining.starting import shipped_classifier
from selfrefine.scales import SCALES, Scale, scale_named
from selfrefine.settings import SURE, Refining

SUMMARY = "relabel a folder of dubious stems"
MOST_ITERATIONS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of stems")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--start",
        metavar="band|none|FILE",
        help="the classifier to begin with: band, the one that comes with this package (default "
        "where there is one for the profile's sample rate); none, as in the paper; or a file that "
        "refine wrote",
    )
    start.add_argument(
        "--classifier", type=Path, metavar="FILE", help="use this classifier, without any training"
    )
    parser.add_argument(
        "--iterations",
        type=int,
        help="number of trainings (default: 2; with a start, none for fewer than 8 stems)",
    )
    parser.add_argument(
        "--sure",
        type=float,
        help="with a start: how probable another label set must be, against the given one, to "
        f"replace it (default: {SURE:g})",
    )
    parser.add_argument(
        "--stem-by-stem",
        action="store_true",
        help="with a start: label the stems of a song one by one, not together (for songs that may "
        "have two stems of one class)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="without a start: probability from which a stem has a class (default: the profile's, "
        "or that of --classifier)",
    )
    parser.add_argument(
        "--by-segment",
        action="store_true",
        help="also write OUT/segments: stems cut where their classes change, by label set",
    )
    rules = parser.add_mutually_exclusive_group()
    rules.add_argument(
        "--most-probable",
        action="store_true",
        default=None,
        help="without a start: a stem in which no class passes the threshold gets its most "
        "probable class (default)",
    )
    rules.add_argument(
        "--drop",
        dest="most_probable",
        action="store_false",
        help="without a start: a stem in which no class passes the threshold is dropped",
    )
    parser.add_argument(
        "--profile",
        default="mini",
        help=f"one of {', '.join(SCALES)} (default: mini); with a start its sample rate counts",
    )
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--resume", action="store_true", help="continue the run in OUT")
    parser.add_argument("--copy", action="store_true", help="copy stems into OUT, not link them")
    parser.add_argument(
        "--truth", type=Path, metavar="CSV", help="score the labels by this truth.csv of corrupt"
    )


def run(args: argparse.Namespace) -> int:
    scale = scale_named(args.profile)
    start = chosen_start(args, scale)
    refuse_bad_numbers(args, start is not None)

    from selfrefine.app.output_folder import make_output_folder
    from selfrefine.files.layouts import find_songs

    # Before the networks are loaded, so that a mistyped path costs no wait.
    classifier = args.classifier
    if classifier and classifier.is_dir():
        classifier /= "classifier.pt"
    songs = find_songs(args.source, tracks=False)
    make_output_folder(args.out, args.source, keep=args.resume, resumable=True)

    from selfrefine.app.refine_folder import RefineOrder, refine_folder
    from selfrefine.training.memory import named_memory_errors

    order = RefineOrder(
        source=args.source,
        out=args.out,
        scale=scale,
        start=start,
        sure=SURE if args.sure is None else args.sure,
        together=not args.stem_by_stem,
        threshold=args.threshold,
        most_probable=Refining.most_probable if args.most_probable is None else args.most_probable,
        iterations=args.iterations,
        seed=args.seed,
        resume=args.resume,
        by_segment=args.by_segment,
        copy=args.copy,
        truth=args.truth,
        classifier=classifier,
    )
    with named_memory_errors():
        refine_folder(order, songs)
    return 0


def chosen_start(args: argparse.Namespace, scale: Scale) -> Path | None:
    """The file of the classifier to begin with, or None to begin without one. Raises InputError
    for a file that does not exist."""
    if args.classifier or args.start == "none":
        return None
    if args.start in (None, "band"):
        return shipped_classifier(scale.classifier.sample_rate)
    path = Path(args.start)
    path = path / "classifier.pt" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"--start {args.start}: no such file; give band, none or a classifier.pt")
    return path


def refuse_bad_numbers(args: argparse.Namespace, started: bool) -> None:
    """Raises InputError for numbers out of range, and for options that do not apply with a start,
    or without one."""
    for option, value in (("--threshold", args.threshold), ("--sure", args.sure)):
        if value is not None and not 0 < value <= 1:
            raise InputError(f"{option} {value}: give a probability above 0, at most 1")
    least = 0 if started else 1
    if args.iterations is not None and not least <= args.iterations <= MOST_ITERATIONS:
        raise InputError(f"--iterations {args.iterations}: {least} to {MOST_ITERATIONS}")
    if started and (args.threshold is not None or args.most_probable is not None):
        raise InputError(
            "--threshold, --most-probable and --drop belong to --start none and --classifier: "
            "after a start label sets are weighed; give --sure, or --start none"
        )
    if args.classifier and args.iterations is not None:
        raise InputError("--iterations counts trainings, and --classifier trains none; give one")
    if not started and args.sure is not None:
        raise InputError("--sure belongs to a start; give --threshold, or another --start")
    if not started and args.stem_by_stem:
        raise InputError("--stem-by-stem belongs to a start: without one, leave it out")
