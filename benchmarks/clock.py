"""Measures times, and describes the machine and the code that were measured."""

import hashlib
import importlib
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from experiments.commit import commit_of_code
from selfrefine.training.device import training_device, wait_for_device

ROOT = Path(__file__).parent.parent
MEASURED_CODE = ("benchmarks", "selfrefine")
DRIVER = Path("/proc/driver/nvidia/version")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The time (s) of `work`: on a CPU processor time, so that other busy processes matter less; on
    a GPU the wall time until it has finished."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    wait_for_device(device)
    began = clock()
    work()
    wait_for_device(device)
    return clock() - began


def least_seconds(
    works: list[Callable[[], object]], rounds: int, device: torch.device
) -> list[float]:
    """The least time (s) of each work, over rounds in which they take turns."""
    times = [[seconds(work, device) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def imported(peer: str) -> ModuleType | None:
    """The package of a peer; None if it cannot be imported."""
    try:
        return importlib.import_module(peer)
    except ImportError:
        return None


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


def origin(commit: str | None = None) -> tuple[str, ...]:
    """The facts that belong to a result: its device, software and code.

    `commit` replaces the commit that git names. The code also has a digest of its own, which tells
    two working trees apart if the commit is unknown or files differ from it.
    """
    device = training_device()
    gpu = (gpu_facts(device),) if device.type == "cuda" else ()
    return (
        f"device: {device_name()}; {torch.backends.cpu.get_cpu_capability()}",
        *gpu,
        f"torch {torch.__version__}, Python {platform.python_version()}",
        f"commit {commit or commit_of_code()}, code {code_digest()}",
    )


def gpu_facts(device: torch.device) -> str:
    """The GPU's memory, and the versions that determine which kernels run on it."""
    memory = torch.cuda.get_device_properties(device).total_memory
    driver = driver_version(DRIVER.read_text()) if DRIVER.exists() else "unknown"
    cudnn = torch.backends.cudnn.version()
    return (
        f"GPU memory {memory / 2**30:.0f} GiB, driver {driver}, CUDA {torch.version.cuda}, "
        f"cuDNN {cudnn}"
    )


def driver_version(text: str) -> str:
    """The version in the text that the driver gives under /proc; "unknown" if there is none."""
    found = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", text)
    return found[1] if found else "unknown"


def code_digest(packages: tuple[str, ...] = MEASURED_CODE) -> str:
    """Twelve hexadecimal digits of the packages' code; by default of the benchmarks and of the code
    that they measure."""
    digest = hashlib.sha256()
    for path in sorted(path for name in packages for path in (ROOT / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
