"""Separates audio files of any length and sample rate into vocals, bass, drums and other.

The stems are written to OUT/<name>/<class>.wav, at the file's own sample rate. <name> is the name
of the file, or of its folder where the file is called mixture. A file of any length needs less than
4 GB of memory.

A file that cannot be separated is named and left out. The same command, called again, passes over
the files that are done. Exit code 0: every file was separated. 1: some were not. 2: none was.
"""

import argparse
from pathlib import Path

SUMMARY = "separate files by a trained separator"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--model", type=Path, required=True, help="separator.pt of selfrefine train-separator"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("separated"), help="output folder (default: separated)"
    )


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.progress_bar import ProgressBar
    from selfrefine.app.separate_files import separate_files

    with ProgressBar("separating", "s") as bar:
        failures = separate_files(args.files, args.out, args.model, bar)
    return failures.exit_code()
