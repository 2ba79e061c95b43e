"""All benchmarks, one after the other, on the terminal and into a file that says where they ran.

python -m benchmarks [--profile mini] [--output results/benchmarks]
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.clock import device_name, origin
from experiments.runner import MEMORY_SETTINGS
from selfrefine.scales import SCALES

BENCHMARKS = ("evaluation", "refining", "effects", "loudness", "mixing", "training", "check_data")
AT_A_SCALE = ("refining", "mixing", "training")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--profile", default="mini", choices=SCALES)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    device = re.sub(r"\W+", "-", device_name().lower()).strip("-")
    path = args.output / f"{device}-{args.profile}.md"
    partial = path.with_name(path.name + ".partial")
    failed = []
    with partial.open("w") as file:

        def show(text: str) -> None:
            print(text, end="", flush=True)
            file.write(text)

        show(f"# Speed against peers\n\n{origin()}- profile {args.profile}\n")
        for name in BENCHMARKS:
            show(f"\n## {name}\n\n")
            words = ["--profile", args.profile] if name in AT_A_SCALE else []
            process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.{name}", *words],
                stdout=subprocess.PIPE,
                text=True,
                # As the runner trains on a CPU, and so that no thread spins beside the one timed.
                env={**os.environ, **MEMORY_SETTINGS, "OMP_NUM_THREADS": "1"},
            )
            assert process.stdout is not None
            for line in process.stdout:
                show(line)
            if process.wait():
                failed.append(name)
                show("failed\n")
    os.replace(partial, path)
    print(f"\nwritten to {path}")
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
