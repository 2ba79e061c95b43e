"""Integrated loudness of a batch (ITU-R BS.1770-4), fast enough for every training step.

The standard asks for K-weighting, mean squares in blocks of 400 ms that overlap by 75%, and two
gates, at -70 LUFS and -10 LU. Where it leaves a choice, pyloudnorm's is kept: its filter
coefficients at each sample rate, and its rounded number of blocks. The last block may therefore
end up to 50 ms after the audio.

A block is four hops of 100 ms, so only the energies of the filtered hops are needed. Parseval's
theorem gives each from one Fourier transform of the hop, without the filtered signal. This is the
energy of the *circular* filter output: the filters' ringing after the hop (its ring) wraps around
to the hop's start. The filters have four poles, so the ring lies in a space of four dimensions. It
decays within the next hop, since the 38 Hz high-pass has a time constant of 4 ms. Four inner
products with a hop give its ring in an orthonormal basis of that space. Four more give the
projection on this basis of the hop's own filtered signal. From these eight numbers the wrapped ring
is removed exactly, and the ring of the previous hop is added.
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
    """Tensors that measure a hop, on one device and of one precision.

    They are cached, since copying them to a GPU would wait for all its work.
    """

    bin_power: torch.Tensor  # (2 * bin,): weights of |re|^2 and |im|^2 in the energy
    inner: torch.Tensor  # (2 * pole, sample): a hop's ring, then its filtered signal, in the basis
    response: torch.Tensor  # (bin,): complex response over two hops
    channel_gains: torch.Tensor  # (channel=5,)


@torch.no_grad()
@one_thread()
def integrated_loudness(audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Gated loudness in LUFS of each item: `(batch, channel, sample)` to `(batch,)`.

    The loudness is -inf where every block is gated out, as in silence, and NaN where the audio has
    a NaN. Channels are in the standard's order: left, right, centre, left surround, right surround.
    Float64 audio is computed in float64, all other types in float32.

    Raises InputError for audio shorter than a block of 400 ms, for more than five channels, and for
    a sample rate that is not a multiple of 10 Hz.
    """
    if audio.ndim != 3 or not 1 <= audio.shape[1] <= len(_CHANNEL_GAINS):
        raise InputError(
            "loudness needs audio (batch, channel, sample) with one to five channels, "
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
    # On a CPU one item at a time fits into a core's cache; a GPU takes all items at once.
    pieces = audio.split(1) if audio.device.type == "cpu" else [audio]
    energies = torch.cat([gains @ _hop_energies(piece, hop, weighting) for piece in pieces])

    return _gated_loudness(energies, length, sample_rate)


@torch.no_grad()
@one_thread()
def stream_loudness(stretches: Iterable[torch.Tensor], sample_rate: int) -> float:
    """Integrated loudness in LUFS of audio in consecutive stretches `(channel, sample)`.

    Every stretch except the last has a whole number of hops of 100 ms. A file of any length thus
    takes little memory. Raises InputError for less than 0.4 s of audio.
    """
    hop = sample_rate // 10
    found: list[torch.Tensor] = []
    before: torch.Tensor | None = None
    length = 0
    for stretch in stretches:
        length += stretch.shape[-1]
        # Only the last hop before a stretch still rings in it.
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
    """Loudness `(batch,)` in LUFS from the K-weighted energies of hops, `(batch, hop)`."""
    # This is pyloudnorm's expression, so that halves are rounded as there.
    blocks = round((length / sample_rate - 0.4) / (0.4 * 0.25)) + 1
    energies = energies[:, : blocks + _BLOCK_HOPS - 1]
    power = energies.unfold(1, _BLOCK_HOPS, 1).sum(-1) / (0.4 * sample_rate)
    level = _decibel(power)
    threshold = _decibel(_mean_where(power, level >= _ABSOLUTE_GATE)) + _RELATIVE_GATE
    counted = (level > _ABSOLUTE_GATE) & (level > threshold[:, None])
    return _decibel(_mean_where(power, counted))


def gain_to(target_lufs: float, audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Linear gain `(batch,)` that brings each item of `(batch, channel, sample)` to the target.

    The gain is 1.0 where the loudness is -inf, so silence is not changed. Raises what
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
    # The last, partial hop is filtered, because its ring after the end of the audio does not count.
    # Only the previous hop still rings in it.
    last = torch.nn.functional.pad(audio[..., (whole - 1) * hop :], (0, hop - rest))
    filtered = torch.fft.irfft(torch.fft.rfft(last) * weighting.response, 2 * hop)
    partial = filtered[..., hop : hop + rest].square().sum(-1, keepdim=True)
    return torch.cat([energies, partial], -1)


@lru_cache(maxsize=8)
def _k_weighting(sample_rate: int, dtype: torch.dtype, device: torch.device) -> _KWeighting:
    hop = sample_rate // 10
    # The impulse response decays within eight hops, so the inverse transform does not wrap it.
    impulse = np.fft.irfft(_response(sample_rate, 8 * hop))[: 2 * hop]
    delays = np.unique(np.geomspace(1, hop, 24).astype(int))
    rings = np.stack([impulse[delay : delay + hop] for delay in delays], axis=1)
    basis = np.linalg.svd(rings, full_matrices=False)[0][:, :_POLES]
    # Correlations of the basis with the impulse response at all lags. Sample i of a hop adds to the
    # ring from lag hop - i on, and to its own hop from lag -i on.
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
    """Complex response `(bin,)` of both K-weighting filters, for a transform of `length` samples.

    The biquads are those of Bristow-Johnson's cookbook with pyloudnorm's settings: a high shelf
    of 4 dB at 1500 Hz with Q = 1/sqrt(2), and a high-pass at 38 Hz with Q = 1/2.
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
    """Mean over the chosen blocks of `(batch, block)`; 0 where no block is chosen."""
    return (power * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def _decibel(power: torch.Tensor) -> torch.Tensor:
    return -0.691 + 10 * torch.log10(power)
