"""What a training costs on this device, measured by a few steps on noise in a process of its own.

Loads torch only in that process; `experiments.cost` asks for it, once per device and settings.
"""

import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from selfrefine.classes import CLASSES
from selfrefine.settings import Classifier, Separator

GPU_STEPS = 60
CPU_STEPS = 2
CPU_ITEMS = 2
"""Items of a batch tried on a CPU; time and memory are taken to grow with the batch."""

MEMORY_SHARE = 0.8
"""Of the host's memory, what a training may take."""


@dataclass(frozen=True)
class Trial:
    """`step_seconds` of the whole batch. `device` in words. `memory` is the most in use, in bytes,
    on the GPU, or of the process where there is none; the stems are not counted.
    `items_at_once` is less than the batch where the whole did not fit."""

    device: str
    step_seconds: float
    memory: float
    items_at_once: int


def try_training(settings: Classifier | Separator) -> dict[str, Any]:
    """A Trial's fields. On a GPU the batch is halved until it fits."""
    import torch

    from selfrefine.training.device import prepare, training_device

    device = training_device()
    prepare(device)
    if device.type != "cuda":
        # As in the runner's workers, of which each core has one.
        os.environ["SELFREFINE_DRAW_AHEAD"] = "0"
        return asdict(try_on_cpu(settings, device))
    at_once = settings.batch
    while True:
        os.environ["SELFREFINE_ITEMS_AT_ONCE"] = str(at_once)
        try:
            torch.cuda.reset_peak_memory_stats(device)
            seconds = step_seconds(replace(settings, steps=GPU_STEPS), device)
        except torch.cuda.OutOfMemoryError:
            if at_once == 1:
                raise
            torch.cuda.empty_cache()
            at_once = (at_once + 1) // 2
            continue
        memory = float(torch.cuda.max_memory_reserved(device))
        return asdict(Trial(torch.cuda.get_device_name(device), seconds, memory, at_once))


def try_on_cpu(settings: Classifier | Separator, device: Any) -> Trial:
    from selfrefine.training.speed import peak_memory

    items = min(CPU_ITEMS, settings.batch)
    before = float(peak_memory(device))
    tried = replace(settings, steps=CPU_STEPS, batch=items, warmup_steps=0)
    seconds = step_seconds(tried, device) * settings.batch / items
    per_item = max(1.0, peak_memory(device) - before) / items
    room = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") - before
    at_once = min(settings.batch, max(1, int(room / per_item)))
    return Trial(f"CPU, {os.cpu_count()} cores", seconds, before + at_once * per_item, at_once)


def step_seconds(settings: Classifier | Separator, device: Any) -> float:
    """Of the last steps reported, after the first ones that choose algorithms."""
    from selfrefine.data.audio_set import open_audio_set
    from selfrefine.training.classifier import train_classifier
    from selfrefine.training.loop import StepReport
    from selfrefine.training.separator import train_separator

    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_noise(folder / "stems", settings)
        stems = open_audio_set(folder / "stems")
        if isinstance(settings, Classifier):
            train_classifier(stems, settings, 0, folder, device, reports.append)
        else:
            train_separator(stems, settings, 0, folder, device, reports.append)
    return reports[-1].seconds


def write_noise(folder: Path, settings: Classifier | Separator) -> None:
    import numpy as np

    from selfrefine.data.audio_set import AudioSetWriter

    rng = np.random.default_rng(0)
    with AudioSetWriter(folder, settings.sample_rate) as writer:
        for name in CLASSES:
            audio = rng.uniform(-0.3, 0.3, (2, 2 * settings.segment)).astype(np.float32)
            writer.add("noise", name, (name,), audio)
