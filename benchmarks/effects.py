"""Compares our batched effect chain with pedalboard, both on one CPU thread; ours runs on a GPU if
there is one.

    python -m benchmarks.effects

Prints a Markdown table with milliseconds per item, their ratio, and the deviation of the results.
Without pedalboard it prints one line. Expected cost: under a minute.
"""

from __future__ import annotations

from types import ModuleType

import torch

from benchmarks.clock import imported, least_seconds
from selfrefine.audio.effect_chain import apply_effects, apply_effects_with_pedalboard
from selfrefine.audio.effects import draw_effects
from selfrefine.settings import EffectRanges
from selfrefine.training.device import training_device

SIZES = ((16_000, 48_000), (44_100, 131_072))  # Hz, samples
BATCHES = (1, 16, 64)
ROUNDS = 5
PEDALBOARD_ITEMS = 8  # pedalboard processes one item at a time, so a few items show its cost


def _row(pedalboard: ModuleType, sample_rate: int, length: int, batch: int) -> str:
    generator = torch.Generator().manual_seed(batch)
    parameters = draw_effects(batch, EffectRanges(), generator)
    # Stereo noise whose level rises and falls, so that every part of the chain has work to do.
    swell = torch.sin(3 * torch.arange(length) / sample_rate).abs()
    audio = 0.2 * swell * torch.randn(batch, 2, length, generator=generator)
    audio[:, 1] += audio[:, 0]
    device = training_device()
    ours_in = audio.to(device)
    few = min(batch, PEDALBOARD_ITEMS)
    reverb, compressor = pedalboard.Reverb(), pedalboard.Compressor()
    out = torch.empty_like(ours_in)

    def fast() -> torch.Tensor:
        return apply_effects(ours_in, parameters, sample_rate, out=out)

    def reference() -> torch.Tensor:
        return apply_effects_with_pedalboard(audio[:few], parameters[:few], sample_rate)

    def two_effects() -> None:
        for item in audio[:few].numpy():
            reverb(compressor(item, sample_rate), sample_rate)

    fast()
    least = least_seconds([fast, reference, two_effects], ROUNDS, device)
    items = (batch, few, few)
    ours, theirs, alone = (1000 * s / count for s, count in zip(least, items, strict=True))
    expected = reference().double()
    error = expected - fast()[:few].cpu()
    snr = 10 * torch.log10(expected.square().sum((1, 2)) / error.square().sum((1, 2)))
    return (
        f"| {sample_rate} | {length} | {batch} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} "
        f"| {alone:.2f} | {alone / ours:.1f} | {error.abs().max():.0e} | {snr.min():.0f} |"
    )


def main() -> None:
    pedalboard = imported("pedalboard")
    if pedalboard is None:
        print("no pedalboard here to compare with: install it, or read another machine's result")
        return
    torch.set_num_threads(1)
    columns = (
        "Hz", "samples", "batch", "ours, ms an item", "chain with pedalboard", "ratio",
        "pedalboard's compressor and reverb alone", "ratio", "largest deviation", "least SNR, dB",
    )  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for sample_rate, length in SIZES:
        for batch in BATCHES:
            print(_row(pedalboard, sample_rate, length, batch), flush=True)


if __name__ == "__main__":
    main()
