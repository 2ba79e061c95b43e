"""What a computing process is started with. The module needs the standard library alone, so that a
bare Python can ask it."""

import os
from pathlib import Path

DEVICES = Path("/dev")

MEMORY_SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""Settings with which glibc keeps freed memory. Returning it to the system costs a fifth of a CPU
training's time."""


def gpu_here() -> bool:
    """Whether workers will train on a GPU.

    torch is not loaded here, so this looks for the driver's device files. A container may have
    been given any of them. WSL2 has one device file for all GPUs.
    """
    if os.environ.get("SELFREFINE_DEVICE", "cuda").startswith("cpu"):
        return False
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return nvidia_devices() or (DEVICES / "dxg").exists()


def nvidia_devices() -> bool:
    """Whether there are device files of NVIDIA's Linux driver, which WSL2 does not have."""
    return any(DEVICES.glob("nvidia[0-9]*"))


def allocator_settings() -> dict[str, str]:
    """Environment variables with which a process that uses the GPU must start.

    With them batches of different sizes leave fewer gaps in GPU memory. The result is empty if the
    user has set one of these variables, without a GPU, and on WSL2, where the first allocation
    would fail.
    """
    chosen = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & set(os.environ)
    if chosen or not (gpu_here() and nvidia_devices()):
        return {}
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
