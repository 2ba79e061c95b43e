"""How many workers run at once, and whether a GPU trains."""

import os
from pathlib import Path

import pytest

from experiments import runner
from experiments.runner import workers_and_threads

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that was given the machine's fourth."""
    (tmp_path / "nvidia3").touch()
    monkeypatch.setattr(runner, "DEVICES", tmp_path)
    for name in ("SELFREFINE_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_a_cpu_has_a_worker_of_one_thread_on_each_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DEVICES", tmp_path)
    (tmp_path / "nvidiactl").touch()  # the driver without a device
    assert workers_and_threads(None) == (CORES, 1)
    assert workers_and_threads(1) == (1, 1)


def test_a_gpu_has_one_worker_with_all_cores_unless_told_otherwise(one_gpu: None) -> None:
    assert workers_and_threads(None) == (1, CORES)
    assert workers_and_threads(2) == (2, max(1, CORES // 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUDA_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "-1"), ("SELFREFINE_DEVICE", "cpu")],
)
def test_a_gpu_that_is_hidden_is_none(
    one_gpu: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert workers_and_threads(None) == (CORES, 1)
