"""BSS Eval v4: SDR, ISR, SIR and SAR per frame, as museval computes them, many times faster.

Vincent, Gribonval, Févotte 2006; Stöter, Liutkus, Ito 2018. An estimate is split by two
least-squares projections: onto its own reference, and onto all references, each delayed by 0 to
511 samples (512-tap filters, fitted once to the whole track). In each frame, with P the estimate
projected onto its own reference s, and Q onto all of them:

    SDR = |s|^2 / |estimate - s|^2         ISR = |s|^2 / |P - s|^2
    SIR = |P|^2 / |Q - P|^2                SAR = |Q|^2 / |estimate - Q|^2

museval runs every frame through every filter. Here the audio is read once, and only the
correlations of each frame at the 512 lags are kept. Their sum over the track makes the normal
equations of the filters, and each energy above is a quadratic form in those of its frame. The
correlations are kept in a temporary file until the filters are known, so that memory does not grow
with the song.

Silence, tails and lengths are treated as in `selfrefine.metrics.sdr`. There are two departures,
both where museval's result is its own rounding error:

- a distortion 120 dB below the estimate counts as none (a scaled reference has no artifacts); the
  ratio is then infinite and hence NaN, where museval gives 150 to 300 dB;
- references with empty frequency bands, as resampled floating-point audio has, make the normal
  equations singular to working precision, and museval's filters meaningless; the equations are
  then solved as if each reference carried white noise, at -100 dB for example, as 16-bit samples
  do.
"""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import SpooledTemporaryFile, gettempdir
from typing import TYPE_CHECKING

import numpy as np
import torch

from selfrefine.errors import InputError
from selfrefine.metrics.block_toeplitz import solve_block_toeplitz
from selfrefine.metrics.sdr import (
    check_finite,
    decibel,
    frame_bounds,
    is_tensor,
    paired_signals,
    read_segment,
    silent_signals,
)
from selfrefine.threads import one_thread

if TYPE_CHECKING:
    from selfrefine.metrics.sdr import Segment, Signals

TAPS = 512
_FFT = 2048
_BLOCKS = 8  # blocks transformed at once: as many as the second-level cache of a core holds
_BORDERS = 32  # borders between frames that are correlated at once
_FRAMES = 8  # frames whose correlations are weighted at once
_IN_MEMORY = 8 << 20  # bytes of correlations kept in memory: those of four stereo stems of 16 s
_ROUNDING = 1e-12  # a difference of energies below this share of them is rounding error


@dataclass(frozen=True)
class BSSEval:
    """The four ratios in dB, each `(source, frame)`; NaN where museval's track store has NaN."""

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


@one_thread()
def bss_eval(
    references: Signals,
    estimates: Signals,
    window: int,
    device: torch.device | str | None = None,
) -> BSSEval:
    """All four metrics in frames of `window` samples that follow one another without overlap.

    `references` and `estimates` have shape `(source, channel, sample)` and may differ in length.
    The computation runs on `device`; the default is the device of tensors, and the CPU for anything
    else. On the CPU it runs in one thread: to use more cores, evaluate songs in several processes.
    Memory holds the audio of one frame, and a temporary file takes .5 MB a frame for four stereo
    stems. Raises InputError on shapes that do not fit, a window under 512 samples, NaN or infinite
    samples, and a full disk.
    """
    references, estimates = paired_signals(references, estimates)
    if window < TAPS:
        raise InputError(f"a window of {window} samples is shorter than the {TAPS}-tap filters")
    if device is None:
        device = references.device if is_tensor(references) else "cpu"
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        try:
            return _bss_eval(references, estimates, window, device, spool)
        except OSError as error:
            raise InputError(
                f"{gettempdir()}: no room for the frames' correlations ({error}); free space, or "
                "name another folder in TMPDIR"
            ) from error


def _bss_eval(
    references: Signals,
    estimates: Signals,
    window: int,
    device: torch.device | str,
    spool: SpooledTemporaryFile[bytes],
) -> BSSEval:
    """Computes all four metrics. `spool` is an empty file for the frames' correlations."""
    sources, channels, length = references.shape
    rows = sources * channels
    frames = frame_bounds(length, window, window)
    # The tail after the last whole frame is not scored, but the filters are fitted to it too.
    tail = [(frames[-1][1], length)] if frames[-1][1] < length else []

    energies = np.empty((3, len(frames), sources))
    silent = np.empty(len(frames), dtype=bool)
    whole = torch.zeros(2, rows, rows, TAPS, dtype=torch.float64, device=device)
    starts: list[torch.Tensor] = []
    ends: list[torch.Tensor] = []
    for index, (start, stop) in enumerate(frames + tail):
        reference = read_segment(references, start, stop)
        estimate = read_segment(estimates, start, stop)
        pair = [_double(reference, device), _double(estimate, device)]
        signals = torch.cat(pair).reshape(2 * rows, -1)
        correlations = _frame_correlations(signals)
        whole += correlations
        if index > 0:
            starts.append(_padded(signals[:, : TAPS - 1], TAPS - 1))
        if len(starts) == _BORDERS:
            whole += _border_correlations(torch.stack(ends, 1), torch.stack(starts, 1))
            starts.clear()
            ends.clear()
        ends.append(signals[:rows, 1 - TAPS :].clone())  # a view would keep all of the signals
        if index < len(frames):
            spool.write(correlations.contiguous().cpu().numpy().data)
            energies[:, index] = _energies(pair[0], pair[1], pair[1] - pair[0])
            silent[index] = silent_signals(reference).any() or silent_signals(estimate).any()
    check_finite(*energies)
    if starts:
        whole += _border_correlations(torch.stack(ends[: len(starts)], 1), torch.stack(starts, 1))
    if not whole.isfinite().all():
        raise InputError("NaN or infinite samples after the last whole frame: mend the audio first")

    signal, estimated, noise = energies
    own, joint, spatial, interference, artifacts = _projection_energies(
        spool, whole.cpu().numpy(), estimated, channels
    )
    return BSSEval(
        sdr=decibel(signal, noise, silent).T,
        isr=decibel(signal, spatial, silent).T,
        sir=decibel(own, interference, silent).T,
        sar=decibel(joint, artifacts, silent).T,
    )


def _frame_correlations(signals: torch.Tensor) -> torch.Tensor:
    """The correlations in one stretch of audio with silence around it.

    `signals` is `(2n, sample)`, n references and their n estimates. Returns `(2, n, n, lag)`: at
    [0, a, b] sum over u of reference_a(u) reference_b(u + lag), at [1] with estimate_b.
    """
    rows, length = signals.shape
    count = -(-length // (_FFT - TAPS + 1))
    block = -(-length // count)
    padded = _padded(signals, count * block + TAPS - 1)
    overlapping = padded.unfold(1, block + TAPS - 1, block)
    return _correlations(overlapping[: rows // 2, :, :block], overlapping)


def _border_correlations(ends: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """The correlations from the end of each frame to the start of the next, which the frames' own
    correlations miss.

    `ends` is `(n, border, 511)`, `starts` `(2n, border, 511)`. Returns `(2, n, n, lag)`.
    """
    return _correlations(ends, torch.nn.functional.pad(starts, (TAPS - 1, 0)))


def _correlations(early: torch.Tensor, late: torch.Tensor) -> torch.Tensor:
    """The sum over blocks of the correlations of `early` with `late`, at lags 0 to 511.

    `early` is `(n, block, sample)`, `late` `(2n, block, sample + 511)`. Returns `(2, n, n, lag)`.
    """
    n, count, length = early.shape
    at_once = min(count, _BLOCKS) if early.device.type == "cpu" else count
    buffer = early.new_zeros(3 * n, at_once, _FFT)
    products = torch.zeros(_FFT // 2 + 1, n, 2 * n, dtype=torch.complex128, device=early.device)
    for first in range(0, count, at_once):
        size = min(at_once, count - first)
        buffer[:n, :size, :length] = early[:, first : first + size]
        buffer[n:, :size, : late.shape[2]] = late[:, first : first + size]
        spectra = torch.fft.rfft(buffer[:, :size]).permute(2, 1, 0).contiguous()
        products.baddbmm_(spectra[..., :n].mH, spectra[..., n:])
    lags = torch.fft.irfft(products.permute(1, 2, 0), _FFT)[..., :TAPS]
    return lags.reshape(n, 2, n, TAPS).movedim(1, 0)


def _projection_energies(
    spool: SpooledTemporaryFile[bytes], whole: np.ndarray, estimated: np.ndarray, channels: int
) -> tuple[np.ndarray, ...]:
    """|P|^2, |Q|^2, |P - s|^2, |Q - P|^2 and |estimate - Q|^2, each `(frame, source)`.

    `spool` holds float64 `(frame, 2, n, n, lag)` and `whole` is `(2, n, n, lag)`, correlations as
    `_frame_correlations` has them; `estimated`, `(frame, source)`, is |estimate|^2.
    """
    frames, sources = estimated.shape
    joint = _fit_filters(*whole)
    quadratic, linear = [], []
    for source in range(sources):
        here = slice(source * channels, (source + 1) * channels)
        to_all = joint[..., here]
        to_own = np.zeros_like(to_all)
        to_own[here] = _fit_filters(whole[0, here, here], whole[1, here, here])
        identity = np.zeros_like(to_all)
        identity[here, 0] = np.eye(channels)
        for filters in (to_own, to_all, to_own - identity, to_all - to_own):
            quadratic.append(_energy_weights(filters))
        weights = np.zeros_like(whole[1])
        weights[:, here] = to_all.transpose(0, 2, 1)
        linear.append(weights)

    of_references = torch.from_numpy(np.stack(quadratic)).flatten(1).T
    of_estimates = torch.from_numpy(np.stack(linear)).flatten(1).T
    energies = np.empty((frames, sources, 4))
    matched = np.empty((frames, sources))
    correlations = torch.empty(min(frames, _FRAMES), *whole.shape, dtype=torch.float64)
    spool.seek(0)
    for first in range(0, frames, _FRAMES):
        part = correlations[: frames - first]
        here = slice(first, first + len(part))
        spool.readinto(part.numpy().data)
        energies[here] = (part[:, 0].flatten(1) @ of_references).numpy().reshape(-1, sources, 4)
        matched[here] = (part[:, 1].flatten(1) @ of_estimates).numpy()
    own, together, spatial, interference = np.moveaxis(energies, 2, 0)
    artifacts = estimated - 2 * matched + together
    distortions = [
        np.where(energy > _ROUNDING * estimated, energy, 0.0)
        for energy in (spatial, interference, artifacts)
    ]
    return own, together, *distortions


def _energy_weights(filters: np.ndarray) -> np.ndarray:
    """Weights on a frame's correlations that add up to the energy of the filtered references.

    `filters` is `(n, tap, channel)`, one filter from each of n references to each channel. The
    energy sum over a, b, k of K_ab(k) R_ab(k) runs over lags of both signs; as R_ab(-k) = R_ba(k)
    it is twice that over the positive ones. Returns `(n, n, lag)`.
    """
    spectra = np.fft.rfft(filters, 2 * TAPS, axis=1).transpose(1, 0, 2)
    products = spectra @ spectra.conj().transpose(0, 2, 1)
    weights = np.fft.irfft(products, axis=0)[:TAPS].transpose(1, 2, 0)
    weights[..., 1:] *= 2
    return weights


def _fit_filters(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Least-squares filters from references to estimates, `(reference, tap, estimate)`.

    `references` `(n, n, lag)` and `estimates` `(n, m, lag)` are correlations. Channels that are
    silent, or an instantaneous mix of others (a mono stem's second channel), add nothing to the
    projection and would make the equations singular. Their filters are 0.
    """
    filters = np.zeros((references.shape[0], TAPS, estimates.shape[1]))
    kept = _independent_channels(references[..., 0])
    if kept:
        level = 1 / np.sqrt(references[kept, kept, 0])
        blocks = references[np.ix_(kept, kept)].transpose(2, 0, 1) * np.outer(level, level)
        right = estimates[kept].transpose(2, 0, 1) * level[:, None]
        filters[kept] = (solve_block_toeplitz(blocks, right) * level[:, None]).transpose(1, 0, 2)
    return filters


def _independent_channels(gram: np.ndarray) -> list[int]:
    """The channels that a Cholesky factorisation of `gram` keeps, with the largest pivot first."""
    residual = gram.copy()
    energy = np.diag(gram)
    kept: list[int] = []
    while len(kept) < len(gram):
        left = np.where(energy > 0, np.diag(residual) / np.where(energy > 0, energy, 1), 0.0)
        left[kept] = 0
        pivot = int(left.argmax())
        if left[pivot] <= _ROUNDING:
            break
        kept.append(pivot)
        residual -= np.outer(residual[:, pivot], residual[pivot]) / residual[pivot, pivot]
    return sorted(kept)


def _double(segment: Segment, device: torch.device | str) -> torch.Tensor:
    if isinstance(segment, np.ndarray):
        segment = torch.from_numpy(np.array(segment, dtype=np.float64))
    return segment.to(device, torch.float64)


def _padded(signals: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(signals, (0, length - signals.shape[-1]))


def _energies(*signals: torch.Tensor) -> np.ndarray:
    return torch.stack([x.square().sum((1, 2)) for x in signals]).cpu().numpy()
