"""Plain forms of the networks, written directly with the libraries that they come from.

Each starts with the weights of our network, so that its first loss equals ours.
"""

import copy
from typing import Any

import torch
from openunmix.model import OpenUnmix
from timm.models.convnext import convnext_tiny
from torch import Tensor, nn
from torchaudio.models import HDemucs as TorchaudioHDemucs

from selfrefine.classes import CLASSES
from selfrefine.models.classifier import InstrumentClassifier
from selfrefine.models.xumx import CrossNet
from selfrefine.settings import XUMX, ConvNeXt, HDemucs, SeparatorSettings


class PlainClassifier(nn.Module):
    """timm's ConvNeXt in torch's usual memory format. Maps magnitudes
    `(batch, channel=2, bin, frame)` to logits `(batch, class=4)`.

    At the paper's size it is `timm.create_model("convnext_tiny", in_chans=2, num_classes=4)`.
    `create_model` does not pass on arguments that are None, so the function that it calls is used.
    """

    def __init__(self, ours: InstrumentClassifier, network: ConvNeXt) -> None:
        super().__init__()
        self.trunk = convnext_tiny(
            pretrained=False,
            in_chans=2,
            num_classes=0 if network.frequency_kept else len(CLASSES),
            depths=network.depths,
            dims=network.widths,
            kernel_sizes=network.kernel,
            stem_type="overlap_act" if network.overlapping_stem else "patch",
            ls_init_value=network.layer_scale,
            conv_mlp=network.batch_norm,
            norm_layer=nn.BatchNorm2d if network.batch_norm else None,
        )
        self.trunk.load_state_dict(ours.trunk.state_dict())
        self.frequency_kept = network.frequency_kept
        self.head = copy.deepcopy(ours.head)

    def forward(self, magnitudes: Tensor) -> Tensor:
        if not self.frequency_kept:
            return self.trunk(magnitudes)
        return self.head(self.trunk.forward_features(magnitudes).mean(dim=3).flatten(1))


def plain_classifier_loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error of the sigmoid outputs."""
    return (torch.sigmoid(model(inputs)) - labels).abs().mean()


class PlainCrossNet(nn.Module):
    """X-UMX in its plain form: Open-Unmix's layers four times, with the two averages between them.
    Maps magnitudes `(batch, channel, bin, frame)` to `(batch, class, channel, bin, frame)`."""

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
    model: nn.Module, settings: SeparatorSettings, mixture: Tensor, targets: Tensor
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


def plain_hdemucs(ours: nn.Module, settings: SeparatorSettings) -> nn.Module:
    network = settings.network
    assert isinstance(network, HDemucs)
    sizes = {"channels": network.channels, "nfft": network.fft, "depth": network.depth}
    plain = TorchaudioHDemucs(list(CLASSES), **sizes)
    plain.load_state_dict(ours.state_dict())
    return plain


def plain_hdemucs_loss(model: nn.Module, mixture: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of the waveforms, summed over the four sources."""
    return (model(mixture) - targets).abs().mean(dim=(0, 2, 3)).sum()
