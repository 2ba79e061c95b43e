"""Random mixing: ours, batched, against a PyTorch DataLoader with pedalboard and pyloudnorm.

    python -m benchmarks.mixing [--examples 384]

Both draw the same kind of examples (a random mixture of effected segments at a loudness, and its
magnitude spectrogram) from the same memory-mapped stems at mini's sizes, with as many processes as
there are cores: DataLoader workers there, one-thread processes here, as the runner starts them.
Prints examples per second and their ratio (aim: 5), then per network the share of a training step
that waits for data (aim: 15%), drawn by the network's own thread and by one beside it.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from selfrefine.audio.effect_chain import apply_effects_with_pedalboard
from selfrefine.audio.effects import draw_effects
from selfrefine.audio.loudness import gain_to
from selfrefine.classes import CLASSES
from selfrefine.data.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.data.mixing import choose_classes, class_candidates, draw_mixtures
from selfrefine.data.stem_pool import load_pool
from selfrefine.models.classifier import magnitudes
from selfrefine.scales import MINI
from selfrefine.settings import Classifier, Separator
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import prepare
from selfrefine.training.loop import StepReport
from selfrefine.training.separator import train_separator

CPU = torch.device("cpu")
LUFS = -14.0
STEPS = 30


def noise_stems(folder: Path) -> AudioSet:
    """Twelve songs of four stems of noise that comes and goes, 20 s each."""
    rate = MINI.classifier.sample_rate
    rng = np.random.default_rng(0)
    swell = np.abs(np.sin(3 * np.arange(20 * rate) / rate)).astype(np.float32)
    with AudioSetWriter(folder, rate) as writer:
        for song in range(12):
            for name in CLASSES:
                noise = rng.standard_normal((2, len(swell)), dtype=np.float32)
                writer.add(f"song{song}", name, (name,), 0.2 * swell * noise)
    return open_audio_set(folder)


class Examples(IterableDataset[Tensor]):
    """One random mixture after another, made as suites make them: item by item, with pedalboard's
    effects and pyloudnorm's loudness."""

    def __init__(self, stems: AudioSet, count: int) -> None:
        self.stems = stems
        self.count = count

    def __iter__(self):  # type: ignore[no-untyped-def]
        import pyloudnorm

        torch.set_num_threads(1)
        worker = get_worker_info()
        share = self.count // (worker.num_workers if worker else 1)
        generator = torch.Generator().manual_seed(worker.id if worker else 0)
        settings, rate = MINI.classifier, self.stems.sample_rate
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
            yield magnitudes(torch.from_numpy(mixture)[None], settings)[0]


def peer_rate(stems: AudioSet, workers: int, examples: int) -> float:
    """Examples per second of a DataLoader with `workers` processes, its start left out."""
    batch = MINI.classifier.batch
    loader = DataLoader(Examples(stems, examples), batch_size=batch, num_workers=workers)
    batches = iter(loader)
    next(batches)
    began = time.perf_counter()
    count = sum(len(b) for b in batches)
    return count / (time.perf_counter() - began)


def draw_ours(folder: Path, examples: int, seed: int) -> float:
    """Seconds in which one process draws `examples` examples."""
    torch.set_num_threads(1)
    stems, settings = open_audio_set(folder), MINI.classifier
    pool = load_pool(stems, CPU)
    candidates = class_candidates(pool)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        mixtures = draw_mixtures(
            pool, candidates, settings, settings.batch, generator, settings.effects
        )
        gains = gain_to(LUFS, mixtures.audio, settings.sample_rate)
        return magnitudes(mixtures.audio * gains[:, None, None], settings)

    draw()  # compiles
    began = time.perf_counter()
    for _ in range(examples // settings.batch):
        draw()
    return time.perf_counter() - began


def our_rate(folder: Path, workers: int, examples: int) -> float:
    """Examples per second of `workers` one-thread processes side by side."""
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        work = [(folder, examples, seed) for seed in range(workers)]
        slowest = max(processes.starmap(draw_ours, work))
    return workers * (examples // MINI.classifier.batch * MINI.classifier.batch) / slowest


def data_share(
    stems: AudioSet, settings: Classifier | Separator, place: Path
) -> tuple[float, float]:
    """Seconds of a step of one thread, and the share of them spent waiting for data."""
    reports: list[StepReport] = []
    short = replace(settings, steps=STEPS)
    place.mkdir()
    if isinstance(short, Classifier):
        train_classifier(stems, short, 0, place, CPU, reports.append)
    else:
        train_separator(stems, short, 0, place, CPU, reports.append)
    late = reports[STEPS // 3 :]
    seconds = sum(report.seconds for report in late)
    return seconds / len(late), sum(report.data_seconds for report in late) / seconds


def print_data_shares(stems: AudioSet, folder: Path) -> None:
    torch.set_num_threads(1)
    prepare(CPU)
    for name, settings in (
        ("classifier", MINI.classifier),
        ("X-UMX", MINI.xumx),
        ("Demucs", MINI.hdemucs),
    ):
        line = f"| {name} |"
        for ahead in ("0", "1"):
            os.environ["SELFREFINE_DRAW_AHEAD"] = ahead
            seconds, share = data_share(stems, settings, folder / f"{name}-{ahead}")
            line += f" {1000 * seconds:.0f} | {share:.1%} |"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random mixing against a DataLoader.")
    parser.add_argument("--examples", type=int, default=384)
    examples = parser.parse_args().examples
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stems = noise_stems(folder / "stems")
        theirs = peer_rate(stems, workers, examples)
        ours = our_rate(folder / "stems", workers, examples)
        print("| processes | ours, examples/s | DataLoader, examples/s | ratio |")
        print("|---|---|---|---|")
        print(f"| {workers} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.1f} |")
        print("\n| training at mini | step, ms | share of data | drawn ahead, ms | share |")
        print("|---|---|---|---|---|")
        print_data_shares(stems, folder)


if __name__ == "__main__":
    main()
