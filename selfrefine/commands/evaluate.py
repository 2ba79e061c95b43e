"""Scores separated songs against references: REF/<song>/<class>.wav, EST/<song>/<class>.wav.

Scores are those of BSS Eval v4 in windows of 1 s: the median over frames, then over songs, as in
museval.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selfrefine.app.evaluate_folders import TrackScore

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
    from tqdm import tqdm

    from selfrefine.app.evaluate_folders import (
        METRICS,
        median_scores,
        score_folders,
        write_museval_json,
    )
    from selfrefine.classes import CLASSES
    from selfrefine.files.layouts import find_songs

    scores: list[TrackScore] = []
    metrics = ("SDR",) if args.sdr_only else METRICS
    songs = find_songs(args.references, tracks=False)
    width = max(len("median of songs"), *(len(song.name) for song in songs))
    print(f"{'SDR, dB':{width}s} " + " ".join(f"{name:>7s}" for name in CLASSES))
    results = score_folders(args.references, args.estimates, not args.sdr_only, bool(args.by))
    for score in tqdm(results, total=len(songs), unit="song", file=sys.stderr, disable=None):
        scores.append(score)
        if args.out:
            write_museval_json(score, args.out)
        values = dict(zip(score.classes, score.median("SDR").tolist(), strict=True))
        tqdm.write(table_row(score.song, values, width))
        for silent in score.silent:
            tqdm.write(f"  {silent} is silent throughout: no frame can be scored", file=sys.stderr)
    for metric in metrics:
        words = "median of songs" if metric == "SDR" else f"{metric}, median of songs"
        print(table_row(words, median_scores(scores, metric), width))
    return 0


def table_row(name: str, values: dict[str, float], width: int) -> str:
    from selfrefine.classes import CLASSES

    cells = (f"{values.get(c, float('nan')):7.2f}".replace("nan", "  -") for c in CLASSES)
    return f"{name:{width}s} " + " ".join(cells)
