"""Random mixing: ours, batched, against a PyTorch DataLoader with pedalboard and pyloudnorm.

    python -m benchmarks.mixing [--profile mini] [--examples 384] [--steps 30]

Both draw the same kind of examples (a random mixture of effected segments at a loudness, and its
magnitude spectrogram) from the same memory-mapped stems, the DataLoader with as many workers as
there are cores, ours in as many processes of one thread, as the runner starts them, or in one on a
GPU. Prints examples per second and their ratio (aim: 5) and, that they are alike, the mean level of
both; then per network the share of a training step that goes to data (aim: 15% at mini on a CPU, 5%
on a GPU), drawn by the network's own thread and by one beside it.
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
from selfrefine.scales import SCALES, Scale, scale_named
from selfrefine.settings import Classifier, Separator
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import prepare, training_device
from selfrefine.training.loop import StepReport
from selfrefine.training.separator import train_separator
from selfrefine.training.speed import wait

LUFS = -14.0
SONGS, SECONDS = 12, 20


def noise_stems(folder: Path, rate: int) -> AudioSet:
    """Songs of four stems of noise that comes and goes."""
    rng = np.random.default_rng(0)
    swell = np.abs(np.sin(3 * np.arange(SECONDS * rate) / rate)).astype(np.float32)
    with AudioSetWriter(folder, rate) as writer:
        for song in range(SONGS):
            for name in CLASSES:
                noise = rng.standard_normal((2, len(swell)), dtype=np.float32)
                writer.add(f"song{song}", name, (name,), 0.2 * swell * noise)
    return open_audio_set(folder)


class Examples(IterableDataset[Tensor]):
    """One random mixture after another, made as suites make them: item by item, with pedalboard's
    effects and pyloudnorm's loudness."""

    def __init__(self, stems: AudioSet, settings: Classifier, count: int) -> None:
        self.stems = stems
        self.settings = settings
        self.count = count

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
            yield magnitudes(torch.from_numpy(mixture)[None], settings)[0]


def mean_level(examples: list[Tensor]) -> float:
    """dB: of magnitudes `(batch, channel, bin, frame)`, the root of the mean square."""
    power = torch.stack([batch.double().square().mean() for batch in examples]).mean()
    return float(10 * torch.log10(power))


def peer_rate(
    stems: AudioSet, settings: Classifier, workers: int, examples: int
) -> tuple[float, float]:
    """Examples per second of a DataLoader with `workers` processes, its start left out, and their
    level. On a GPU with the copy to it."""
    batch, device = settings.batch, training_device()
    examples = max(examples, 2 * batch * workers)
    loader = DataLoader(
        Examples(stems, settings, examples),
        batch_size=batch,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    batches = iter(loader)
    next(batches)
    began = time.perf_counter()
    drawn = [each.to(device, non_blocking=True) for each in batches]
    wait(device)
    passed = time.perf_counter() - began
    return sum(len(each) for each in drawn) / passed, mean_level(drawn)


def draw_ours(
    folder: Path, settings: Classifier, examples: int, seed: int
) -> tuple[float, int, float]:
    """Seconds in which one process draws, how many examples, and their level."""
    torch.set_num_threads(1)
    device = training_device()
    stems = open_audio_set(folder)
    pool = load_pool(stems, device)
    candidates = class_candidates(pool)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        mixtures = draw_mixtures(
            pool, candidates, settings, settings.batch, generator, settings.effects
        )
        gains = gain_to(LUFS, mixtures.audio, settings.sample_rate)
        return magnitudes(mixtures.audio * gains[:, None, None], settings)

    draw()  # compiles
    wait(device)
    began = time.perf_counter()
    drawn = [draw() for _ in range(max(2, examples // settings.batch))]
    wait(device)
    return time.perf_counter() - began, len(drawn) * settings.batch, mean_level(drawn)


def our_rate(
    folder: Path, settings: Classifier, workers: int, examples: int
) -> tuple[float, float]:
    """Examples per second of `workers` one-thread processes side by side, and their level."""
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        work = [(folder, settings, examples, seed) for seed in range(workers)]
        found = processes.starmap(draw_ours, work)
    count, slowest = sum(count for _, count, _ in found), max(seconds for seconds, _, _ in found)
    return count / slowest, sum(level for _, _, level in found) / len(found)


def data_share(
    stems: AudioSet, settings: Classifier | Separator, steps: int, place: Path
) -> tuple[float, float]:
    """Seconds of a step, and the share of them that goes to data."""
    reports: list[StepReport] = []
    short, device = replace(settings, steps=steps), training_device()
    place.mkdir()
    if isinstance(short, Classifier):
        train_classifier(stems, short, 0, place, device, reports.append)
    else:
        train_separator(stems, short, 0, place, device, reports.append)
    late = reports[len(reports) // 3 :]
    seconds = sum(report.seconds for report in late)
    return seconds / len(late), sum(report.data_seconds for report in late) / seconds


def print_data_shares(stems: AudioSet, scale: Scale, steps: int, folder: Path) -> None:
    torch.set_num_threads(1)
    prepare(training_device())
    networks: dict[str, Classifier | Separator]
    networks = {"classifier": scale.classifier, "X-UMX": scale.xumx, "Demucs": scale.hdemucs}
    for name, settings in networks.items():
        line = f"| {name} |"
        for ahead in ("0", "1"):
            os.environ["SELFREFINE_DRAW_AHEAD"] = ahead
            seconds, share = data_share(stems, settings, steps, folder / f"{name}-{ahead}")
            line += f" {1000 * seconds:.0f} | {share:.1%} |"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random mixing against a DataLoader.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--examples", type=int, default=384)
    parser.add_argument("--steps", type=int, default=30, help="of each training")
    args = parser.parse_args()
    scale = scale_named(args.profile)
    cores = len(os.sched_getaffinity(0))
    ours_at_once = 1 if training_device().type == "cuda" else cores
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stems = noise_stems(folder / "stems", scale.classifier.sample_rate)
        theirs, their_level = peer_rate(stems, scale.classifier, cores, args.examples)
        ours, our_level = our_rate(folder / "stems", scale.classifier, ours_at_once, args.examples)
        print("| workers | ours, examples/s | DataLoader, examples/s | ratio | levels, dB |")
        print("|---|---|---|---|---|")
        levels = f"{our_level:.1f}, {their_level:.1f}"
        print(f"| {cores} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.1f} | {levels} |")
        print(f"\n| training at {scale.name} | step, ms | data | drawn ahead: step, ms | waiting |")
        print("|---|---|---|---|---|", flush=True)
        print_data_shares(stems, scale, args.steps, folder)


if __name__ == "__main__":
    main()
