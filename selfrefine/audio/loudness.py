"""Integrated loudness of a batch (ITU-R BS.1770-4), fast enough for every training step.

K-weighting, mean squares in blocks of 400 ms that overlap by 75%, and the two gates of -70 LUFS
and -10 LU. Where the standard leaves room pyloudnorm's choices are kept: its filter coefficients
at each sample rate, and its count of blocks, which is rounded, so that the last block may run past
the end of the audio by up to 50 ms.

A block is four hops of 100 ms, so the energies of the filtered hops are all that is needed. Each
comes from one transform of the hop, by Parseval, with no filtered signal: that gives the energy
of the *circular* filter output, in which what rings on after the hop wraps around to its start.
The filters have four poles, so the ring lies in a space of four dimensions, and is gone after
another hop (the 38 Hz high-pass has a time constant of 4 ms). Four inner products with a hop give
its ring in an orthonormal basis, four more what its response within the hop shares with the
basis: with those the wrapped ring is taken out exactly, and that of the hop before put in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin, sqrt

import numpy as np
import torch

from selfrefine.errors import InputError
from selfrefine.threads import one_thread

_BLOCK_HOPS = 4
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU
_CHANNEL_GAINS = (1.0, 1.0, 1.0, 1.41, 1.41)  # left, right, centre, left and right surround
_POLES = 4


@dataclass(frozen=True)
class _KWeighting:
    """What measures a hop: all tensors on one device, of one type. Made once for a device, where
    making it would wait for all its work."""

    bin_power: torch.Tensor  # (2 * bin,): |response|^2 by which |re|^2 and |im|^2 make an energy
    inner: torch.Tensor  # (2 * pole, sample): a hop's ring, then its response, in the basis
    response: torch.Tensor  # (bin,): complex response over two hops
    channel_gains: torch.Tensor  # (channel=5,)


@torch.no_grad()
@one_thread()
def integrated_loudness(audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Gated loudness in LUFS of each item: `(batch, channel, sample)` to `(batch,)`.

    -inf where every block is gated, as in silence; NaN where the audio has NaN. Channels are in
    the standard's order: left, right, centre, left and right surround. Float64 is computed in
    float64, all else in float32.
    Raises InputError for audio shorter than a block of 400 ms, which has no loudness, for more
    than five channels, and for a sample rate that is no multiple of 10 Hz.
    """
    if audio.ndim != 3 or not 1 <= audio.shape[1] <= len(_CHANNEL_GAINS):
        raise InputError(
            "loudness is of (batch, channel, sample) with one to five channels, "
            f"not {tuple(audio.shape)}"
        )
    if sample_rate < 10 or sample_rate % 10:
        raise InputError(f"loudness needs a sample rate that is a multiple of 10 Hz: {sample_rate}")
    hop = sample_rate // 10
    length = audio.shape[-1]
    if length < _BLOCK_HOPS * hop:
        raise InputError(f"audio of {length / sample_rate:.3f} s has no loudness: 0.4 s at least")
    audio = audio.to(torch.float64 if audio.dtype == torch.float64 else torch.float32)
    weighting = _k_weighting(sample_rate, audio.dtype, audio.device)
    gains = weighting.channel_gains[: audio.shape[1]]
    # One item at a time fits into a core's cache, all at once into a GPU.
    pieces = audio.split(1) if audio.device.type == "cpu" else [audio]
    energies = torch.cat([gains @ _hop_energies(piece, hop, weighting) for piece in pieces])

    return _gated_loudness(energies, length, sample_rate)


@torch.no_grad()
@one_thread()
def stream_loudness(stretches: Iterable[torch.Tensor], sample_rate: int) -> float:
    """The integrated loudness in LUFS of audio that comes in stretches `(channel, sample)`, each
    but the last of whole hops of 100 ms: a file of any length in little memory."""
    hop = sample_rate // 10
    found: list[torch.Tensor] = []
    before: torch.Tensor | None = None
    length = 0
    for stretch in stretches:
        length += stretch.shape[-1]
        # The hop before is all the past that matters.
        audio = stretch if before is None else torch.cat([before, stretch], -1)
        weighting = _k_weighting(sample_rate, audio.dtype, audio.device)
        gains = weighting.channel_gains[: audio.shape[0]]
        energies = gains @ _hop_energies(audio[None], hop, weighting)
        found.append(energies if before is None else energies[:, 1:])
        before = stretch[:, -hop:]
    if length < _BLOCK_HOPS * hop:
        raise InputError(f"audio of {length / sample_rate:.3f} s has no loudness: 0.4 s at least")
    return float(_gated_loudness(torch.cat(found, 1), length, sample_rate)[0])


def _gated_loudness(energies: torch.Tensor, length: int, sample_rate: int) -> torch.Tensor:
    """`(batch,)` in LUFS from the K-weighted energies of hops, `(batch, hop)`."""
    # pyloudnorm's expression, so that halves are rounded like there.
    blocks = round((length / sample_rate - 0.4) / (0.4 * 0.25)) + 1
    energies = energies[:, : blocks + _BLOCK_HOPS - 1]
    power = energies.unfold(1, _BLOCK_HOPS, 1).sum(-1) / (0.4 * sample_rate)
    level = _decibel(power)
    threshold = _decibel(_mean_where(power, level >= _ABSOLUTE_GATE)) + _RELATIVE_GATE
    counted = (level > _ABSOLUTE_GATE) & (level > threshold[:, None])
    return _decibel(_mean_where(power, counted))


def gain_to(target_lufs: float, audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Linear gain `(batch,)` that brings each item of `(batch, channel, sample)` to the target.

    1.0 where the loudness is -inf, so that silence stays as it is. Raises what
    `integrated_loudness` raises.
    """
    loudness = integrated_loudness(audio, sample_rate)
    gain = 10 ** ((target_lufs - loudness) / 20)
    return torch.where(loudness.isneginf(), torch.ones_like(gain), gain)


def _hop_energies(audio: torch.Tensor, hop: int, weighting: _KWeighting) -> torch.Tensor:
    """Energy of the K-weighted audio in each hop: `(batch, channel, hop)`."""
    length = audio.shape[-1]
    whole, rest = divmod(length, hop)
    hops = audio[..., : whole * hop].unflatten(-1, (whole, hop))
    bins = torch.view_as_real(torch.fft.rfft(hops)).flatten(-2)
    circular = bins.square_() @ weighting.bin_power
    ring, shared = torch.nn.functional.linear(hops, weighting.inner).split(_POLES, -1)
    incoming = torch.nn.functional.pad(ring[..., :-1, :], (0, 0, 1, 0))
    exchanged = 2 * (incoming - ring) * shared + incoming.square() - ring.square()
    energies = circular + exchanged.sum(-1)
    if not rest:
        return energies
    # The last, partial hop counts no ring past the end, so it is filtered; the hop before it
    # is all the past that matters.
    last = torch.nn.functional.pad(audio[..., (whole - 1) * hop :], (0, hop - rest))
    filtered = torch.fft.irfft(torch.fft.rfft(last) * weighting.response, 2 * hop)
    partial = filtered[..., hop : hop + rest].square().sum(-1, keepdim=True)
    return torch.cat([energies, partial], -1)


@lru_cache(maxsize=8)
def _k_weighting(sample_rate: int, dtype: torch.dtype, device: torch.device) -> _KWeighting:
    hop = sample_rate // 10
    # The impulse response from the frequency response: over eight hops nothing of it wraps.
    impulse = np.fft.irfft(_response(sample_rate, 8 * hop))[: 2 * hop]
    delays = np.unique(np.geomspace(1, hop, 24).astype(int))
    rings = np.stack([impulse[delay : delay + hop] for delay in delays], axis=1)
    basis = np.linalg.svd(rings, full_matrices=False)[0][:, :_POLES]
    # Correlations of the basis with the impulse response at all lags: sample i of a hop rings
    # with the response from lag hop - i on, and contributes to its own hop from lag -i on.
    spectra = np.fft.rfft(basis, 4 * hop, axis=0).conj() * np.fft.rfft(impulse, 4 * hop)[:, None]
    lags = np.fft.irfft(spectra, axis=0)
    bin_power = np.abs(_response(sample_rate, hop)) ** 2 * 2 / hop
    bin_power[0] /= 2
    if hop % 2 == 0:
        bin_power[-1] /= 2

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

    response = torch.from_numpy(_response(sample_rate, 2 * hop))
    return _KWeighting(
        bin_power=tensor(np.repeat(bin_power, 2)),
        inner=tensor(np.concatenate([lags[hop:0:-1], lags[-np.arange(hop)]], axis=1).T),
        response=response.to(device, torch.promote_types(dtype, torch.complex64)),
        channel_gains=tensor(np.array(_CHANNEL_GAINS)),
    )


def _response(sample_rate: int, length: int) -> np.ndarray:
    """Complex response of both K-weighting filters at the bins of a transform of `length`.

    The biquads are those of Bristow-Johnson's cookbook with pyloudnorm's settings: a high shelf
    of 4 dB at 1500 Hz with Q = 1/sqrt(2), and a high pass at 38 Hz with Q = 1/2.
    """
    delay = np.exp(-2j * pi * np.arange(length // 2 + 1) / length)

    amplitude = 10 ** (4 / 40)
    angle = 2 * pi * 1500 / sample_rate
    plus, minus, cosine = amplitude + 1, amplitude - 1, cos(angle)
    slope = 2 * sqrt(amplitude) * sin(angle) * sqrt(2) / 2
    shelf = (
        amplitude
        * (
            (plus + minus * cosine + slope)
            - 2 * (minus + plus * cosine) * delay
            + (plus + minus * cosine - slope) * delay**2
        )
        / (
            (plus - minus * cosine + slope)
            + 2 * (minus - plus * cosine) * delay
            + (plus - minus * cosine - slope) * delay**2
        )
    )

    angle = 2 * pi * 38 / sample_rate
    cosine, bandwidth = cos(angle), sin(angle)
    high_pass = (
        (1 + cosine)
        / 2
        * (1 - delay) ** 2
        / ((1 + bandwidth) - 2 * cosine * delay + (1 - bandwidth) * delay**2)
    )
    return shelf * high_pass


def _mean_where(power: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Mean of the chosen blocks of `(batch, block)`, 0 where none is."""
    return (power * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def _decibel(power: torch.Tensor) -> torch.Tensor:
    return -0.691 + 10 * torch.log10(power)
