"""Compares our batched random mixing with a PyTorch DataLoader that uses pedalboard and pyloudnorm.

    python -m benchmarks.mixing [--profile mini] [--examples 384] [--steps N]

Both draw the same kind of examples from the same memory-mapped stems: a random mixture of segments
with effects, at a fixed loudness, and its magnitude spectrogram. The DataLoader has one worker per
core. Our mixing runs in the same number of one-thread processes, as the runner starts them, or in
one process on a GPU. On a GPU the DataLoader's mixtures are copied from pinned memory and
transformed there, and its time begins once every worker has made a batch. Prints examples per
second, their ratio (aim: 5) and, as a check, the mean level of both.

The second table has one line per network, from trainings of N steps (30 on a CPU, at least 60 on a
GPU) without the first third, in which algorithms are chosen. It has the time of a step and the
share of it that goes to data (aim: 15% at mini on a CPU, 5% on a GPU), first with data drawn by the
training's own thread, then by a second thread. On a GPU trainings always draw with a second thread,
so only that is measured. The rest is for the latter: GFLOP/s, their share of the speed of a large
matrix product, on a GPU the peak of memory with the stems, and how many items of a batch went
through the network together.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.clock import imported
from selfrefine.audio.effect_chain import apply_effects_with_pedalboard
from selfrefine.audio.effects import draw_effects
from selfrefine.audio.loudness import gain_to
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.mixing.random_mixing import choose_classes, class_candidates, draw_mixtures
from selfrefine.mixing.stem_pool import load_pool, place_on_device
from selfrefine.models.classifier import magnitudes
from selfrefine.progress import Progress, StepReport
from selfrefine.scales import SCALES, Scale, scale_named
from selfrefine.settings import ClassifierSettings, SeparatorSettings
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import prepare, training_device, wait_for_device
from selfrefine.training.loop import Place, Trained
from selfrefine.training.memory import free_memory
from selfrefine.training.separator import train_separator
from selfrefine.training.speed import peak_flops, peak_memory

LUFS = -14.0
SONGS, SECONDS = 12, 20
PEERS = ("pedalboard", "pyloudnorm")
LEVEL_BATCHES = {"cpu": 24, "cuda": 8}
"""Number of batches whose level is measured. Memory does not hold all of them."""

CPU_STEPS, LEAST_GPU_STEPS = 30, 60
GPU_DRAWS = 40
"""Least number of batches drawn on a GPU, since a few are too fast to time."""
GPU_BATCHES_A_WORKER = 6
PREFETCHED = {"cpu": 2, "cuda": 4}
"""Batches that each worker prepares in advance. torch's default is 2."""


def noise_stems(folder: Path, rate: int) -> AudioSet:
    """Writes songs with four stems of noise whose level rises and falls."""
    rng = np.random.default_rng(0)
    swell = np.abs(np.sin(3 * np.arange(SECONDS * rate) / rate)).astype(np.float32)
    with AudioSetWriter(folder, rate) as writer:
        for song in range(SONGS):
            for name in CLASSES:
                noise = rng.standard_normal((2, len(swell)), dtype=np.float32)
                writer.add(f"song{song}", name, (name,), 0.2 * swell * noise)
    return open_audio_set(folder)


class Examples(IterableDataset[Tensor]):
    """Random mixtures made item by item, as in other training code, with pedalboard's effects and
    pyloudnorm's loudness. `finish` is applied to each mixture `(1, channel, sample)`."""

    def __init__(
        self,
        stems: AudioSet,
        settings: ClassifierSettings,
        count: int,
        finish: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.stems = stems
        self.settings = settings
        self.count = count
        self.finish = finish

    def __iter__(self):  # type: ignore[no-untyped-def]
        import pyloudnorm

        torch.set_num_threads(1)
        worker = get_worker_info()
        share = self.count // (worker.num_workers if worker else 1)
        generator = torch.Generator().manual_seed(worker.id if worker else 0)
        settings, rate = self.settings, self.stems.sample_rate
        meter = pyloudnorm.Meter(rate)
        by_class = [[c for c in self.stems.clips if c.label == (name,)] for name in CLASSES]
        everything = torch.ones(len(CLASSES), dtype=torch.bool)
        for _ in range(share):
            chosen = choose_classes(1, everything, settings.mix_chance, generator)[0]
            mixture = np.zeros((2, settings.segment), dtype=np.float32)
            for of_class in (c for c, yes in zip(by_class, chosen, strict=True) if yes):
                clip = of_class[int(torch.randint(len(of_class), (), generator=generator))]
                room = clip.length - settings.segment
                start = clip.start + int(torch.randint(room, (), generator=generator))
                stored = self.stems.samples[start : start + settings.segment]
                segment = torch.from_numpy(stored.T.astype(np.float32) / 32767)
                parameters = draw_effects(1, settings.effects, generator)
                mixture += apply_effects_with_pedalboard(segment[None], parameters, rate)[0].numpy()
            loudness = meter.integrated_loudness(mixture.T)
            mixture *= 10 ** ((LUFS - loudness) / 20)
            example = torch.from_numpy(mixture)
            yield self.finish(example[None])[0] if self.finish else example


def mean_level(examples: list[Tensor]) -> float:
    """Level (dB) of magnitudes `(batch, channel, bin, frame)`: 10 log10 of their mean square."""
    power = torch.stack([batch.double().square().mean() for batch in examples]).mean()
    return float(10 * torch.log10(power))


def peer_rate(
    stems: AudioSet, settings: ClassifierSettings, workers: int, examples: int
) -> tuple[float, float]:
    """Examples per second of a DataLoader with `workers` processes, and their level (dB).

    The DataLoader's start is not counted. On a GPU, the copy to it is.
    """
    batch, device = settings.batch, training_device()
    on_gpu = device.type == "cuda"
    spectra = partial(magnitudes, settings=settings)
    examples = max(examples, (GPU_BATCHES_A_WORKER if on_gpu else 2) * batch * workers)
    loader = DataLoader(
        Examples(stems, settings, examples, None if on_gpu else spectra),
        batch_size=batch,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=True,
        prefetch_factor=PREFETCHED[device.type],
    )
    batches = iter(loader)
    # On a CPU only one batch is waited for, as in all earlier results.
    for _ in range(workers if on_gpu else 1):
        next(batches)
    began = time.perf_counter()
    kept: list[Tensor] = []
    count = 0
    for each in batches:
        placed = each.to(device, non_blocking=True)
        drawn = spectra(placed) if on_gpu else placed
        count += len(drawn)
        if len(kept) < LEVEL_BATCHES[device.type]:
            kept.append(drawn)
    wait_for_device(device)
    return count / (time.perf_counter() - began), mean_level(kept)


def draw_ours(
    folder: Path, settings: ClassifierSettings, examples: int, seed: int
) -> tuple[float, int, float]:
    """The seconds that one process draws for, the number of examples, and their level (dB)."""
    torch.set_num_threads(1)
    device = training_device()
    stems = open_audio_set(folder)
    pool = load_pool(stems, device)
    place_on_device(pool, pool.mapped.nbytes)
    candidates = class_candidates(pool)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        mixtures = draw_mixtures(
            pool, candidates, settings, settings.batch, generator, settings.effects
        )
        gains = gain_to(LUFS, mixtures.audio, settings.sample_rate)
        return magnitudes(mixtures.audio * gains[:, None, None], settings)

    draw()  # compiles
    wait_for_device(device)
    began = time.perf_counter()
    count = max(GPU_DRAWS if device.type == "cuda" else 2, examples // settings.batch)
    kept = [draw() for _ in range(min(count, LEVEL_BATCHES[device.type]))]
    for _ in range(count - len(kept)):
        draw()
    wait_for_device(device)
    return time.perf_counter() - began, count * settings.batch, mean_level(kept)


def our_rate(
    folder: Path, settings: ClassifierSettings, workers: int, examples: int
) -> tuple[float, float]:
    """Examples per second of `workers` one-thread processes in parallel, and their level (dB)."""
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        work = [(folder, settings, examples, seed) for seed in range(workers)]
        found = processes.starmap(draw_ours, work)
    count, slowest = sum(count for _, count, _ in found), max(seconds for seconds, _, _ in found)
    return count / slowest, sum(level for _, _, level in found) / len(found)


@dataclass(frozen=True)
class TimedTraining:
    """The `seconds` of a step, the `data_share` of them, and the peak of `memory` in bytes."""

    seconds: float
    data_share: float
    memory: int
    trained: Trained


def short_training(
    stems: AudioSet, settings: ClassifierSettings | SeparatorSettings, steps: int, folder: Path
) -> TimedTraining:
    """Times a training of `steps` steps without the first third of them."""
    reports: list[StepReport] = []
    device = training_device()
    folder.mkdir()
    free_memory(device)
    place = Place(folder, device, progress=Progress(step=reports.append))
    short = replace(settings, steps=steps)
    if isinstance(short, ClassifierSettings):
        trained = train_classifier(stems, short, 0, place)
    else:
        trained = train_separator(stems, short, 0, place)
    late = [report for report in reports if report.step > steps // 3]
    seconds = sum(report.seconds for report in late)
    share = sum(report.data_seconds for report in late) / seconds
    return TimedTraining(seconds / len(late), share, peak_memory(device), trained)


def print_trainings(stems: AudioSet, scale: Scale, steps: int, folder: Path) -> None:
    torch.set_num_threads(1)
    device = training_device()
    prepare(device)
    product = peak_flops(device)
    networks: dict[str, ClassifierSettings | SeparatorSettings]
    networks = {"classifier": scale.classifier, "X-UMX": scale.xumx, "Demucs": scale.hdemucs}
    for name, settings in networks.items():
        line = f"| {name} |" if device.type != "cuda" else f"| {name} | - | - |"
        for ahead in ("0", "1") if device.type != "cuda" else ("1",):
            os.environ["SELFREFINE_DRAW_AHEAD"] = ahead
            training = short_training(stems, settings, steps, folder / f"{name}-{ahead}")
            line += f" {1000 * training.seconds:.0f} | {training.data_share:.1%} |"
        rate = training.trained.step_flops / training.seconds
        memory = f"{training.memory / 1e9:.1f}" if device.type == "cuda" else "-"
        line += f" {rate / 1e9:.0f} | {rate / product:.0%} | {memory} "
        print(f"{line}| {training.trained.items_at_once} |", flush=True)


def peer_rate_or_why_not(
    stems: AudioSet, settings: ClassifierSettings, workers: int, examples: int
) -> tuple[float, float] | str:
    missing = [peer for peer in PEERS if imported(peer) is None]
    if missing:
        return f"no {' and no '.join(missing)}"
    try:
        return peer_rate(stems, settings, workers, examples)
    except RuntimeError as error:
        # torch reports a killed worker so; the cause is most often too little shared memory.
        if "DataLoader worker" not in str(error):
            raise
        return "a worker was killed; is /dev/shm too small?"


def print_rates(stems: AudioSet, settings: ClassifierSettings, examples: int, folder: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    ours_at_once = 1 if training_device().type == "cuda" else cores
    peer = peer_rate_or_why_not(stems, settings, cores, examples)
    ours, our_level = our_rate(folder, settings, ours_at_once, examples)
    if isinstance(peer, str):
        theirs = f"{peer} | - | {our_level:.1f}, -"
    else:
        theirs = f"{peer[0]:.0f} | {ours / peer[0]:.1f} | {our_level:.1f}, {peer[1]:.1f}"
    print("| workers | ours, examples/s | DataLoader, examples/s | ratio | levels, dB |")
    print("|---|---|---|---|---|")
    print(f"| {cores} | {ours:.0f} | {theirs} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random mixing against a DataLoader.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--examples", type=int, default=384)
    parser.add_argument("--steps", type=int, help="steps of each training")
    args = parser.parse_args()
    scale = scale_named(args.profile)
    steps = args.steps or CPU_STEPS
    if training_device().type == "cuda":
        steps = max(LEAST_GPU_STEPS, args.steps or 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stems = noise_stems(folder / "stems", scale.classifier.sample_rate)
        print_rates(stems, scale.classifier, args.examples, folder / "stems")
        columns = (
            f"training at {scale.name}", "step, ms", "data", "drawn ahead: step, ms", "waiting",
            "GFLOP/s", "of the product", "memory, GB", "items at once",
        )  # fmt: skip
        print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
        print_trainings(stems, scale, steps, folder)


if __name__ == "__main__":
    main()
