"""All benchmarks, one after the other, on the terminal and into a file that says where they ran.

    python -m benchmarks [--profile mini] [--only NAME ...] [--seconds S] [--resume]
        [--commit NAME] [--output results/benchmarks]

Each one's output is kept in a file of its own, DEVICE-PROFILE.parts/NAME.md, as soon as it ends. At
the end all that are there are joined into DEVICE-PROFILE.md, but for one that would then tell less
than before. A run that was cut short goes on with --resume, which passes over what has ended well
with the same code on the same device. --seconds bounds each benchmark. --commit names the commit
where there is no git.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.clock import ROOT, device_name, origin
from benchmarks.parts import (
    BENCHMARKS,
    DONE,
    FAILED,
    Part,
    joined,
    lost_sections,
    read_part,
    write_part,
)
from benchmarks.processes import end_group
from experiments.engine.runner import MEMORY_SETTINGS, allocator_settings
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text
from selfrefine.scales import SCALES

AT_A_SCALE = ("refining", "mixing", "training")


def main(words: list[str] | None = None) -> int:
    """1 when a benchmark fails or is stopped, 2 for a machine setting that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="mini", choices=SCALES)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument(
        "--seconds", type=positive_seconds, help="that a benchmark may take; all it needs"
    )
    parser.add_argument("--resume", action="store_true", help="pass over what has ended well")
    parser.add_argument("--commit", help="what to say in place of git")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"))
    args = parser.parse_args(words)
    try:
        facts = [*origin(args.commit), f"profile {args.profile}"]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    here = "; ".join(facts)
    device = re.sub(r"\W+", "-", device_name().lower()).strip("-")
    path = args.output / f"{device}-{args.profile}.md"
    folder = path.with_suffix(".parts")

    failed = []
    for name in (name for name in BENCHMARKS if name in args.only):
        old = read_part(folder, name)
        if args.resume and old and (old.ended, old.origin) == (DONE, here):
            print(f"## {name}: done already, in {folder / name}.md")
            continue
        print(f"## {name}\n", flush=True)
        at_scale = ["--profile", args.profile] if name in AT_A_SCALE else []
        command = [sys.executable, "-m", f"benchmarks.{name}", *at_scale]
        text, well = output_of(command, args.seconds)
        if not well:
            failed.append(name)
        write_part(folder, name, Part(DONE if well else FAILED, here, text))
        print()

    found = ((name, read_part(folder, name)) for name in BENCHMARKS)
    parts = {name: part for name, part in found if part}
    facts = [*facts, f"joined {time.strftime('%Y-%m-%d')}"]
    head = "# Speed against peers\n\n" + "".join(f"- {fact}\n" for fact in facts)
    if lost := lost_sections(path, parts):
        print(f"{path} stays as it was, for it tells of {', '.join(lost)} too; see {folder}")
    else:
        write_text(path, joined(parts, here, head))
        print(f"written to {path}")
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def output_of(command: list[str], limit_s: float | None) -> tuple[str, bool]:
    """What a command prints, shown as it comes, and whether it ends well; if not, the last line
    says so.

    What it started ends with it: after `limit_s`, and when this process is told to end.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # As the runner trains on a CPU, and so that no thread spins beside the one timed.
        env={**os.environ, **MEMORY_SETTINGS, **allocator_settings(), "OMP_NUM_THREADS": "1"},
        process_group=0,
    )
    assert process.stdout is not None
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        end_group(process.pid)

    timer = threading.Timer(limit_s or 0.0, stop)
    timer.daemon = True
    lines = []
    try:
        if limit_s:
            timer.start()
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        code = process.wait()
    finally:
        timer.cancel()
        end_group(process.pid)
    if code:
        lines.append(f"stopped after {limit_s:g} s\n" if stopped.is_set() else "failed\n")
        print(lines[-1], end="", flush=True)
    return "".join(lines), not code


def positive_seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text}: give a number of seconds above 0")
    return number


if __name__ == "__main__":
    # As an interrupt from the keyboard would: the benchmark that runs ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
