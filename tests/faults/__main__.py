"""`python -m tests.faults`: kills, damage and hostile words, and what came of them."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from experiments.store import Store
from tests.faults.damage import damaged_files, fault_of
from tests.faults.hostile_words import hostile_lines, made_ground
from tests.faults.kills import Kills, killed_run, unbroken_run

TARGETS = [
    "all",
    "robust/kept-by-a-separator-twice-noisy",
    "robust/labelled-by-a-separator-noisy",
    "robust/confident-learning-noisy",
    "robust/doubtful-without-loss-started",
    "robust/drawn-by-confidence-started",
]
"""The paper's rows, and one for each kind of stage that they do without."""
KILLS_A_TRAINING = 5
PARTS = ("words", "damage", "kills")


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    command.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    command.add_argument("--kills", type=int, default=100, help="default: 100")
    command.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    return command


def main() -> int:
    args = parser().parse_args()
    if unknown := [name for name in args.parts if name not in PARTS]:
        print(f"error: no part called {unknown[0]!r}; one of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    parts = args.parts or PARTS
    began = time.monotonic()
    faults: list[str] = []
    tried = 0
    kills = Kills()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "words" in parts:
            for line in hostile_lines(made_ground(made(folder / "ground")), folder / "scratch"):
                tried += 1
                note(faults, f"{line.name}", line.fault())
        if "damage" in parts or "kills" in parts:
            unbroken_run(TARGETS, folder / "whole")
        if "damage" in parts:
            store = Store(folder / "whole")
            for case in list(damaged_files(TARGETS, store)):
                tried += 1
                note(faults, str(case), fault_of(case, TARGETS, store))
        if "kills" in parts:
            chance = random.Random(args.seed)
            whole, broken = folder / "whole", folder / "broken"
            kills = killed_run(TARGETS, whole, broken, args.kills, KILLS_A_TRAINING, chance, print)
            for fault in kills.faults:
                note(faults, "kills", fault)
    minutes = (time.monotonic() - began) / 60
    for kind, count in sorted(kills.landed.items()):
        print(f"{kind:24s} {count:4d} kills survived")
    print(
        f"{kills.landed.total()} kills, {tried} inputs tried, {len(faults)} faults, "
        f"{minutes:.0f} min"
    )
    return int(bool(faults))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def note(faults: list[str], name: str, fault: str | None) -> None:
    if fault is not None:
        faults.append(name)
        print(f"FAULT  {name}: {fault}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
