"""Tests that need a GPU can be collected where little more than torch is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LACKING = (
    "wandb", "optuna", "optuna_dashboard", "museval", "musdb", "stempeg", "symusic", "plotly",
    "sklearn", "pretty_midi", "pyworld", "espeakng_loader", "openunmix", "psutil", "pandas",
    "matplotlib", "jinja2", "tabulate",
)  # fmt: skip

COLLECT = f"""
import sys
from functools import partial
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {LACKING!r} else found(name, path, target)

# Not a function, which a class that keeps it would make a method of.
PathFinder.find_spec = partial(find_spec)
import pytest
sys.exit(pytest.main(["-m", "gpu", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]))
"""


@pytest.mark.slow
def test_marked_tests_are_collected_without_the_other_packages() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    for name in ("test_gpu_training", "test_gpu_inference", "test_gpu_paths", "test_effects"):
        assert f"tests/{name}.py" in ran.stdout
    assert "test_runner" not in ran.stdout
