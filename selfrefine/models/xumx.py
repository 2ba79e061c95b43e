"""CrossNet-Open-Unmix (X-UMX): four Open-Unmix branches bridged by two averages.

Layer for layer as the public recipes have it (Sawata et al., "All for One and One for All",
ICASSP 2021). At the paper's size 35,573,392 parameters.
"""

import torch
from openunmix.filtering import wiener
from torch import Tensor, nn

from selfrefine.audio.spectrogram import magnitude, spectrogram, waveform
from selfrefine.classes import CLASSES
from selfrefine.models.grouped_loss import grouped_loss
from selfrefine.settings import XUMX

WIENER_FRAMES = 300
"""Frames a Wiener filter sees at once, as in Open-Unmix: its covariances are local in time, and
memory stays bounded."""


class Branch(nn.Module):
    """The layers that one class has to itself."""

    def __init__(self, settings: XUMX, bins_in: int, bins_out: int) -> None:
        super().__init__()
        hidden = settings.hidden
        self.input_mean = nn.Parameter(torch.zeros(bins_in))
        self.input_scale = nn.Parameter(torch.ones(bins_in))
        self.encode = nn.Linear(bins_in * 2, hidden, bias=False)
        self.encode_norm = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden,
            hidden // 2,
            num_layers=settings.lstm_layers,
            bidirectional=True,
            dropout=settings.dropout if settings.lstm_layers > 1 else 0.0,
        )
        self.decode = nn.Linear(hidden * 2, hidden, bias=False)
        self.decode_norm = nn.BatchNorm1d(hidden)
        self.mask = nn.Linear(hidden, bins_out * 2, bias=False)
        self.mask_norm = nn.BatchNorm1d(bins_out * 2)
        self.output_scale = nn.Parameter(torch.ones(bins_out))
        self.output_mean = nn.Parameter(torch.ones(bins_out))


class CrossNet(nn.Module):
    """Mixture magnitudes `(batch, channel=2, bin, frame)` to those of the sources,
    `(batch, class=4, channel=2, bin, frame)`."""

    def __init__(self, settings: XUMX, sample_rate: int) -> None:
        super().__init__()
        self.settings = settings
        self.bins_out = settings.fft // 2 + 1
        # The bins below the bandwidth; at 16 kHz and 44.1 kHz with an FFT of 4096, 1487 of 2049.
        bin_hz = sample_rate / settings.fft
        self.bins_in = min(int(settings.bandwidth_hz / bin_hz) + 1, self.bins_out)
        self.branches = nn.ModuleList(
            Branch(settings, self.bins_in, self.bins_out) for _ in CLASSES
        )

    def set_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Starts the input normalisation from the training mixtures' mean and deviation.

        Both are `(bin,)` of the input bins.
        """
        with torch.no_grad():
            for branch in self.branches:
                branch.input_mean.copy_(-mean)
                branch.input_scale.copy_(1.0 / scale)

    def forward(self, mixture: Tensor) -> Tensor:
        batch, channels, bins, frames = mixture.shape
        inputs = mixture.permute(3, 0, 1, 2)[..., : self.bins_in]
        encoded = [
            torch.tanh(
                flat_norm(
                    branch.encode_norm,
                    branch.encode(
                        ((inputs + branch.input_mean) * branch.input_scale).flatten(2)
                    ),
                )
            )
            for branch in self.branches
        ]
        bridged = torch.stack(encoded).mean(dim=0)
        recurrent = torch.stack([branch.lstm(bridged)[0] for branch in self.branches]).mean(dim=0)
        joined = torch.cat([bridged, recurrent], dim=-1)
        masks = []
        for branch in self.branches:
            hidden = torch.relu(flat_norm(branch.decode_norm, branch.decode(joined)))
            mask = flat_norm(branch.mask_norm, branch.mask(hidden))
            mask = mask.reshape(frames, batch, channels, bins)
            masks.append(torch.relu(mask * branch.output_scale + branch.output_mean))
        return torch.stack(masks).permute(2, 0, 3, 4, 1) * mixture[:, None]


def flat_norm(norm: nn.BatchNorm1d, values: Tensor) -> Tensor:
    """Batch normalisation of `(frame, batch, feature)` over frames and batch."""
    return norm(values.flatten(0, 1)).reshape(values.shape)


def xumx_loss(model: CrossNet, mixture: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
    """Mean squared error on magnitudes per target, summed over targets (sections 3.2 and 4.2).

    Shapes as in SeparationBatch. The estimate of a merged target is the sum of its classes'
    estimates.
    """
    fft, hop = model.settings.fft, model.settings.hop
    batch, count = targets.shape[:2]
    signals = torch.cat([mixture[:, None], targets], dim=1).flatten(0, 1)
    spectra = magnitude(signals, fft, hop, centred=True)
    spectra = spectra.reshape(batch, count + 1, *spectra.shape[1:])
    estimates = model(spectra[:, 0].contiguous())
    return grouped_loss(estimates, spectra[:, 1:], groups, torch.square)


def separate_xumx(model: CrossNet, mixture: Tensor) -> Tensor:
    """Sources `(class=4, channel=2, sample)` of `(channel=2, sample)`, by Wiener filtering.

    The network sees the whole signal; the filter works on stretches of WIENER_FRAMES.
    """
    fft, hop = model.settings.fft, model.settings.hop
    spectrum = spectrogram(mixture[None], fft, hop, centred=True)
    magnitudes = model(spectrum.abs())[0]
    if model.settings.wiener_iterations == 0:
        sources = magnitudes * torch.polar(torch.ones_like(spectrum.abs()), spectrum.angle())[0]
    else:
        sources = wiener_sources(magnitudes, spectrum[0], model.settings.wiener_iterations)
    return waveform(sources, fft, hop, mixture.shape[-1])


def wiener_sources(magnitudes: Tensor, mixture: Tensor, iterations: int) -> Tensor:
    """Complex `(class, channel, bin, frame)` from magnitudes of that shape and the mixture's
    complex `(channel, bin, frame)`."""
    sources = []
    for start in range(0, mixture.shape[-1], WIENER_FRAMES):
        stretch = slice(start, start + WIENER_FRAMES)
        filtered = wiener(
            magnitudes[..., stretch].permute(3, 2, 1, 0),
            torch.view_as_real(mixture[..., stretch]).permute(2, 1, 0, 3),
            iterations=iterations,
        )
        sources.append(torch.view_as_complex(filtered.permute(4, 2, 1, 0, 3).contiguous()))
    return torch.cat(sources, dim=-1)
