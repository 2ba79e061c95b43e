"""Multichannel Wiener filtering of a whole track, stretch by stretch.

This is the filter of the public X-UMX and Open-Unmix recipes. Each source is Gaussian noise. Its
power is free in every frame and bin; its covariance between the channels is constant over the track
in each bin. Both are fitted by expectation-maximisation in the simplified form of norbert and
openunmix (Nugraha, Liutkus and Vincent, "Multichannel audio source separation with deep neural
networks", TASLP 2016).

The covariances are summed stretch by stretch, and each stretch is filtered separately. The result
does not depend on the stretches: it is that of the whole track at once. Memory holds for the whole
track only the mixture, one power per source, frame and bin, and the waveforms.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from selfrefine.audio.spectrogram import waveform
from selfrefine.classes import CLASSES

FRAMES_AT_ONCE = 64
"""Frames of a stretch. At the paper's FFT the computation for one takes about 100 MB."""

EPSILON = 1e-10
"""The regularisation of openunmix, for a loudest bin with an amplitude of 10 or less. For a louder
one it is multiplied by (amplitude / 10) squared."""

Estimates = Callable[[slice], Tensor]
"""Maps a stretch of frames to the sources' complex spectra `(class, frame, channel=2, bin)`."""


@dataclass(frozen=True)
class Gaussians:
    """The Gaussian model of the sources.

    `power` `(class, frame, bin)` is the mean over channels. It multiplies the covariance
    `[[left, real + imag j], [real - imag j, right]]`, each entry `(class, 1, bin)`. `noise` is the
    power of additional white noise, which keeps the mixture's covariance invertible.
    """

    power: Tensor
    left: Tensor
    right: Tensor
    real: Tensor
    imag: Tensor
    noise: float


def wiener_waveforms(
    estimates: Estimates, mixture: Tensor, iterations: int, fft: int, hop: int, length: int
) -> Tensor:
    """Filters the mixture into sources `(class, channel=2, sample)` of `length` samples.

    `mixture` is complex `(frame, channel=2, bin)`, of a centred spectrogram with a window of `fft`
    and a hop of `hop` samples. `estimates` gives the sources at the start of the first iteration;
    with 0 `iterations` they are the result.
    """
    for _ in range(iterations):
        estimates = wiener_step(estimates, mixture)
    frames = len(mixture)
    # This many frames on each side of a stretch overlap its samples.
    margin = fft // (2 * hop) + 1
    sources = mixture.real.new_empty(len(CLASSES), 2, length)
    for stretch in stretches(frames):
        first = max(0, stretch.start - margin)
        around = estimates(slice(first, min(frames, stretch.stop + margin)))
        end = length if stretch.stop == frames else stretch.stop * hop
        spectra = around.permute(0, 2, 3, 1)
        audio = waveform(spectra, fft, hop, end - first * hop)
        sources[..., stretch.start * hop : end] = audio[..., (stretch.start - first) * hop :]
    return sources


def wiener_step(estimates: Estimates, mixture: Tensor) -> Estimates:
    """One iteration: fits Gaussians to the estimates, and filters the mixture by them.

    `mixture` is complex `(frame, channel=2, bin)`.
    """
    gaussians = fitted_gaussians(estimates, mixture)
    return lambda stretch: filtered(gaussians, mixture, stretch)


def fitted_gaussians(estimates: Estimates, mixture: Tensor) -> Gaussians:
    frames, _, bins = mixture.shape
    loudest = max(1.0, float(mixture.abs().max()) / 10) ** 2
    power = mixture.real.new_empty(len(CLASSES), frames, bins)
    # These need float64: a source that is nearly mono has a nearly singular covariance.
    left, right, real, imag = power.new_zeros(4, len(CLASSES), 1, bins, dtype=torch.float64)
    for stretch in stretches(frames):
        (a, b), (c, d) = (planes(side) for side in estimates(stretch).unbind(2))
        of_left, of_right = a * a + b * b, c * c + d * d
        power[:, stretch] = (of_left + of_right) / 2
        left += of_left.sum(dim=1, keepdim=True)
        right += of_right.sum(dim=1, keepdim=True)
        real += (a * c + b * d).sum(dim=1, keepdim=True)
        imag += (b * c - a * d).sum(dim=1, keepdim=True)
    weight = (left + right) / 2 + EPSILON * loudest
    noise = EPSILON**0.5 * loudest
    return Gaussians(power, left / weight, right / weight, real / weight, imag / weight, noise)


def planes(values: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part in float64, whose products take half the time of complex ones."""
    return values.real.double(), values.imag.double()


def filtered(gaussians: Gaussians, mixture: Tensor, stretch: slice) -> Tensor:
    """Expected value of the sources given the mixture: complex `(class, frame, channel=2, bin)`.

    It is power * covariance * (the mixture's covariance)^-1 * mixture.
    """
    power = gaussians.power[:, stretch].double()
    left, right, real, imag = gaussians.left, gaussians.right, gaussians.real, gaussians.imag
    p, q, r, i = ((power * part).sum(dim=0) for part in (left, right, real, imag))
    p, q = p + gaussians.noise, q + gaussians.noise
    scale = 1 / (p * q - r * r - i * i)
    (a, b), (c, d) = (planes(side) for side in mixture[stretch].unbind(1))
    # The inverse [[q, -(r + i j)], [-(r - i j), p]] times the mixture.
    a, b, c, d = (
        (q * a - r * c + i * d) * scale,
        (q * b - r * d - i * c) * scale,
        (p * c - r * a - i * b) * scale,
        (p * d - r * b + i * a) * scale,
    )
    sources = torch.empty(
        *power.shape[:2], 2, power.shape[2], dtype=mixture.dtype, device=power.device
    )
    sources.real[:, :, 0] = power * (left * a + real * c - imag * d)
    sources.imag[:, :, 0] = power * (left * b + real * d + imag * c)
    sources.real[:, :, 1] = power * (right * c + real * a + imag * b)
    sources.imag[:, :, 1] = power * (right * d + real * b - imag * a)
    return sources


def stretches(frames: int) -> Iterator[slice]:
    for start in range(0, frames, FRAMES_AT_ONCE):
        yield slice(start, min(frames, start + FRAMES_AT_ONCE))
