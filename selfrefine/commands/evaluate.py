"""Scores separated songs against references: REF/<song>/<class>.wav, EST/<song>/<class>.wav.

Scores are those of BSS Eval v4 in windows of 1 s: the median over frames, then over songs, as in
museval. All headers are read first. A song that cannot be scored is named and left out.

Exit code 0: every song was scored. 1: some were not. 2: none was.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from selfrefine.progress import Note, counted

if TYPE_CHECKING:
    from selfrefine.app.evaluate_folders import Pairing, TrackScore

SUMMARY = "score separated songs against references"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("references", type=Path, metavar="REF", help="folder of true stems")
    parser.add_argument("estimates", type=Path, metavar="EST", help="folder of separated stems")
    parser.add_argument("--sdr-only", action="store_true", help="no ISR, SIR, SAR: 20 times faster")
    parser.add_argument(
        "--with",
        dest="by",
        choices=["museval"],
        help="let museval itself compute the scores, which takes 20 to 1000 times as long",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write each song's frames to DIR/test/<song>.json, which museval's add_eval_dir reads",
    )


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.evaluate_folders import (
        METRICS,
        median_scores,
        museval_metric,
        paired_songs,
        score_song,
        scored_songs,
        write_museval_json,
    )
    from selfrefine.app.failures import Failures
    from selfrefine.app.progress_bar import ProgressBar
    from selfrefine.classes import CLASSES
    from selfrefine.errors import InputError

    if args.by:
        museval_metric()
    scores: list[TrackScore] = []
    metrics = ("SDR",) if args.sdr_only else METRICS
    with ProgressBar("scoring", "song") as bar:
        pairing = paired_songs(args.references, args.estimates)
        total = len(pairing.pairs) + len(pairing.failures)
        failures = Failures("songs", "scored", total, bar.note)
        note_pairing(pairing, bar.note)
        if not total:
            raise InputError(
                f"{args.references}: no song has a stem of one class; nothing to score"
            )
        for song, reason in pairing.failures.items():
            failures.add(song, reason)
        width = max(len(median_words(total)), *(len(song) for song in pairing.pairs), 0)
        if pairing.pairs:
            print(f"{'SDR, dB':{width}s} " + " ".join(f"{name:>7s}" for name in CLASSES))
        for number, (song, pairs) in enumerate(pairing.pairs.items(), start=1):
            with failures.caught(song):
                score = score_song(song, pairs, not args.sdr_only, bool(args.by))
                if args.out:
                    write_museval_json(score, args.out)
                scores.append(score)
                values = dict(zip(score.classes, score.median("SDR").tolist(), strict=True))
                bar.print(table_row(song, values, width))
                if reason := unscored_reason(score):
                    raise InputError(f"{song}: no frame can be scored: {reason}")
            bar.count(number, len(pairing.pairs))
    if scores:
        words = median_words(scored_songs(scores))
        for metric in metrics:
            name = words if metric == "SDR" else f"{metric}, {words}"
            print(table_row(name, median_scores(scores, metric), width))
    return failures.exit_code()


def unscored_reason(score: "TrackScore") -> str:
    """Why no frame of a song has an SDR, as museval computes it; "" where one has."""
    if score.is_scored():
        return ""
    if score.silent:
        return f"{', '.join(score.silent)} silent throughout"
    return "in each, an estimate is its reference, or a signal is silent"


def median_words(songs: int) -> str:
    return f"median of {counted(songs, 'song')}"


def note_pairing(pairing: "Pairing", note: Note) -> None:
    """Notes what is not scored though nothing failed, and what is scored though it differs."""
    if pairing.passed_over:
        names = ", ".join(pairing.passed_over)
        number = counted(len(pairing.passed_over), "song")
        note(f"passed over, since each stem has several classes: {number}: {names}")
    for path in pairing.unmatched:
        note(f"{path}: estimates of no song among the references")
    for sentence in pairing.notes:
        note(sentence)


def table_row(name: str, values: dict[str, float], width: int) -> str:
    from selfrefine.classes import CLASSES

    cells = (f"{values.get(c, float('nan')):7.2f}".replace("nan", "  -") for c in CLASSES)
    return f"{name:{width}s} " + " ".join(cells)
