"""Runs all benchmarks one after another, and writes their output and the machine's facts to a file.

    python -m benchmarks [--profile mini] [--only NAME ...] [--seconds S] [--resume]
        [--commit NAME] [--output results/benchmarks]

When a benchmark ends, its output is written to its own file, DEVICE-PROFILE.parts/NAME.md. At the
end these files are joined into DEVICE-PROFILE.md, unless sections of the old file would be lost.
With --resume, benchmarks that have succeeded with the same code on the same device are skipped.
--seconds bounds each benchmark. --commit names the commit where there is no git.
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
from experiments.engine.processes import MEMORY_SETTINGS, allocator_settings
from selfrefine.app.heartbeat import heartbeat
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text
from selfrefine.scales import SCALES

AT_A_SCALE = ("refining", "mixing", "training")


def main(words: list[str] | None = None) -> int:
    """Returns 1 if a benchmark fails or is stopped, 2 for a machine setting that cannot be used,
    else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="mini", choices=SCALES)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument(
        "--seconds", type=positive_seconds, help="most seconds of a benchmark (default: no limit)"
    )
    parser.add_argument("--resume", action="store_true", help="skip benchmarks that have succeeded")
    parser.add_argument("--commit", help="name of the commit, where there is no git")
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
        with heartbeat(name):
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
        print(f"{path} is not changed, since it also has {', '.join(lost)}; see {folder}")
    else:
        write_text(path, joined(parts, here, head))
        print(f"written to {path}")
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def output_of(command: list[str], limit_s: float | None) -> tuple[str, bool]:
    """Runs a command. Returns its output, which is also printed at once, and whether it succeeded.
    If not, the last line of the output says so.

    The command and the processes that it started are killed after `limit_s` seconds, and when this
    process is terminated.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # The runner uses these settings too. With one OpenMP thread, none spins next to the one
        # that is timed.
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
    # Raises SystemExit, so that the running benchmark ends too, as after a keyboard interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
