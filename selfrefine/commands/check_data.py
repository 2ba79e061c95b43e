"""Lists what a folder of stems holds: its layout, songs, hours per class before and after silence
removal, and its problems.

Exit code 0: there is no problem, or only harmless ones. 1: there are problems to mend (marked !).
2: no data set was found.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfrefine.errors import printable
from selfrefine.progress import counted

if TYPE_CHECKING:
    from selfrefine.app.inspection import Inspection

SUMMARY = "list what a folder of stems holds and its problems"
SHOWN = 12
"""How many problems of a kind the table shows; --json gives all."""

PAPER_HOURS = {
    ("SDXDB23_LabelNoise", ""): (7.2, 7.8, 9.2, 10.3),
    ("MUSDB18-HQ", "test"): (2.2, 2.7, 2.9, 3.3),
    ("MUSDB18", "test"): (2.2, 2.7, 2.9, 3.3),
}
"""Hours of each class after silence removal, in CLASSES' order (section 4.1)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON, with every problem")


def run(args: argparse.Namespace) -> int:
    from selfrefine.app.inspection import inspect
    from selfrefine.app.progress_bar import ProgressBar

    with ProgressBar("reading", "B", scaled=True) as bar:
        inspection = inspect(args.folder, bar.count)
    if args.json:
        print(json.dumps(as_json(inspection), indent=1, ensure_ascii=True))
    else:
        print_table(args.folder, inspection)
    return int(any(problem.fatal for problem in inspection.problems))


def as_json(inspection: "Inspection") -> dict[str, Any]:
    from dataclasses import asdict

    from selfrefine.classes import CLASSES

    return {
        "layout": inspection.layout,
        "splits": {
            split: {
                "songs": len(songs),
                "hours": {c: inspection.seconds(split, c, kept=False) / 3600 for c in CLASSES},
                "sounding_hours": {
                    c: inspection.seconds(split, c, kept=True) / 3600 for c in CLASSES
                },
            }
            for split, songs in inspection.songs.items()
        },
        "problems": [asdict(problem) for problem in inspection.problems],
    }


def print_table(folder: Path, inspection: "Inspection") -> None:
    from selfrefine.classes import CLASSES

    print(f"{printable(str(folder))}: {inspection.layout}")
    print(f"{'':44s}" + "".join(f"{name:>8s}" for name in CLASSES))
    for split, songs in inspection.songs.items():
        words = f"{split + ', ' if split else ''}{counted(len(songs), 'song')}"
        for kept, what in ((False, "hours"), (True, "hours after silence removal")):
            hours = [inspection.seconds(split, name, kept) / 3600 for name in CLASSES]
            print(f"{words + ': ' + what:44s}" + "".join(f"{value:8.3f}" for value in hours))
        if paper := PAPER_HOURS.get((inspection.layout, split)):
            print(f"{'   the paper has':44s}" + "".join(f"{value:8.3f}" for value in paper))
    kinds: dict[tuple[bool, str], list[str]] = {}
    for problem in inspection.problems:
        line = f"{problem.where}: {problem.what}"
        kinds.setdefault((not problem.fatal, problem.kind), []).append(printable(line))
    for (harmless, kind), lines in sorted(kinds.items()):
        print(f"{' ' if harmless else '!'} {kind}: {len(lines)}")
        for line in lines[:SHOWN]:
            print(f"    {line}")
        if len(lines) > SHOWN:
            print(f"    and {len(lines) - SHOWN} more (--json lists all)")
    if not kinds:
        print("no problems")
