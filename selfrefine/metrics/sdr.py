"""Signal-to-distortion ratio per frame, by the rules of museval's BSS Eval v4.

museval derives its SDR from least-squares filters, but the filtered terms cancel:
SDR = sum |reference|^2 / sum |estimate - reference|^2 (Vincent et al. 2006, "images" variant),
so the published number needs no filter at all. Its rules are kept, because they move medians:

- where any reference or estimate is silent in a frame, that frame is NaN for *every* source;
- silent means that the *sum over channels* is 0 at each sample (an anti-phase pair is silent);
- the tail shorter than a window is dropped, a signal shorter than a window is one frame;
- an estimate is cut or zero-padded to its reference's length; sources are never permuted;
- an infinite ratio becomes NaN, as in museval's track store, so medians ignore it.

There is one departure: museval raises for a reference or estimate that is silent throughout. By the
first rule all frames of such a track are NaN, and that is what is returned here; `silent_sources`
names the cause.

Signals are numpy arrays (memory-mapped ones too), torch tensors, or objects that read stretches
from files. They hold floating point or integer PCM and are read one frame at a time. Tensors on a
GPU stay there.
"""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from selfrefine.errors import InputError


class SlicedSignals(Protocol):
    """Audio on the host that is read by stretches, `signals[..., start:stop]`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, stretch: tuple[EllipsisType, slice]) -> np.ndarray: ...


if TYPE_CHECKING:
    import torch

    Segment = np.ndarray | torch.Tensor
    Signals = Segment | SlicedSignals

# Sums of squares run over rows this long: one row stays in the first-level cache, and OpenBLAS
# uses several threads only for dot products over 10,000 elements.
_ROW = 4096


def frame_sdr(references: Signals, estimates: Signals, window: int, hop: int) -> np.ndarray:
    """SDR in dB of every source and frame.

    `references` and `estimates` have shape `(source, channel, sample)` and may differ in length;
    `window` and `hop` are in samples. Returns `(source, frame)`, NaN by the rules above.
    Raises InputError on shapes that do not fit, and on NaN or infinite samples.
    """
    references, estimates = paired_signals(references, estimates)
    frames = frame_bounds(references.shape[-1], window, hop)
    energies = np.empty((2, len(frames), references.shape[0]))
    silent = np.empty(len(frames), dtype=bool)
    for index, (start, stop) in enumerate(frames):
        reference = read_segment(references, start, stop)
        estimate = read_segment(estimates, start, stop)
        energies[:, index] = _energies(reference, estimate)
        silent[index] = silent_signals(reference).any() or silent_signals(estimate).any()
    signal, noise = energies
    check_finite(signal, noise)
    return decibel(signal, noise, silent).T


def silent_sources(references: Signals, estimates: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Which references and which estimates are silent throughout: two `(source,)` bool arrays.

    Where either holds a True, every frame of the track is NaN. An estimate counts up to its
    reference's length. Reading stops as soon as no source can be silent any more.
    """
    references, estimates = paired_signals(references, estimates)
    length = references.shape[-1]
    bounds = frame_bounds(length, window=min(length, 1 << 18), hop=1 << 18)
    bounds[-1] = (bounds[-1][0], length)
    found = []
    for signals in (references, estimates):
        silent = np.ones(signals.shape[0], dtype=bool)
        for start, stop in bounds:
            silent &= silent_signals(read_segment(signals, start, stop))
            if not silent.any():
                break
        found.append(silent)
    return found[0], found[1]


def track_sdr(frames: np.ndarray) -> np.ndarray:
    """Median over frames ignoring NaN: `(source, frame)` to `(source,)`; NaN if all frames are."""
    return _median_of_numbers(frames.T)


def median_over_tracks(tracks: np.ndarray) -> np.ndarray:
    """Median over tracks ignoring NaN, `(track, source)` to `(source,)`: the tables' last step."""
    return _median_of_numbers(np.asarray(tracks))


def frame_bounds(length: int, window: int, hop: int) -> list[tuple[int, int]]:
    """First and past-the-last sample of each whole frame; one frame if `length` <= `window`."""
    if window < 1 or hop < 1:
        raise InputError(f"window and hop are counts of samples, at least 1: {window}, {hop}")
    if length <= window:
        return [(0, length)]
    return [(start, start + window) for start in range(0, length - window + 1, hop)]


def paired_signals(references: Signals, estimates: Signals) -> tuple[Signals, Signals]:
    """Checks shapes and kinds of signals. CPU tensors become arrays that share their memory.

    Raises InputError for signals that do not fit together.
    """
    pair = [_host_view(signals) for signals in (references, estimates)]
    shapes = [tuple(signals.shape) for signals in pair]
    if any(len(shape) != 3 for shape in shapes) or shapes[0][:2] != shapes[1][:2]:
        raise InputError(
            f"references {shapes[0]} and estimates {shapes[1]} must both be "
            "(source, channel, sample) with the same sources and channels"
        )
    if 0 in shapes[0]:
        raise InputError(f"nothing to evaluate in references of shape {shapes[0]}")
    if _is_integer(pair[0]) != _is_integer(pair[1]):
        raise InputError(
            "references and estimates have different scales: one holds integer PCM, the other "
            f"floating point ({pair[0].dtype}, {pair[1].dtype}); convert one of them"
        )
    if is_tensor(pair[0]) != is_tensor(pair[1]):
        raise InputError("references and estimates must be on the same device")
    return pair[0], pair[1]


def is_tensor(signals: Signals) -> TypeGuard[torch.Tensor]:
    """Whether signals are a tensor. This does not import torch, which takes longer than the SDR of
    a song."""
    return not isinstance(signals.dtype, np.dtype)


def read_segment(signals: Signals, start: int, stop: int) -> Segment:
    """Samples `start` to `stop`, zero-padded past the end; a view where nothing is missing."""
    segment = signals[..., start:stop]
    missing = stop - start - segment.shape[-1]
    if missing == 0:
        return segment
    if isinstance(segment, np.ndarray):
        return np.pad(segment, ((0, 0), (0, 0), (0, missing)))
    import torch

    return torch.nn.functional.pad(segment, (0, missing))


def silent_signals(segment: Segment) -> np.ndarray:
    """Which sources of `(source, channel, sample)` sum to 0 over channels at each sample."""
    if not isinstance(segment, np.ndarray):
        return (segment.sum(1) == 0).all(1).cpu().numpy()
    # One sample in 101 decides nearly every frame. The others are read only where these are 0.
    silent = ~segment[..., ::101].sum(axis=1).any(axis=1)
    for source in np.flatnonzero(silent):
        silent[source] = not segment[source].sum(axis=0).any()
    return silent


def check_finite(*energies: np.ndarray) -> None:
    """Raises InputError where an energy of shape `(frame, source)` is NaN or infinite.

    A median over frames would ignore it, and a network that diverged would score well.
    """
    for values in energies:
        if not np.isfinite(values).all():
            frame, source = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"NaN or infinite samples in source {source}, frame {frame}: mend the audio first"
            )


def decibel(numerator: np.ndarray, denominator: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Ratio of energies `(frame, source)` in dB. NaN where it is infinite, and in silent frames."""
    defined = (numerator > 0) & (denominator > 0) & ~silent[:, None]
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=defined)
    return 10 * np.log10(ratio, out=ratio, where=defined)


def _energies(reference: Segment, estimate: Segment) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the references and of the errors in one frame: two `(source,)` arrays."""
    if isinstance(reference, np.ndarray) and isinstance(estimate, np.ndarray):
        return _array_energies(reference, estimate)
    import torch

    target = torch.as_tensor(reference, dtype=torch.float64)
    error = torch.as_tensor(estimate, dtype=torch.float64) - target
    return target.square().sum((1, 2)).cpu().numpy(), error.square().sum((1, 2)).cpu().numpy()


def _array_energies(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sources, channels, length = reference.shape
    samples = channels * length
    rows = np.zeros((2, -(-samples // _ROW), _ROW))
    target, error = rows.reshape(2, -1)[:, :samples].reshape(2, channels, length)
    energies = np.empty((2, sources))
    for source in range(sources):
        target[...] = reference[source]
        error[...] = estimate[source]
        error -= target
        energies[:, source] = np.vecdot(rows, rows).sum(axis=1)
    return energies[0], energies[1]


def _host_view(signals: Signals) -> Signals:
    if is_tensor(signals) and signals.device.type == "cpu":
        return signals.detach().numpy()
    return signals


def _is_integer(signals: Signals) -> bool:
    if isinstance(signals.dtype, np.dtype):
        return signals.dtype.kind in "iu"
    return not signals.dtype.is_floating_point


def _median_of_numbers(values: np.ndarray) -> np.ndarray:
    """Median along the first axis over values that are not NaN. NaN, without a warning, where all
    are."""
    medians = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians
