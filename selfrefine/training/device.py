"""The device that trains, and its precision."""

import contextlib
import os
from contextlib import AbstractContextManager

import torch


def training_device() -> torch.device:
    """The GPU when there is one; SELFREFINE_DEVICE names another."""
    chosen = os.environ.get("SELFREFINE_DEVICE")
    return torch.device(chosen or ("cuda" if torch.cuda.is_available() else "cpu"))


def prepare(device: torch.device) -> None:
    """Lets matrix products use the device's fast short formats: TF32 on a GPU, bf16 on CPUs that
    multiply in it. Sums stay in float32."""
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "medium")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = device.type == "cuda"


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 on a GPU; nothing on a CPU, where conversions cost what the products save."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
