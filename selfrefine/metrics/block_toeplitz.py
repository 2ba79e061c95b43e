"""Symmetric block Toeplitz equations, solved in n^3 t^2 operations for t blocks of n by n."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from selfrefine.errors import InputError

_CONVERGED = 1e-14  # energy of a solution's last correction, relative to that of the solution
# Energies of white noise, relative to the signal's, tried in turn until the equations are solvable.
_NOISE_FLOORS = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6)


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


def solve_block_toeplitz(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves T x = right, `(tap, n, m)`, where T's block (i, j) is blocks[i - j], `(tap, n, n)`.

    T is symmetric with a diagonal of ones; its blocks above the diagonal are the transposes. The
    fast inverse loses digits on badly conditioned systems. Corrections by the residual restore
    them. They are measured in T's own norm, where an error of the filters is the resulting error
    of the projection. Raises InputError where no solution converges.
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
