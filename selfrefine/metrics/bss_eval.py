"""BSS Eval v4: SDR, ISR, SIR and SAR per frame, as museval computes them, many times faster.

Vincent, Gribonval, Févotte 2006; Stöter, Liutkus, Ito 2018. An estimate is split by two
least-squares projections: onto its own reference, and onto all references, each delayed by 0 to
511 samples (512-tap filters, fitted once to the whole track). In each frame, with P the estimate
projected onto its own reference s, and Q onto all of them:

    SDR = |s|^2 / |estimate - s|^2         ISR = |s|^2 / |P - s|^2
    SIR = |P|^2 / |Q - P|^2                SAR = |Q|^2 / |estimate - Q|^2

museval runs every frame through every filter. Here the audio is read once, and of each frame only
the correlations at the 512 lags are kept: their sum over the track makes the normal equations,
and each energy above is a quadratic form in those of its frame.

Silence, tails and lengths are treated as in `selfrefine.metrics.sdr`. Two departures, both where
museval shows its own rounding:

- a distortion 120 dB below the estimate (a scaled reference has no artifacts) counts as none, so
  that the ratio is infinite and hence NaN; museval prints 150 to 300 dB;
- references with empty frequency bands, as resampled floating-point audio has, make the normal
  equations singular to working precision, and museval's filters meaningless; the equations are
  then solved as if each reference carried white noise, at -100 dB say, as 16-bit samples do.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from selfrefine.errors import InputError
from selfrefine.metrics.sdr import (
    check_finite,
    decibel,
    frame_bounds,
    paired_signals,
    read_segment,
    silent_signals,
)
from selfrefine.threads import one_thread

if TYPE_CHECKING:
    from selfrefine.metrics.sdr import Signals

TAPS = 512
_FFT = 2048
_BLOCKS = 8  # transformed at once: as many as the second-level cache of a core holds
_ROUNDING = 1e-12  # what is left of an energy after subtraction means nothing below this part
_CONVERGED = 1e-14  # energy of the last correction of a solution, relative to the solution's
_NOISE_FLOORS = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6)  # tried in turn, of the signal


@dataclass(frozen=True)
class BSSEval:
    """The four ratios in dB, each `(source, frame)`; NaN where museval's track store has NaN."""

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


@dataclass(frozen=True)
class _Inverse:
    """Inverse of a symmetric block Toeplitz matrix, as spectra of its generators.

    Gohberg and Heinig 1974: with A and B the forward and backward predictors of the last order
    and E, F the covariances of their innovations, T^-1 = L(A) E^-1 L(A)' - L(zB) F^-1 L(zB)',
    where L(X) is the lower triangular block Toeplitz matrix with first block column X, and z
    delays by one block. Spectra have shape `(frequency, n, n)`.
    """

    matrix: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    forward_covariance: np.ndarray
    backward_covariance: np.ndarray


@one_thread()
def bss_eval(
    references: Signals,
    estimates: Signals,
    window: int,
    device: torch.device | str | None = None,
) -> BSSEval:
    """All four metrics in frames of `window` samples that follow one another without overlap.

    `references` and `estimates` have shape `(source, channel, sample)` and may differ in length.
    Works on `device`, by default where the tensors are, and on the CPU for arrays: there in one
    thread, so evaluate songs in processes side by side. For four stereo stems it keeps .6 MB a
    frame, and the audio of one. Raises InputError on shapes that do not fit, a window under 512
    samples, and NaN or infinite samples.
    """
    references, estimates = paired_signals(references, estimates)
    if window < TAPS:
        raise InputError(f"a window of {window} samples is shorter than the {TAPS}-tap filters")
    if device is None:
        device = "cpu" if isinstance(references, np.ndarray) else references.device
    sources, channels, length = references.shape
    rows = sources * channels
    frames = frame_bounds(length, window, window)
    # The tail after the last whole frame is no frame, but the filters are fitted to it too.
    tail = [(frames[-1][1], length)] if frames[-1][1] < length else []

    energies = np.empty((3, len(frames), sources))
    silent = np.empty(len(frames), dtype=bool)
    per_frame = torch.empty(2, len(frames), rows, rows, TAPS, dtype=torch.float64, device=device)
    whole = torch.zeros(2, rows, rows, TAPS, dtype=torch.float64, device=device)
    starts, ends = [], []
    for index, (start, stop) in enumerate(frames + tail):
        reference = read_segment(references, start, stop)
        estimate = read_segment(estimates, start, stop)
        pair = [_double(reference, device), _double(estimate, device)]
        signals = torch.cat(pair).reshape(2 * rows, -1)
        correlations = _frame_correlations(signals)
        whole += correlations
        starts.append(_padded(signals[:, : TAPS - 1], TAPS - 1))
        ends.append(signals[:rows, 1 - TAPS :].clone())  # a view would keep all of the signals
        if index < len(frames):
            per_frame[:, index] = correlations
            energies[:, index] = _energies(pair[0], pair[1], pair[1] - pair[0])
            silent[index] = silent_signals(reference).any() or silent_signals(estimate).any()
    check_finite(*energies)
    if len(starts) > 1:
        whole += _border_correlations(torch.stack(ends[:-1], 1), torch.stack(starts[1:], 1))
    if not whole.isfinite().all():
        raise InputError("NaN or infinite samples after the last whole frame: mend the audio first")

    signal, estimated, noise = energies
    own, joint, spatial, interference, artifacts = _projection_energies(
        per_frame, whole.cpu().numpy(), estimated, channels
    )
    return BSSEval(
        sdr=decibel(signal, noise, silent).T,
        isr=decibel(signal, spatial, silent).T,
        sir=decibel(own, interference, silent).T,
        sar=decibel(joint, artifacts, silent).T,
    )


def _frame_correlations(signals: torch.Tensor) -> torch.Tensor:
    """Correlations in one stretch of audio with silence around it.

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
    """What the frames' correlations miss: from the end of each one into the start of the next.

    `ends` is `(n, border, 511)`, `starts` `(2n, border, 511)`. Returns `(2, n, n, lag)`.
    """
    return _correlations(ends, torch.nn.functional.pad(starts, (TAPS - 1, 0)))


def _correlations(early: torch.Tensor, late: torch.Tensor) -> torch.Tensor:
    """Sum over blocks of the correlations of `early` with `late`, at lags 0 to 511.

    `early` is `(n, block, sample)`, `late` `(2n, block, sample + 511)`. Returns `(2, n, n, lag)`.
    """
    n, count, length = early.shape
    buffer = early.new_zeros(3 * n, min(count, _BLOCKS), _FFT)
    products = torch.zeros(_FFT // 2 + 1, n, 2 * n, dtype=torch.complex128, device=early.device)
    for first in range(0, count, _BLOCKS):
        size = min(_BLOCKS, count - first)
        buffer[:n, :size, :length] = early[:, first : first + size]
        buffer[n:, :size, : late.shape[2]] = late[:, first : first + size]
        spectra = torch.fft.rfft(buffer[:, :size]).permute(2, 1, 0).contiguous()
        products.baddbmm_(spectra[..., :n].mH, spectra[..., n:])
    lags = torch.fft.irfft(products.permute(1, 2, 0), _FFT)[..., :TAPS]
    return lags.reshape(n, 2, n, TAPS).movedim(1, 0)


def _projection_energies(
    per_frame: torch.Tensor, whole: np.ndarray, estimated: np.ndarray, channels: int
) -> tuple[np.ndarray, ...]:
    """|P|^2, |Q|^2, |P - s|^2, |Q - P|^2 and |estimate - Q|^2, each `(frame, source)`.

    `per_frame` is `(2, frame, n, n, lag)` and `whole` `(2, n, n, lag)`, as `_frame_correlations`
    has them; `estimated`, `(frame, source)`, is |estimate|^2.
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

    def weigh(correlations: torch.Tensor, weights: list[np.ndarray]) -> np.ndarray:
        stacked = torch.from_numpy(np.stack(weights)).to(correlations.device)
        return (correlations.flatten(1) @ stacked.flatten(1).T).cpu().numpy()

    energies = weigh(per_frame[0], quadratic).reshape(frames, sources, 4)
    own, together, spatial, interference = np.moveaxis(energies, 2, 0)
    artifacts = estimated - 2 * weigh(per_frame[1], linear) + together
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
    projection and make the equations singular: their filters are 0.
    """
    filters = np.zeros((references.shape[0], TAPS, estimates.shape[1]))
    kept = _independent_channels(references[..., 0])
    if kept:
        level = 1 / np.sqrt(references[kept, kept, 0])
        blocks = references[np.ix_(kept, kept)].transpose(2, 0, 1) * np.outer(level, level)
        right = estimates[kept].transpose(2, 0, 1) * level[:, None]
        filters[kept] = (_solve_block_toeplitz(blocks, right) * level[:, None]).transpose(1, 0, 2)
    return filters


def _independent_channels(gram: np.ndarray) -> list[int]:
    """Channels kept by a Cholesky factorisation of `gram` that takes the largest pivot first."""
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


def _solve_block_toeplitz(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve T x = right, `(tap, n, m)`, with T's block (i, j) = blocks[i - j], `(tap, n, n)`.

    T is symmetric with a diagonal of ones; its blocks above the diagonal are the transposes. The
    fast inverse loses digits on badly conditioned systems, and corrections by the residual win
    them back, measured in T's own norm, in which an error of the filters is one of the projection.
    """
    for floor in _NOISE_FLOORS:
        loaded = blocks.copy()
        loaded[0] += floor * np.eye(blocks.shape[1])
        with suppress(np.linalg.LinAlgError), np.errstate(all="ignore"):
            inverse = _invert_block_toeplitz(loaded)
            solution = _apply_inverse(inverse, right)
            for _ in range(8):
                residual = right - _convolve(inverse.matrix, solution)
                correction = _apply_inverse(inverse, residual)
                solution += correction
                change = abs(_inner(residual, correction))
                if (change <= _CONVERGED * _inner(right, solution)).all():
                    return solution
    raise InputError("the references are too close to one another to tell their shares apart")


def _invert_block_toeplitz(blocks: np.ndarray) -> _Inverse:
    """Block Levinson recursion (Whittle 1963, Akaike 1973) over `blocks`, `(tap, n, n)`.

    Predictors are kept transposed, taps side by side in rows of `n`, so that each step is three
    thin matrix products over contiguous rows.
    """
    taps, n, _ = blocks.shape
    newest_first = np.ascontiguousarray(blocks[::-1].transpose(1, 0, 2)).reshape(n, taps * n)
    forward = np.zeros((n, taps * n))
    backward = np.zeros((n, taps * n))  # grows from its end to its front
    forward[:, :n] = backward[:, -n:] = np.eye(n)
    forward_covariance = backward_covariance = blocks[0]
    for order in range(1, taps):
        first = (taps - 1 - order) * n
        width = order * n
        cross = forward[:, :width] @ newest_first[:, first : first + width].T
        gain = np.linalg.solve(backward_covariance, cross.T)
        mirrored_gain = np.linalg.solve(forward_covariance, cross)
        head = forward[:, : width + n]
        tail = backward[:, first:]
        step = gain.T @ tail
        tail -= mirrored_gain.T @ head
        head -= step
        forward_covariance = forward_covariance - cross @ gain
        backward_covariance = backward_covariance - cross.T @ mirrored_gain
    delayed = np.zeros_like(blocks)
    delayed[1:] = backward.reshape(n, taps, n).transpose(1, 2, 0)[:-1]
    circulant = np.zeros((2 * taps, n, n))
    circulant[:taps] = blocks
    circulant[taps + 1 :] = blocks[:0:-1].transpose(0, 2, 1)
    return _Inverse(
        matrix=np.fft.rfft(circulant, axis=0),
        forward=np.fft.rfft(forward.reshape(n, taps, n).transpose(1, 2, 0), 2 * taps, axis=0),
        backward=np.fft.rfft(delayed, 2 * taps, axis=0),
        forward_covariance=forward_covariance,
        backward_covariance=backward_covariance,
    )


def _apply_inverse(inverse: _Inverse, right: np.ndarray) -> np.ndarray:
    def term(generator: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        correlated = _convolve(generator.conj().transpose(0, 2, 1), right)
        return _convolve(generator, np.linalg.solve(covariance, correlated))

    return term(inverse.forward, inverse.forward_covariance) - term(
        inverse.backward, inverse.backward_covariance
    )


def _convolve(spectrum: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """First taps of the circular convolution over 2 * taps: a block Toeplitz product."""
    taps = signal.shape[0]
    product = spectrum @ np.fft.rfft(signal, 2 * taps, axis=0)
    return np.fft.irfft(product, 2 * taps, axis=0)[:taps]


def _inner(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("tar,tar->r", left, right)


def _double(segment: Signals, device: torch.device | str) -> torch.Tensor:
    if isinstance(segment, np.ndarray):
        segment = torch.from_numpy(np.array(segment, dtype=np.float64))
    return segment.to(device, torch.float64)


def _padded(signals: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(signals, (0, length - signals.shape[-1]))


def _energies(*signals: torch.Tensor) -> np.ndarray:
    return torch.stack([x.square().sum((1, 2)) for x in signals]).cpu().numpy()
