"""A training step of each separator against the plain use of the library it comes from.

    python -m benchmarks.training [--profile mini] [--steps 6]

X-UMX against four of Open-Unmix's own models, bridged layer by layer; Hybrid Demucs against
torchaudio's model in float32 with an optimiser that is not fused. Both start from the same weights
and see the same batch. Prints processor time per step, the ratio and both losses of the first step.
"""

import argparse
from typing import Any

import torch
from openunmix.model import OpenUnmix
from torch import Tensor, nn
from torchaudio.models import HDemucs as TorchaudioHDemucs

from benchmarks.clock import least_seconds
from selfrefine.classes import CLASSES
from selfrefine.models.separator import build_separator, separation_loss
from selfrefine.models.xumx import CrossNet
from selfrefine.scales import SCALES, scale_named
from selfrefine.settings import XUMX, HDemucs, Separator
from selfrefine.training.device import autocast, prepare, training_device


class PlainCrossNet(nn.Module):
    """Open-Unmix's layers four times, the two averages between them: X-UMX as one would write it
    first. Magnitudes `(batch, channel, bin, frame)` to `(batch, class, channel, bin, frame)`."""

    def __init__(self, ours: CrossNet) -> None:
        super().__init__()
        settings = ours.settings
        self.branches = nn.ModuleList(
            OpenUnmix(
                nb_bins=ours.bins_out,
                hidden_size=settings.hidden,
                nb_layers=settings.lstm_layers,
                max_bin=ours.bins_in,
            )
            for _ in CLASSES
        )
        self.each: list[Any] = list(self.branches)
        names = {
            "fc1": "encode", "bn1": "encode_norm", "fc2": "decode", "bn2": "decode_norm",
            "fc3": "mask", "bn3": "mask_norm", "lstm": "lstm",
        }  # fmt: skip
        for plain, branch in zip(self.each, ours.each_branch(), strict=True):
            for theirs, own in names.items():
                getattr(plain, theirs).load_state_dict(getattr(branch, own).state_dict())
            for name in ("input_mean", "input_scale", "output_mean", "output_scale"):
                getattr(plain, name).data.copy_(getattr(branch, name).data)
            plain.lstm.dropout = settings.dropout

    def forward(self, mixture: Tensor) -> Tensor:
        x = mixture.permute(3, 0, 1, 2)
        frames, batch, channels, _ = x.shape
        encoded = []
        for b in self.each:
            y = (x[..., : b.nb_bins] + b.input_mean) * b.input_scale
            y = b.bn1(b.fc1(y.reshape(-1, channels * b.nb_bins)))
            encoded.append(torch.tanh(y.reshape(frames, batch, -1)))
        bridged = torch.stack(encoded).mean(dim=0)
        recurrent = torch.stack([b.lstm(bridged)[0] for b in self.each]).mean(dim=0)
        joined = torch.cat([bridged, recurrent], dim=-1).flatten(0, 1)
        sources = []
        for b in self.each:
            y = torch.relu(b.bn2(b.fc2(joined)))
            y = b.bn3(b.fc3(y)).reshape(frames, batch, channels, b.nb_output_bins)
            sources.append(torch.relu(y * b.output_scale + b.output_mean) * x)
        return torch.stack(sources, dim=1).permute(2, 1, 3, 4, 0)


def plain_xumx_loss(
    model: nn.Module, settings: Separator, mixture: Tensor, targets: Tensor
) -> Tensor:
    """Mean squared error on magnitudes, summed over the four sources."""
    network = settings.network
    assert isinstance(network, XUMX)
    window = torch.hann_window(network.fft, device=mixture.device)

    def spectra(audio: Tensor) -> Tensor:
        flat = audio.reshape(-1, audio.shape[-1])
        fft, hop = network.fft, network.hop
        frames = torch.stft(flat, fft, hop, window=window, return_complex=True)
        return frames.abs().reshape(*audio.shape[:-1], *frames.shape[1:])

    estimates = model(spectra(mixture))
    return (estimates - spectra(targets)).square().mean(dim=(0, 2, 3, 4)).sum()


def plain_hdemucs_loss(
    model: nn.Module, settings: Separator, mixture: Tensor, targets: Tensor
) -> Tensor:
    """Mean absolute error in time, summed over the four sources."""
    return (model(mixture) - targets).abs().mean(dim=(0, 2, 3)).sum()


def plain_hdemucs(settings: Separator) -> nn.Module:
    network = settings.network
    assert isinstance(network, HDemucs)
    sizes = {"channels": network.channels, "nfft": network.fft, "depth": network.depth}
    return TorchaudioHDemucs(list(CLASSES), **sizes)


def compare(name: str, settings: Separator, steps: int) -> str:
    """A line of the table."""
    device = training_device()
    torch.manual_seed(0)
    model = build_separator(settings).to(device).train()
    if isinstance(model, CrossNet):
        plain: nn.Module = PlainCrossNet(model).to(device).train()
        plain_loss = plain_xumx_loss
    else:
        plain, plain_loss = plain_hdemucs(settings).to(device).train(), plain_hdemucs_loss
        plain.load_state_dict(model.state_dict())
    shape = (settings.batch, len(CLASSES), 2, settings.segment)
    targets = 0.05 * torch.randn(shape, device=device)
    mixture = targets.sum(dim=1)
    groups = torch.eye(len(CLASSES)).repeat(settings.batch, 1, 1)
    fused = torch.optim.AdamW(model.parameters(), fused=True)
    unfused = torch.optim.AdamW(plain.parameters(), foreach=False)

    def ours() -> float:
        prepare(device)
        with autocast(device):
            loss = separation_loss(model, mixture, targets, groups)
        return stepped(loss, fused)

    def theirs() -> float:
        torch.set_float32_matmul_precision("highest")
        return stepped(plain_loss(plain, settings, mixture, targets), unfused)

    first = [ours(), theirs()]
    fast, slow = (1000 * least for least in least_seconds([ours, theirs], steps, device))
    times_of = f"{fast:.0f} | {slow:.0f} | {slow / fast:.2f}"
    return f"| {name} | {times_of} | {first[0]:.4f} | {first[1]:.4f} |"


def stepped(loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    """Takes the optimiser's step and returns the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps against their plain forms.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    scale = scale_named(args.profile)
    torch.set_num_threads(1)
    print(
        "| network | ours, ms | plain, ms | ratio | our first loss | plain |\n" + "|---" * 6 + "|"
    )
    print(compare("X-UMX", scale.xumx, args.steps), flush=True)
    print(compare("Hybrid Demucs", scale.hdemucs, args.steps), flush=True)


if __name__ == "__main__":
    main()
