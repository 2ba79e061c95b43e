"""CrossNet-Open-Unmix (X-UMX): four Open-Unmix branches connected by two averages.

The layers are those of the public recipes (Sawata et al., "All for One and One for All", ICASSP
2021). At the paper's size the network has 35,573,392 parameters.
"""

from typing import cast

import torch
from torch import Tensor, nn

from selfrefine.audio.spectrogram import magnitude, spectrogram
from selfrefine.classes import CLASSES
from selfrefine.models.grouped_loss import ALL, Kept, grouped_loss
from selfrefine.models.recurrent import LayeredLSTM, side_by_side
from selfrefine.models.wiener import wiener_waveforms
from selfrefine.settings import XUMX


class Branch(nn.Module):
    """The layers of one class."""

    def __init__(self, settings: XUMX, bins_in: int, bins_out: int) -> None:
        super().__init__()
        hidden = settings.hidden
        self.input_mean = nn.Parameter(torch.zeros(bins_in))
        self.input_scale = nn.Parameter(torch.ones(bins_in))
        self.encode = nn.Linear(bins_in * 2, hidden, bias=False)
        self.encode_norm = nn.BatchNorm1d(hidden)
        self.lstm = LayeredLSTM(hidden, hidden // 2, settings.lstm_layers, settings.dropout)
        self.decode = nn.Linear(hidden * 2, hidden, bias=False)
        self.decode_norm = nn.BatchNorm1d(hidden)
        self.mask = nn.Linear(hidden, bins_out * 2, bias=False)
        self.mask_norm = nn.BatchNorm1d(bins_out * 2)
        self.output_scale = nn.Parameter(torch.ones(bins_out))
        self.output_mean = nn.Parameter(torch.ones(bins_out))


class CrossNet(nn.Module):
    """Maps mixture magnitudes `(batch, frame, channel=2, bin)` to magnitudes of the sources
    `(batch, class=4, frame, channel=2, bin)`.

    The axes are in the order of a spectrogram in memory, so that no large tensor is transposed.
    `side_by_side` lets a GPU compute the branches' LSTMs at the same time.
    """

    def __init__(self, settings: XUMX, sample_rate: int) -> None:
        super().__init__()
        self.settings = settings
        self.side_by_side = True
        self.bins_out = settings.fft // 2 + 1
        # The bins below the bandwidth: 1487 of 2049 for 16 kHz, at 44.1 kHz with an FFT of 4096.
        bin_hz = sample_rate / settings.fft
        self.bins_in = min(int(settings.bandwidth_hz / bin_hz) + 1, self.bins_out)
        self.branches = nn.ModuleList(
            Branch(settings, self.bins_in, self.bins_out) for _ in CLASSES
        )

    def each_branch(self) -> list[Branch]:
        return cast(list[Branch], list(self.branches))

    def set_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Sets the initial input normalisation to the training mixtures' mean and deviation.

        Both are `(bin,)`, for the input bins.
        """
        with torch.no_grad():
            for branch in self.each_branch():
                branch.input_mean.copy_(-mean)
                branch.input_scale.copy_(1.0 / scale)

    def forward(self, mixture: Tensor) -> Tensor:
        return self.masked(self.hear(mixture), mixture)

    def hear(self, mixture: Tensor) -> Tensor:
        """Features `(batch, frame, feature)` of magnitudes, averaged over the branches."""
        branches = self.each_branch()
        inputs = mixture[..., : self.bins_in].flatten(2)
        encoded = self.encode(inputs)
        bridged = torch.stack(
            [
                torch.tanh(flat_norm(branch.encode_norm, part))
                for branch, part in zip(branches, encoded, strict=True)
            ]
        ).mean(dim=0)
        recurrent = torch.stack(self.recur(bridged)).mean(dim=0)
        return torch.cat([bridged, recurrent], dim=-1)

    def masked(self, heard: Tensor, mixture: Tensor) -> Tensor:
        """The mixture, as magnitudes or complex, times each source's mask.

        Shapes are as in the docstring of the class. In evaluation, any stretch of frames can be
        computed separately.
        """
        batch, frames, channels, bins = mixture.shape
        branches = self.each_branch()
        weights = torch.cat([branch.decode.weight for branch in branches])
        decoded = nn.functional.linear(heard, weights).chunk(len(CLASSES), dim=-1)
        sources = []
        for branch, part in zip(branches, decoded, strict=True):
            hidden = torch.relu(flat_norm(branch.decode_norm, part))
            mask = flat_norm(branch.mask_norm, branch.mask(hidden))
            mask = mask.reshape(batch, frames, channels, bins)
            mask = torch.addcmul(branch.output_mean, mask, branch.output_scale)
            sources.append(torch.relu(mask) * mixture)
        return torch.stack(sources, dim=1)

    def recur(self, bridged: Tensor) -> list[Tensor]:
        """Outputs of each branch's LSTM on `(batch, frame, feature)`."""
        lstms: list[nn.Module] = [branch.lstm for branch in self.each_branch()]
        if bridged.is_cuda and self.side_by_side:
            return side_by_side(lstms, bridged)
        return [lstm(bridged) for lstm in lstms]

    def encode(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs of each branch's normalisation and first layer on `(batch, frame, feature)`.

        W((x + mean) scale) = (W scale) x + W (scale mean). The normalisation is thus folded into
        the weights, so that the four branches are one matrix product without a copy of the input.
        """
        weights, offsets = [], []
        for branch in self.each_branch():
            folded = branch.encode.weight * branch.input_scale.repeat(2)
            weights.append(folded)
            offsets.append(folded @ branch.input_mean.repeat(2))
        encoded = nn.functional.linear(inputs, torch.cat(weights), torch.cat(offsets))
        return encoded.chunk(len(CLASSES), dim=-1)


def flat_norm(norm: nn.BatchNorm1d, values: Tensor) -> Tensor:
    """Batch normalisation of `(batch, frame, feature)` over batch and frames."""
    return norm(values.flatten(0, 1)).reshape(values.shape)


def xumx_loss(
    model: CrossNet, mixture: Tensor, targets: Tensor, groups: Tensor, kept: Kept = ALL
) -> Tensor:
    """Mean squared error on magnitudes per target, summed over targets (sections 3.2 and 4.2).

    Shapes are as in SeparationBatch. The estimate of a merged target is the sum of its classes'
    estimates. `kept` is that of `grouped_loss`.
    """
    fft, hop = model.settings.fft, model.settings.hop
    batch, count = targets.shape[:2]
    signals = torch.cat([mixture[:, None], targets], dim=1).flatten(0, 1)
    spectra = magnitude(signals, fft, hop, centred=True).permute(0, 3, 1, 2)
    spectra = spectra.reshape(batch, count + 1, *spectra.shape[1:])
    return grouped_loss(model(spectra[:, 0]), spectra[:, 1:], groups, torch.square, kept)


def separate_xumx(model: CrossNet, mixture: Tensor) -> Tensor:
    """Separates a mixture `(channel=2, sample)` into sources `(class=4, channel=2, sample)`.

    The recurrent layers and the Wiener filter see the whole signal, as in the public recipes. Masks
    are computed for one stretch of frames at a time. At the paper's size, ten minutes of audio at
    44.1 kHz take 3.6 GB of memory.
    """
    fft, hop = model.settings.fft, model.settings.hop
    spectrum = spectrogram(mixture[None], fft, hop, centred=True).permute(0, 3, 1, 2)
    heard = model.hear(spectrum.abs())

    def estimates(stretch: slice) -> Tensor:
        return model.masked(heard[:, stretch], spectrum[:, stretch])[0]

    iterations = model.settings.wiener_iterations
    return wiener_waveforms(estimates, spectrum[0], iterations, fft, hop, mixture.shape[-1])
