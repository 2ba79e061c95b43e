"""Compares two ways of inference in refining: one spectrogram per stem that is cut into windows,
and one spectrogram per window.

    python -m benchmarks.refining [--profile mini]

Prints the seconds for one stem of 60 s, their ratio, the hours of audio per minute, the extra cost
over the network's forward passes alone (aim: at most 10%), and the largest difference of the
probabilities (aim: 1e-5). On a GPU matrix products are in TF32, as in refining; the probabilities
then differ by 1e-3 or less.
"""

import argparse

import torch
from torch import Tensor, nn

from benchmarks.clock import least_seconds
from selfrefine.models.classifier import build_classifier, magnitudes, probabilities
from selfrefine.refining.probabilities import WINDOWS_AT_ONCE, window_probabilities
from selfrefine.scales import SCALES, scale_named
from selfrefine.training.device import prepare, training_device

SECONDS = 60
ROUNDS = 5
WINDOWS_PER_SEGMENT = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Refining, sliced against window by window.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    settings = scale_named(parser.parse_args().profile).classifier
    device = training_device()
    torch.set_num_threads(1)
    if device.type == "cuda":
        prepare(device)
    torch.manual_seed(0)
    model = decided(build_classifier(settings)).to(device).eval()
    audio = noise(SECONDS * settings.sample_rate).to(device)
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
        outputs = sliced()
        difference = float((outputs - one_by_one()).abs().max())
        network_alone()  # The first call chooses algorithms; the other two ways have run already.
        ours, theirs, network = least_seconds([sliced, one_by_one, network_alone], ROUNDS, device)
    columns = (
        "windows", "sliced, s", "window by window, s", "ratio", "hours a minute",
        "network alone, s", "over it",
    )  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    print(
        f"| {len(starts)} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} "
        f"| {SECONDS / 60 / ours:.1f} | {network:.3f} | {ours / network - 1:.1%} |\n"
    )
    print(
        f"probabilities from {float(outputs.min()):.2f} to {float(outputs.max()):.2f}; largest "
        f"difference of one: {difference:.0e}"
    )


def noise(samples: int) -> Tensor:
    """Stereo noise `(2, sample)` whose level and colour change, so that windows differ."""
    time = torch.linspace(0, 40, samples)
    white = 0.1 * torch.randn(2, samples) * time.sin().abs()
    return white + (0.3 * time.cos()).clamp(min=0) * torch.roll(white, 1, dims=1)


def decided(model: nn.Module) -> nn.Module:
    """Enlarges the weights of an untrained network, whose outputs would be almost the same for all
    inputs."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model


if __name__ == "__main__":
    main()
