"""Where a training's step spends its time on a GPU, with the drawing of its batches.

    python -m benchmarks.gpu_profile [--profile paper] [--only NAME ...] [--compile]

Trains each network for 60 steps on noise and watches 20 of them. Prints for a step the wall time,
the time in which the GPU computes, its kernels, and the kernels and the operations of the host that
take the longest. A step that is longer than its kernels waits for the host.
"""

import argparse
import os
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.mixing import noise_stems
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.progress import Progress, StepReport
from selfrefine.scales import SCALES, Scale, scale_named
from selfrefine.settings import ClassifierSettings, SeparatorSettings
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import prepare, training_device
from selfrefine.training.loop import STEPS_A_REPORT, Place
from selfrefine.training.separator import train_separator

STEPS = 60
SHOWN = 12


class Watched:
    """Profiles the steps between the first and the second report of a training."""

    def __init__(self) -> None:
        self.profiler: Any = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self.reports: list[StepReport] = []

    def take(self, report: StepReport) -> None:
        self.reports.append(report)
        if len(self.reports) == 1:
            self.profiler.start()
        elif len(self.reports) == 2:
            torch.cuda.synchronize()
            self.profiler.stop()


def networks(scale: Scale) -> dict[str, ClassifierSettings | SeparatorSettings]:
    return {"classifier": scale.classifier, "X-UMX": scale.xumx, "Demucs": scale.hdemucs}


def train_watched(
    stems: AudioSet, settings: ClassifierSettings | SeparatorSettings, folder: Path
) -> Watched:
    watched = Watched()
    place = Place(folder, training_device(), Progress(step=watched.take))
    short = replace(settings, steps=STEPS)
    if isinstance(short, ClassifierSettings):
        train_classifier(stems, short, 0, place)
    else:
        train_separator(stems, short, 0, place)
    return watched


def busy_seconds(spans: list[tuple[float, float]]) -> float:
    """The length of the union of spans (start, end), in their unit: kernels of several streams may
    overlap."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def print_profile(name: str, watched: Watched) -> None:
    steps = STEPS_A_REPORT["cuda"]
    kernels: dict[str, list[float]] = defaultdict(list)
    spans = []
    for event in watched.profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spans.append((event.time_range.start, event.time_range.end))
            kernels[event.name].append(event.time_range.elapsed_us())
    step_ms = 1000 * watched.reports[1].seconds
    busy = busy_seconds(spans) / 1000 / steps
    summed = sum(map(sum, kernels.values())) / 1000 / steps
    print(
        f"\n## {name}: {step_ms:.0f} ms a step, {busy:.0f} ms of it the GPU computes, "
        f"{summed:.0f} ms summed over streams, {len(spans) / steps:.0f} kernels; "
        f"waiting for data {watched.reports[1].data_seconds / watched.reports[1].seconds:.0%}\n"
    )
    print("| kernel | ms a step | calls a step |\n|---|---|---|")
    for kernel, times in sorted(kernels.items(), key=lambda pair: -sum(pair[1]))[:SHOWN]:
        ms, calls = sum(times) / 1000 / steps, len(times) / steps
        print(f"| {kernel[:90].replace('|', '/')} | {ms:.2f} | {calls:.0f} |")
    print("\n| on the host | ms a step | calls a step |\n|---|---|---|")
    averages = watched.profiler.key_averages()
    for each in sorted(averages, key=lambda found: -found.self_cpu_time_total)[:SHOWN]:
        ms = each.self_cpu_time_total / 1000 / steps
        print(f"| {each.key[:90].replace('|', '/')} | {ms:.2f} | {each.count / steps:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Where a training's step spends its time.")
    parser.add_argument("--profile", default="paper", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--only", nargs="+", default=["classifier", "X-UMX", "Demucs"])
    parser.add_argument("--compile", action="store_true", help="with SELFREFINE_COMPILE=1")
    args = parser.parse_args()
    if training_device().type != "cuda":
        raise InputError("benchmarks.gpu_profile watches a GPU, and there is none here")
    if args.compile:
        os.environ["SELFREFINE_COMPILE"] = "1"
    prepare(training_device())
    scale = scale_named(args.profile)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stems = noise_stems(folder / "stems", scale.classifier.sample_rate)
        for network, settings in networks(scale).items():
            if network in args.only:
                place = folder / network
                place.mkdir()
                print_profile(network, train_watched(stems, settings, place))


if __name__ == "__main__":
    main()
