"""Measures the cost of a training on this device with a few steps on noise, in its own process.

Only that process and workers load torch. `experiments.engine.step_costs` measures once per device,
settings and size of the stem set, and the store keeps the cost. A training begins with as many
items at once as fitted then.
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
"""Items of a batch that are tried on a CPU. Time and memory are assumed to grow with the batch."""

MEMORY_SHARE = 0.8
"""Share of the host's memory that a training on the CPU may take."""

STEMS_UNIT = 2**30
"""Sizes of stem sets are rounded to this unit (bytes). Stem sets of equal rounded size share a
measured cost."""


@dataclass(frozen=True)
class StepCost:
    """The cost of a training on `device`, which is given in words.

    `step_seconds` is for the whole batch. `memory` is the peak in bytes: of the GPU, with any stems
    on it, or of the process on a CPU. `items_at_once` is smaller than the batch if the whole batch
    did not fit.
    """

    device: str
    step_seconds: float
    memory: float
    items_at_once: int
    stems_on_device: bool = False


Settings = ClassifierSettings | SeparatorSettings


def cost_of(settings: Settings) -> Settings:
    """The settings with fixed values for those that change neither a step's time nor its
    memory."""
    if isinstance(settings, ClassifierSettings):
        return replace(settings, steps=1, learning_rate=1.0, bce_share=0.0)
    return replace(settings, steps=1, learning_rate=1.0, single_share=0.0)


def mark_of(settings: Settings, device: str) -> str:
    return hashlib.sha256(f"{device} {cost_of(settings)}".encode()).hexdigest()[:16]


def kept_costs(root: Path) -> dict[str, dict[str, Any]]:
    """The fields of the kept costs, by a key of settings, device and size of the stem set."""
    path = root / FILE
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def kept_or_measured(
    settings: Settings, stem_bytes: float, device: str, root: Path, attempt: Callable[[], StepCost]
) -> StepCost:
    """The cost that the store at `root` keeps, or the result of `attempt`, which is then kept."""
    key = f"{mark_of(settings, device)} {round(stem_bytes / STEMS_UNIT)}"
    kept = kept_costs(root)
    if key not in kept:
        kept[key] = asdict(attempt())
        write_json(root / FILE, kept)
    return StepCost(**kept[key])


def known_to_fit(settings: Settings, device: str, root: Path) -> int | None:
    """The smallest number of items at once in the kept costs of these settings on this device; None
    without one."""
    mark = mark_of(settings, device)
    found = [t["items_at_once"] for key, t in kept_costs(root).items() if key.split()[0] == mark]
    return min(found, default=None)


def device_words() -> str:
    """The GPU, or this machine's CPU, and the precision, in words: a timing is valid for these.
    Loads torch."""
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


def measure_step(settings: Settings, stem_bytes: float) -> StepCost:
    """Measures a training with a stem set of `stem_bytes` bytes. On a GPU the items at once are
    halved until they fit."""
    import torch

    from selfrefine.training.device import prepare, training_device

    device = training_device()
    prepare(device)
    if device.type != "cuda":
        # As in the runner's workers when every core has one.
        os.environ["SELFREFINE_DRAW_AHEAD"] = "0"
        return measure_on_cpu(settings, device)
    seconds, trained = timed_steps(replace(settings, steps=GPU_STEPS), stem_bytes, device)
    return StepCost(
        device_words(),
        seconds,
        float(torch.cuda.max_memory_reserved(device)),
        trained.items_at_once,
        trained.stems_on_device,
    )


def measure_on_cpu(settings: Settings, device: Any) -> StepCost:
    from selfrefine.training.speed import peak_memory

    items = min(CPU_ITEMS, settings.batch)
    before = float(peak_memory(device))
    tried = replace(settings, steps=CPU_STEPS, batch=items, warmup_steps=0)
    seconds = timed_steps(tried, 0, device)[0] * settings.batch / items
    per_item = max(1.0, peak_memory(device) - before) / items
    room = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") - before
    at_once = min(settings.batch, max(1, int(room / per_item)))
    return StepCost(device_words(), seconds, before + at_once * per_item, at_once)


def timed_steps(settings: Settings, stem_bytes: float, device: Any) -> tuple[float, Any]:
    """Seconds per step in the last report, and how the training ended. The first steps do not
    count, since algorithms are chosen in them."""
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
    """Writes five stems of noise: one per class, and one with two labels.

    A hole at the end makes the file as large as the real stem set, `stem_bytes`. The hole takes no
    disk space, and nothing is drawn from it.
    """
    import numpy as np

    from selfrefine.clips.audio_set import AudioSetWriter

    rng = np.random.default_rng(0)
    labels = [(name,) for name in CLASSES] + [CLASSES[:2]]
    with AudioSetWriter(folder, settings.sample_rate) as writer:
        for label in labels:
            audio = rng.uniform(-0.3, 0.3, (2, 2 * settings.segment)).astype(np.float32)
            writer.add("noise", label_words(label), tuple(label), audio)
        writer.grow_to(int(stem_bytes) // 4)
