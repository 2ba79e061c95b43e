"""Every benchmark still runs; what it measures is not judged."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parent.parent
ALONE = {"band_difficulty"}
"""Not of speed."""


def test_make_bench_runs_every_benchmark_there_is() -> None:
    found = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)}
    timed = {
        name
        for name in found - {"__main__", "clock"} - ALONE
        if hasattr(importlib.import_module(f"benchmarks.{name}"), "main")
    }
    assert timed == set(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refining", ["--profile", "smoke"]),
        ("mixing", ["--profile", "smoke", "--examples", "32", "--steps", "3"]),
        ("training", ["--profile", "smoke", "--steps", "1"]),
        ("evaluation", ["--seconds", "2"]),
        ("check_data", ["--songs", "1", "--minutes", "0.1"]),
    ],
)
def test_a_benchmark_ends_in_a_table(name: str, words: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    rows = [line for line in ran.stdout.splitlines() if line.startswith("|")]
    assert len(rows) >= 3
    assert len({row.count("|") for row in rows[:3]}) == 1
