"""How long things take here, and where "here" is."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

from selfrefine.training.device import training_device
from selfrefine.training.speed import wait


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Processor time on a CPU, so that busy neighbours count less; on a GPU, time that passed until
    it had done everything."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    wait(device)
    began = clock()
    work()
    wait(device)
    return clock() - began


def least_seconds(
    works: list[Callable[[], object]], rounds: int, device: torch.device
) -> list[float]:
    """Of each, the least over rounds in which they take turns."""
    times = [[seconds(work, device) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def device_name() -> str:
    device = training_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def origin() -> str:
    """What a result has to be read with: device, software, commit and day, as Markdown."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return (
        f"- device: {device_name()}; {torch.backends.cpu.get_cpu_capability()}\n"
        f"- torch {torch.__version__}, Python {platform.python_version()}\n"
        f"- commit {commit or 'unknown'}, {time.strftime('%Y-%m-%d')}\n"
    )
