"""Separates audio files of any length and sample rate into vocals, bass, drums and other.

The stems are written to OUT/<name>/<class>.wav, at the file's own sample rate. <name> is the name
of the file, or of its folder where the file is called mixture. A file of any length needs less than
4 GB of memory.
"""

import argparse
import sys
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
    from tqdm import tqdm

    from selfrefine.app.separate_file import separate_file
    from selfrefine.errors import InputError
    from selfrefine.models.model_file import load_separator
    from selfrefine.training.device import prepare, training_device

    folders: dict[Path, Path] = {}
    for path in args.files:
        name = path.stem if path.stem.lower() != "mixture" else path.resolve().parent.name
        folder = args.out / name
        if folder in folders:
            raise InputError(
                f"{path}: {folders[folder]} has the same name; separate them with different --out"
            )
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: holds something already; choose another --out")
        folders[folder] = path
    from selfrefine.progress import Progress

    device = training_device()
    prepare(device)
    separator = load_separator(args.model, device)
    for folder, path in folders.items():
        with tqdm(desc=path.name, unit="s", file=sys.stderr, disable=None) as bar:

            def count(done: float, total: float, bar: tqdm = bar) -> None:
                bar.total = round(total)
                bar.update(round(done) - bar.n)

            progress = Progress(count=count, note=lambda s: tqdm.write(s, file=sys.stderr))
            separate_file(path, folder, separator, device, progress)
        print(folder)
    return 0
