"""Refining inference: one transform a stem and slices of it, against a transform a window.

    python -m benchmarks.refining [--profile mini]

Prints seconds for one 60 s stem, the ratio, the cost over the network's own forward passes (aim:
at most 10%), and how far the probabilities differ (aim: 1e-5).
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from selfrefine.models.classifier import build_classifier, magnitudes, probabilities
from selfrefine.refine import WINDOWS_AT_ONCE, window_probabilities
from selfrefine.scales import SCALES, scale_named

SECONDS = 60
ROUNDS = 5
WINDOWS_PER_SEGMENT = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Refining, sliced against window by window.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    settings = scale_named(parser.parse_args().profile).classifier
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_classifier(settings).eval()
    audio = 0.1 * torch.randn(2, SECONDS * settings.sample_rate)
    hop = settings.segment // WINDOWS_PER_SEGMENT
    starts = range(0, audio.shape[1] - settings.segment + 1, hop)
    windows = [audio[None, :, s : s + settings.segment] for s in starts]

    def sliced() -> Tensor:
        return window_probabilities(model, audio, settings, WINDOWS_PER_SEGMENT)

    def one_by_one() -> Tensor:
        return torch.cat([probabilities(model, magnitudes(w, settings)) for w in windows])

    inputs = torch.cat([magnitudes(w, settings) for w in windows])

    def network_alone() -> Tensor:
        return torch.cat([probabilities(model, part) for part in inputs.split(WINDOWS_AT_ONCE)])

    with torch.inference_mode():
        difference = float((sliced() - one_by_one()).abs().max())
        ours, theirs, network = least_seconds([sliced, one_by_one, network_alone])
    print("| windows | sliced, s | window by window, s | ratio | network alone, s | over it |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {len(starts)} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} | {network:.3f} "
        f"| {ours / network - 1:.1%} |"
    )
    print(f"largest difference of a probability: {difference:.0e}")


def least_seconds(works: list[Callable[[], Tensor]]) -> list[float]:
    """Of each, the least processor time over rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
    return [min(taken) for taken in times]


if __name__ == "__main__":
    main()
