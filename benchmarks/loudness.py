"""Compares our batched integrated loudness with a loop over pyloudnorm, both on one CPU thread;
ours runs on a GPU if there is one.

    python -m benchmarks.loudness

Prints a Markdown table with milliseconds per batch, their ratio, and the worst deviation. Without
pyloudnorm it prints one line. Expected cost: 15 s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
import torch

from benchmarks.clock import imported, least_seconds
from selfrefine.audio.loudness import integrated_loudness
from selfrefine.training.device import training_device

CASES = ((44_100, 131_072, 64), (44_100, 264_600, 16), (16_000, 48_000, 16))  # Hz, samples, items
ROUNDS = 5


def make_chunks(batch: int, samples: int, sample_rate: int) -> torch.Tensor:
    """Stereo noise `(batch, 2, sample)` whose level rises and falls. The highest level is -60 dB in
    the first item and -10 dB in the last."""
    generator = torch.Generator().manual_seed(batch)
    swell = torch.sin(2 * torch.arange(samples) / sample_rate).abs() ** 4
    level = torch.logspace(-3, -0.5, batch)[:, None, None]
    return level * swell * torch.randn(batch, 2, samples, generator=generator)


def loudness_by_pyloudnorm(
    pyloudnorm: ModuleType, audio: torch.Tensor, sample_rate: int
) -> np.ndarray:
    meter = pyloudnorm.Meter(sample_rate)
    return np.array([meter.integrated_loudness(item.numpy().T) for item in audio])


def main() -> None:
    pyloudnorm = imported("pyloudnorm")
    if pyloudnorm is None:
        print("no pyloudnorm here to compare with: install it, or read another machine's result")
        return
    torch.set_num_threads(1)
    device = training_device()
    print("| batch | ours, ms | pyloudnorm, ms | ratio | worst deviation, LU |")
    print("|---|---|---|---|---|")
    for sample_rate, samples, batch in CASES:
        audio = make_chunks(batch, samples, sample_rate)
        placed = audio.to(device)
        integrated_loudness(placed, sample_rate)  # compiles
        works: list[Callable[[], object]] = [
            partial(integrated_loudness, placed, sample_rate),
            partial(loudness_by_pyloudnorm, pyloudnorm, audio, sample_rate),
        ]
        ours, theirs = (1000 * least for least in least_seconds(works, ROUNDS, device))
        found = integrated_loudness(placed, sample_rate).cpu().numpy()
        expected = loudness_by_pyloudnorm(pyloudnorm, audio.double(), sample_rate)
        print(
            f"| {batch} x {samples / sample_rate:.1f} s, {sample_rate} Hz | {ours:.1f} "
            f"| {theirs:.1f} | {theirs / ours:.1f} | {np.abs(found - expected).max():.1e} |"
        )


if __name__ == "__main__":
    main()
