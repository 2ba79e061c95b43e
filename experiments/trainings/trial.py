"""What a training costs on this device, measured by a few steps on noise in a process of its own.

Loads torch only in that process and in workers. `experiments.engine.trying` asks for trials, once
per device and settings; the store keeps them, and a training begins with as many items at once as
fitted.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from selfrefine.classes import CLASSES, label_words
from selfrefine.files.atomic import write_json
from selfrefine.progress import Progress, StepReport
from selfrefine.settings import ClassifierSettings, SeparatorSettings

FILE = "trials.json"

GPU_STEPS = 60
CPU_STEPS = 2
CPU_ITEMS = 2
"""Items of a batch tried on a CPU; time and memory are taken to grow with the batch."""

MEMORY_SHARE = 0.8
"""Of the host's memory, what a training may take."""

STEMS_UNIT = 2**30
"""Sizes of stem sets (bytes) that differ by less share a trial."""


@dataclass(frozen=True)
class Trial:
    """`step_seconds` of the whole batch. `device` in words. `memory` is the most in use, in bytes:
    on a GPU with the stems that lay there, else of the process. `items_at_once` is less than the
    batch where the whole did not fit."""

    device: str
    step_seconds: float
    memory: float
    items_at_once: int
    stems_on_device: bool = False


Settings = ClassifierSettings | SeparatorSettings


def cost_of(settings: Settings) -> Settings:
    """The settings without what changes neither a step's time nor its memory."""
    if isinstance(settings, ClassifierSettings):
        return replace(settings, steps=1, learning_rate=1.0, bce_share=0.0)
    return replace(settings, steps=1, learning_rate=1.0, single_share=0.0)


def mark_of(settings: Settings, device: str) -> str:
    return hashlib.sha256(f"{device} {cost_of(settings)}".encode()).hexdigest()[:16]


def kept_trials(root: Path) -> dict[str, dict[str, Any]]:
    """By a mark of settings and device and the stems' size, a Trial's fields."""
    path = root / FILE
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def kept_or_tried(
    settings: Settings, stem_bytes: float, device: str, root: Path, attempt: Callable[[], Trial]
) -> Trial:
    """The trial that the store at `root` keeps, or one made now and kept."""
    key = f"{mark_of(settings, device)} {round(stem_bytes / STEMS_UNIT)}"
    kept = kept_trials(root)
    if key not in kept:
        kept[key] = asdict(attempt())
        write_json(root / FILE, kept)
    return Trial(**kept[key])


def known_to_fit(settings: Settings, device: str, root: Path) -> int | None:
    """The items at once of the trials of these settings on this device; None without one."""
    mark = mark_of(settings, device)
    found = [t["items_at_once"] for key, t in kept_trials(root).items() if key.split()[0] == mark]
    return min(found, default=None)


def device_words() -> str:
    """What a timing holds for: the GPU, or this machine, and the precision. Loads torch."""
    import platform

    import torch

    from selfrefine.training.device import training_device
    from selfrefine.training.precision import multiplies_in_bf16

    device = training_device()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        name = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB"
    else:
        name = f"CPU of {platform.node()}, {os.cpu_count()} cores"
    return f"{name}, {'bf16' if multiplies_in_bf16(device) else 'float32'}"


def try_training(settings: Settings, stem_bytes: float) -> Trial:
    """On a GPU beside a stem set of so many bytes, the items at once halved until they fit."""
    import torch

    from selfrefine.training.device import prepare, training_device

    device = training_device()
    prepare(device)
    if device.type != "cuda":
        # As in the runner's workers, of which each core has one.
        os.environ["SELFREFINE_DRAW_AHEAD"] = "0"
        return try_on_cpu(settings, device)
    seconds, trained = tried_steps(replace(settings, steps=GPU_STEPS), stem_bytes, device)
    return Trial(
        device_words(),
        seconds,
        float(torch.cuda.max_memory_reserved(device)),
        trained.items_at_once,
        trained.stems_on_device,
    )


def try_on_cpu(settings: Settings, device: Any) -> Trial:
    from selfrefine.training.speed import peak_memory

    items = min(CPU_ITEMS, settings.batch)
    before = float(peak_memory(device))
    tried = replace(settings, steps=CPU_STEPS, batch=items, warmup_steps=0)
    seconds = tried_steps(tried, 0, device)[0] * settings.batch / items
    per_item = max(1.0, peak_memory(device) - before) / items
    room = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") - before
    at_once = min(settings.batch, max(1, int(room / per_item)))
    return Trial(device_words(), seconds, before + at_once * per_item, at_once)


def tried_steps(settings: Settings, stem_bytes: float, device: Any) -> tuple[float, Any]:
    """Seconds of one of the last steps reported, after the first ones that choose algorithms; and
    how the training ended."""
    from selfrefine.clips.audio_set import open_audio_set
    from selfrefine.training.classifier import train_classifier
    from selfrefine.training.loop import Place
    from selfrefine.training.separator import train_separator

    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_noise(folder / "stems", settings, stem_bytes)
        stems = open_audio_set(folder / "stems")
        place = Place(folder, device, Progress(step=reports.append))
        if isinstance(settings, ClassifierSettings):
            trained = train_classifier(stems, settings, 0, place)
        else:
            trained = train_separator(stems, settings, 0, place)
    return reports[-1].seconds, trained


def write_noise(folder: Path, settings: Settings, stem_bytes: float) -> None:
    """Four stems of noise, one of two labels, and a hole in the file that makes it as large as the
    real set: it takes no disk, and nothing is drawn from it."""
    import numpy as np

    from selfrefine.clips.audio_set import AudioSetWriter

    rng = np.random.default_rng(0)
    labels = [(name,) for name in CLASSES] + [CLASSES[:2]]
    with AudioSetWriter(folder, settings.sample_rate) as writer:
        for label in labels:
            audio = rng.uniform(-0.3, 0.3, (2, 2 * settings.segment)).astype(np.float32)
            writer.add("noise", label_words(label), tuple(label), audio)
        writer.grow_to(int(stem_bytes) // 4)
