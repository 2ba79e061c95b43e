"""Trains a separator on a folder of stems, which may carry several labels.

DIR holds <song>/<class>.<ext>, <song>.stem.mp4 or <class>/<file>. The last <class> may be a label
set as in bass+drums; OUT/stems of `selfrefine refine` is such a folder. With --labels, a labels.csv
(edited by hand or not), DIR is the folder that it was made from. OUT gets separator.pt, for
`selfrefine separate`, and work/, which --resume needs. --least-confidence .8 leaves out the stems
whose labels are doubtful, but for those that a person decided.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from selfrefine.commands.numbers import seed
from selfrefine.errors import InputError
from selfrefine.scales import SCALES, scale_named

SUMMARY = "train a separator on a folder of stems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of stems")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="labels.csv of refine")
    parser.add_argument(
        "--least-confidence",
        type=float,
        metavar="P",
        help="with --labels: leave out stems whose label is right with less than this probability, "
        'unless the reason in the table is "by hand", as audit.html writes it',
    )
    parser.add_argument(
        "--kept-losses",
        type=float,
        metavar="P",
        help="learn from this share of each class's losses in a batch, the smallest for their "
        "level, since wrong labels make large ones (default: all)",
    )
    parser.add_argument("--network", choices=["xumx", "hdemucs"], default="xumx")
    parser.add_argument(
        "--profile", default="mini", help=f"one of {', '.join(SCALES)} (default: mini)"
    )
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--resume", action="store_true", help="continue the run in OUT")


def run(args: argparse.Namespace) -> int:
    scale = scale_named(args.profile)
    refuse_bad_shares(args)

    from selfrefine.app.label_confidence import leave_out_doubtful
    from selfrefine.app.labels_table import read_labels
    from selfrefine.app.output_folder import begin_or_resume, make_output_folder
    from selfrefine.files.layouts import find_songs, fingerprint

    # Before the networks are loaded, so that a mistyped path costs no wait.
    settings = scale.xumx if args.network == "xumx" else scale.hdemucs
    if args.kept_losses is not None:
        settings = replace(settings, kept_shares=(args.kept_losses,), kept_relative=True)
    found = find_songs(args.source, tracks=False)
    songs = read_labels(args.labels, args.source, found) if args.labels else found
    labelled = sum(len(song.files) for song in songs)
    if args.least_confidence is not None:
        songs = leave_out_doubtful(args.labels, args.source, songs, args.least_confidence)
    make_output_folder(args.out, args.source, keep=args.resume, resumable=True)

    from selfrefine.app.prepared_stems import note_unused, trimmed_stems
    from selfrefine.app.progress_bar import ProgressBar
    from selfrefine.app.settings_mark import settings_mark
    from selfrefine.clips.audio_set import refuse_changed_samples
    from selfrefine.models.model_file import save_separator
    from selfrefine.training.device import prepare, training_device
    from selfrefine.training.loop import Place
    from selfrefine.training.memory import named_memory_errors
    from selfrefine.training.separator import train_separator

    device = training_device()
    prepare(device)
    mark = {"files": fingerprint(songs), "settings": settings_mark(settings), "seed": args.seed}
    work = begin_or_resume(args.out, mark)
    with named_memory_errors(), ProgressBar() as bar:
        note_unused(args.source, found, bar.progress)
        if doubtful := labelled - sum(len(song.files) for song in songs):
            bar.progress.note(f"{doubtful} of {labelled} stems are left out: doubtful labels")
        trimmed = trimmed_stems(songs, work, settings.sample_rate, bar.progress)
        if args.resume:
            refuse_changed_samples(work / "stems")
        if not (work / "model.pt").exists():
            place = Place(work, device, bar.progress)
            train_separator(trimmed.stems, settings, args.seed, place)
    path = args.out / "separator.pt"
    save_separator(path, work / "model.pt", settings)
    single = sum(len(clip.label) == 1 for clip in trimmed.stems.clips)
    print(
        f"{path}: trained on {single} stems of one class, {len(trimmed.kept) - single} of several"
    )
    return 0


def refuse_bad_shares(args: argparse.Namespace) -> None:
    """Raises InputError for a confidence without a table, and for shares out of range."""
    if args.least_confidence is not None:
        if args.labels is None:
            raise InputError(
                "--least-confidence belongs to --labels: give the labels.csv of refine"
            )
        if not 0 < args.least_confidence <= 1:
            raise InputError(
                f"--least-confidence {args.least_confidence}: give a probability above 0, at most 1"
            )
    if args.kept_losses is not None and not 0 < args.kept_losses < 1:
        raise InputError(f"--kept-losses {args.kept_losses}: give a share above 0, below 1")
