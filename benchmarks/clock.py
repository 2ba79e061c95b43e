"""How long things take here, and where "here" is."""

import hashlib
import importlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from selfrefine.training.device import training_device, wait_for_device

ROOT = Path(__file__).parent.parent
MEASURED_CODE = ("benchmarks", "selfrefine")
DRIVER = Path("/proc/driver/nvidia/version")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Processor time on a CPU, so that busy neighbours count less; on a GPU, time that passed until
    it had done everything."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    wait_for_device(device)
    began = clock()
    work()
    wait_for_device(device)
    return clock() - began


def least_seconds(
    works: list[Callable[[], object]], rounds: int, device: torch.device
) -> list[float]:
    """Of each, the least over rounds in which they take turns."""
    times = [[seconds(work, device) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def imported(peer: str) -> ModuleType | None:
    """A peer's package; None where it cannot be imported."""
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
    """What a result has to be read with: device, software and code, a fact each.

    `commit` is what to say in place of git. The code has a number of its own, which tells two
    working trees apart where the commit is unknown or files differ from it.
    """
    device = training_device()
    gpu = (gpu_facts(device),) if device.type == "cuda" else ()
    return (
        f"device: {device_name()}; {torch.backends.cpu.get_cpu_capability()}",
        *gpu,
        f"torch {torch.__version__}, Python {platform.python_version()}",
        f"commit {commit or described_commit()}, code {code_digest()}",
    )


def gpu_facts(device: torch.device) -> str:
    """Its memory, and the versions that decide which kernels run on it."""
    memory = torch.cuda.get_device_properties(device).total_memory
    driver = driver_version(DRIVER.read_text()) if DRIVER.exists() else "unknown"
    cudnn = torch.backends.cudnn.version()
    return (
        f"GPU memory {memory / 2**30:.0f} GiB, driver {driver}, CUDA {torch.version.cuda}, "
        f"cuDNN {cudnn}"
    )


def driver_version(text: str) -> str:
    """The version in what the driver tells of itself under /proc."""
    found = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", text)
    return found[1] if found else "unknown"


def described_commit() -> str:
    """As `git describe` has it; "unknown" without git and outside a repository."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def code_digest(packages: tuple[str, ...] = MEASURED_CODE) -> str:
    """Twelve hexadecimal digits of the packages' code: the benchmarks' and what they measure."""
    digest = hashlib.sha256()
    for path in sorted(path for name in packages for path in (ROOT / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
