"""Hybrid Demucs (Demucs v3): torchaudio's model with a faster inverse STFT."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.models import HDemucs as TorchaudioHDemucs

from selfrefine.audio.spectrogram import hann_window
from selfrefine.classes import CLASSES
from selfrefine.models.grouped_loss import ALL, Kept, grouped_loss
from selfrefine.models.recurrent import keep_lstms_in_float32
from selfrefine.settings import HDemucs


class HybridDemucs(TorchaudioHDemucs):
    """torchaudio's model, with the same weights."""

    def __init__(self, settings: HDemucs) -> None:
        super().__init__(
            sources=list(CLASSES),
            audio_channels=2,
            channels=settings.channels,
            nfft=settings.fft,
            depth=settings.depth,
        )
        keep_lstms_in_float32(self)

    def _spec(self, x: Tensor) -> Tensor:
        """torchaudio's spectrogram: complex `(batch, channel, bin, frame)` without the highest bin.

        Unlike torchaudio's, the window is not made on the CPU and copied at each call.
        """
        hop = self.hop_length
        frames = math.ceil(x.shape[-1] / hop)
        before = hop // 2 * 3
        after = before + frames * hop - x.shape[-1]
        padded = self._pad1d(x, before, after, mode="reflect").flatten(0, 1)
        window = hann_window(self.nfft, x.device, x.dtype)
        spectra = torch.stft(
            padded, self.nfft, hop, window=window, normalized=True, return_complex=True
        )
        return spectra[:, :-1, 2 : 2 + frames].unflatten(0, x.shape[:2])

    def _mask(self, m: Tensor) -> Tensor:
        """Returns `m` unchanged: `InverseSpectrum` takes real and imaginary parts as channels."""
        return m

    def _ispec(self, z: Tensor, length: int | None = None) -> Tensor:
        return InverseSpectrum.apply(z, length)


class InverseSpectrum(torch.autograd.Function):
    """Inverse STFT with a Hann window of four hops.

    It maps `(batch, source, 2 * channel, bin, frame)` to `(batch, source, channel, length)`. In the
    input, real and imaginary parts alternate and the highest bin is missing. Frame 0 is centred
    half a hop after the signal's start, and there are as many frames as hops, as in torchaudio's
    model.

    The forward and the backward pass go through the data once each. They transform a limited number
    of signals at once, and make no padded, complex or transposed copies of these tensors, which are
    the model's largest.
    """

    OVERLAP = 4
    ENVELOPE = 1.5
    """The sum of the squared windows over one sample."""
    BYTES = 2**28
    """Bytes of the frames that are transformed at once. Memory holds two or three copies."""

    @staticmethod
    def forward(context: Any, spectrum: Tensor, length: int) -> Tensor:
        context.shape, context.length = spectrum.shape, length
        batch, sources, _, bins, frames = spectrum.shape
        parts = spectrum.reshape(-1, 2, bins, frames)
        audio = parts.new_empty(len(parts), length)
        for some in signals_at_once(len(parts), 4 * 2 * bins * frames):
            audio[some] = overlap_add(parts[some], length)
        return audio.reshape(batch, sources, -1, length)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        bins, frames = context.shape[-2:]
        hop = 2 * bins // InverseSpectrum.OVERLAP
        first = hop // 2 * 3
        last = (frames + InverseSpectrum.OVERLAP - 1) * hop - first - context.length
        gradient = gradient.reshape(-1, context.length)
        found = gradient.new_empty(len(gradient), 2, bins, frames)
        # Every bin except the lowest also stands for its negative frequency.
        window = hann_window(2 * bins, gradient.device, gradient.dtype)
        window = window * (2 / InverseSpectrum.ENVELOPE)
        for some in signals_at_once(len(gradient), 4 * 2 * bins * frames):
            padded = nn.functional.pad(gradient[some], (first, last))
            pieces = padded.unfold(1, 2 * bins, hop) * window
            spectrum = torch.view_as_real(torch.fft.rfft(pieces, norm="ortho"))[:, :, :bins]
            found[some] = spectrum.permute(0, 3, 2, 1)
        found[:, 0, 0] *= 0.5
        found[:, 1, 0] = 0.0
        return found.view(context.shape), None


def signals_at_once(count: int, bytes_each: int) -> list[slice]:
    """Slices of `count` signals, with at most `InverseSpectrum.BYTES` or one signal in each."""
    step = max(1, InverseSpectrum.BYTES // bytes_each)
    return [slice(first, first + step) for first in range(0, count, step)]


def overlap_add(parts: Tensor, length: int) -> Tensor:
    """Inverse STFT of real and imaginary parts `(signal, 2, bin, frame)` to `(signal, length)`."""
    signals, _, bins, frames = parts.shape
    overlap = InverseSpectrum.OVERLAP
    hop = 2 * bins // overlap
    full = parts.new_empty(signals, frames, bins + 1, 2)
    full[:, :, :bins] = parts.permute(0, 3, 2, 1)
    full[:, :, bins:] = 0.0
    waves = torch.fft.irfft(torch.view_as_complex(full), n=2 * bins, norm="ortho")
    waves *= hann_window(2 * bins, waves.device, waves.dtype) / InverseSpectrum.ENVELOPE
    pieces = waves.reshape(signals, frames, overlap, hop)
    audio = waves.new_zeros(signals, frames + overlap - 1, hop)
    for k in range(overlap):
        audio[:, k : k + frames] += pieces[:, :, k]
    first = hop // 2 * 3
    return audio.flatten(1)[:, first : first + length]


def build_hdemucs(settings: HDemucs) -> nn.Module:
    """A new network, from `(batch, channel=2, sample)` to `(batch, class=4, channel=2, sample)`.

    The two branches stay aligned only for an FFT of 256, 1024 or 4096 samples.
    """
    return HybridDemucs(settings)


def hdemucs_loss(
    model: nn.Module, mixture: Tensor, targets: Tensor, groups: Tensor, kept: Kept = ALL
) -> Tensor:
    """Mean absolute error in the time domain per target, summed over targets (section 4.2).

    Shapes are as in SeparationBatch. `kept` is that of `grouped_loss`.
    """
    return grouped_loss(model(mixture), targets, groups, torch.abs, kept)


def separate_hdemucs(model: nn.Module, mixture: Tensor, segment: int, overlap: float) -> Tensor:
    """Separates a mixture `(channel=2, sample)` into sources `(class=4, channel=2, sample)`.

    The segments have `segment` samples, overlap by the share `overlap`, and are cross-faded with
    triangular weights.
    """
    length = mixture.shape[-1]
    hop = max(1, round(segment * (1 - overlap)))
    half = torch.arange(1, segment // 2 + 1, device=mixture.device, dtype=mixture.dtype)
    weight = (
        torch.cat([half, half.flip(0)])
        if segment % 2 == 0
        else torch.cat([half, half[-1:] + 1, half.flip(0)])
    )
    sources = mixture.new_zeros(len(CLASSES), 2, length)
    weights = mixture.new_zeros(length)
    for start in range(0, max(1, length - segment + hop), hop):
        chunk = mixture[:, start : start + segment]
        taken = chunk.shape[-1]
        padded = nn.functional.pad(chunk, (0, segment - taken))
        estimate = model(padded[None])[0, ..., :taken]
        sources[..., start : start + taken] += estimate * weight[:taken]
        weights[start : start + taken] += weight[:taken]
    return sources / weights
