"""Lays the stems of a refined folder out by a labels.csv that a person edited.

LABELS is the table that audit.html gives as a download, or any labels.csv edited by hand. OUT is
the folder that `selfrefine refine` made. OUT/stems is made anew. LABELS is copied to
OUT/labels.csv; the table that was there is kept as OUT/labels.before.csv. The stems themselves are
never changed.
"""

import argparse
import sys
from pathlib import Path

SUMMARY = "lay stems out by labels that were edited by hand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, metavar="LABELS", help="the edited labels.csv")
    parser.add_argument(
        "--out", type=Path, help="folder that refine made (default: the folder of LABELS)"
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the folder that was refined, if it was moved"
    )
    parser.add_argument("--copy", action="store_true", help="copy stems into OUT, not link them")


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.apply_labels import apply_labels, label_counts

    def note(sentence: str) -> None:
        print(sentence, file=sys.stderr)

    out = args.out or args.labels.parent
    applied = apply_labels(args.labels, out, args.source, args.copy, note)
    for words, count in label_counts(applied):
        print(f"{count:6d} {words}")
    if applied.before:
        print(f"{applied.changed:6d} changed against the table from before")
    print(f"stems: {out / 'stems'}; labels: {out / 'labels.csv'}")
    return 0
