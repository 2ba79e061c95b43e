"""All four BSS Eval metrics agree with museval, plain least squares, and closed forms."""

from __future__ import annotations

import errno
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import toeplitz
from scipy.signal import butter, lfilter, sosfilt

from selfrefine.errors import InputError
from selfrefine.metrics.bss_eval import TAPS, BSSEval, bss_eval
from selfrefine.metrics.sdr import frame_sdr

WINDOW = 8000
METRICS = ("sdr", "isr", "sir", "sar")

needs_museval = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")),
    reason="museval can only be imported where ffmpeg and ffprobe are installed",
)


def _on_grid(audio: np.ndarray) -> np.ndarray:
    return np.round(audio * 2**15) / 2**15


def _pair(sources: int = 2, channels: int = 2, frames: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """References of coloured 16-bit noise that swells, and estimates of them that are filtered,
    leak into each other and are noisy."""
    generator = np.random.default_rng(0)
    samples = int(frames * WINDOW)
    colours = np.linspace(-0.5, 0.9, sources)
    references = np.empty((sources, channels, samples))
    for source, colour in enumerate(colours):
        noise = generator.standard_normal((channels, samples))
        swell = 0.1 + np.sin((3 + source) * np.arange(samples) / WINDOW) ** 2
        references[source] = 0.05 * swell * lfilter([1], [1, -colour], noise, axis=1)
    references = _on_grid(references)
    estimates = lfilter([0.8, 0.2, -0.1], [1], references, axis=2)
    estimates += 0.2 * np.roll(references, (1, 40), axis=(0, 2))
    estimates += 0.003 * generator.standard_normal(references.shape)
    return references, _on_grid(estimates)


def _assert_agrees_with_museval(
    references: np.ndarray, estimates: np.ndarray, tolerance_db: float = 1e-5
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval

        pair = [signals.transpose(0, 2, 1) for signals in (references, estimates)]
        expected = museval.evaluate(*pair, win=WINDOW, hop=WINDOW)
    found = bss_eval(references, estimates, WINDOW)
    for name, ratios in zip(METRICS, expected, strict=True):
        stored = np.where(np.isinf(ratios), np.nan, ratios)
        np.testing.assert_allclose(
            getattr(found, name), stored, rtol=0, atol=tolerance_db, err_msg=name
        )


def _assert_equal(found: BSSEval, expected: BSSEval, tolerance_db: float) -> None:
    for name in METRICS:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=0, atol=tolerance_db, err_msg=name
        )


def _least_squares(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.linalg.solve(columns.T @ columns, columns.T @ target)


@needs_museval
def test_the_metrics_agree_with_museval_where_frames_are_silent_and_a_tail_is_left() -> None:
    references, estimates = _pair(frames=4.6)
    estimates[0, :, WINDOW : 2 * WINDOW] = 0
    references[1, 1, 2 * WINDOW : 3 * WINDOW] = -references[1, 0, 2 * WINDOW : 3 * WINDOW]
    _assert_agrees_with_museval(references, estimates)


@needs_museval
def test_the_metrics_agree_with_museval_on_mono_and_one_sided_stems() -> None:
    references, estimates = _pair(frames=3)
    references[0, 1] = references[0, 0]
    references[1, 0] = 0
    # museval solves these singular equations by LU, so its own rounding shows.
    _assert_agrees_with_museval(references, estimates, tolerance_db=1e-3)


@needs_museval
@pytest.mark.parametrize("samples", [3 * WINDOW - 100, 5 * WINDOW])
def test_the_metrics_agree_with_museval_on_an_estimate_too_short_or_too_long(samples: int) -> None:
    references, estimates = _pair(channels=1, frames=5)
    _assert_agrees_with_museval(references[..., : 4 * WINDOW], estimates[..., :samples])


@needs_museval
@pytest.mark.parametrize("sources", [1, 3])
def test_the_metrics_agree_with_museval_on_mono_audio_shorter_than_a_window(sources: int) -> None:
    _assert_agrees_with_museval(*_pair(sources, channels=1, frames=0.9))


@needs_museval
def test_the_metrics_agree_with_museval_on_a_nearly_silent_and_a_nearly_perfect_estimate() -> None:
    references, estimates = _pair(channels=1)
    estimates[0] *= 1e-5
    estimates[1] = references[1] + (estimates[1] - references[1]) * 1e-3
    _assert_agrees_with_museval(references, estimates)


def test_the_metrics_are_those_of_plain_least_squares_over_delayed_references() -> None:
    references, estimates = (signals[..., :2500] for signals in _pair(channels=1))
    window = 1000
    delays = [toeplitz(np.pad(signal[0], (0, TAPS - 1)), np.zeros(TAPS)) for signal in references]
    found = bss_eval(references, estimates, window)
    for source in range(2):
        target = np.pad(estimates[source, 0], (0, TAPS - 1))
        to_own = _least_squares(delays[source], target)
        to_all = _least_squares(np.hstack(delays), target).reshape(2, TAPS)
        for frame in range(2):
            cut = slice(frame * window, (frame + 1) * window)
            own = np.convolve(references[source, 0, cut], to_own)
            joint = sum(np.convolve(references[k, 0, cut], to_all[k]) for k in range(2))
            reference, estimate = (
                np.pad(signals[source, 0, cut], (0, TAPS - 1))
                for signals in (references, estimates)
            )
            ratios = (
                (reference, estimate - reference),
                (reference, own - reference),
                (own, joint - own),
                (joint, estimate - joint),
            )
            for name, (kept, lost) in zip(METRICS, ratios, strict=True):
                expected = 10 * np.log10(np.sum(kept**2) / np.sum(lost**2))
                assert getattr(found, name)[source, frame] == pytest.approx(expected, abs=1e-6), (
                    name
                )


def test_a_scaled_reference_has_spatial_distortion_only() -> None:
    references, _ = _pair()
    found = bss_eval(references, references / 2, WINDOW)
    np.testing.assert_allclose(found.sdr, 20 * np.log10(2), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.isr, 20 * np.log10(2), rtol=0, atol=1e-5)
    assert np.isnan(found.sir).all()
    assert np.isnan(found.sar).all()


def test_a_perfect_estimate_has_no_distortion_that_could_be_measured() -> None:
    references, _ = _pair(channels=1)
    found = bss_eval(references, references, WINDOW)
    assert all(np.isnan(getattr(found, name)).all() for name in METRICS)


def test_sdr_and_the_silent_frames_are_those_of_the_sdr_alone() -> None:
    references, estimates = _pair(sources=3, channels=1, frames=3.5)
    references[2, :, :WINDOW] = 0
    found = bss_eval(references, estimates, WINDOW)
    alone = frame_sdr(references, estimates, WINDOW, WINDOW)
    np.testing.assert_allclose(found.sdr, alone, rtol=0, atol=1e-10)
    for name in METRICS:
        assert np.isnan(getattr(found, name)).tolist() == [[True, False, False]] * 3


@pytest.mark.parametrize("silent", [0, 1])
def test_a_wholly_silent_reference_or_estimate_gives_nan_in_every_frame(silent: int) -> None:
    pair = _pair(channels=1)
    pair[silent][1] = 0
    found = bss_eval(pair[0], pair[1], WINDOW)
    assert all(np.isnan(getattr(found, name)).all() for name in METRICS)


def test_references_with_empty_bands_and_twice_the_same_stem_still_give_finite_ratios() -> None:
    references, estimates = _pair(frames=2)
    empty = sosfilt(butter(12, 0.2, output="sos"), references, axis=2)
    same = np.stack([references[0], references[0]])
    for degenerate in (empty, empty.astype(np.float32), same):
        found = bss_eval(degenerate, estimates, WINDOW)
        assert np.isfinite([found.isr, found.sar]).all()


def test_tensors_integers_and_memory_maps_give_the_metrics_of_float_arrays(tmp_path: Path) -> None:
    references, estimates = _pair(channels=1, frames=2.5)
    expected = bss_eval(references, estimates, WINDOW)
    tensors = [torch.from_numpy(x).float() for x in (references, estimates)]
    _assert_equal(bss_eval(tensors[0], tensors[1], WINDOW), expected, 1e-8)
    for name, signals in (("references", references), ("estimates", estimates)):
        np.save(tmp_path / name, (signals * 2**15).astype(np.int16))
    mapped = [np.load(tmp_path / f"{x}.npy", mmap_mode="r") for x in ("references", "estimates")]
    _assert_equal(bss_eval(mapped[0], mapped[1], WINDOW), expected, 1e-8)


def test_what_waits_in_a_file_gives_the_metrics_of_what_waits_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    references, estimates = _pair(frames=6.4)
    expected = bss_eval(references, estimates, WINDOW)
    monkeypatch.setattr("selfrefine.metrics.bss_eval._IN_MEMORY", 1)
    monkeypatch.setattr("selfrefine.metrics.bss_eval._BORDERS", 2)
    monkeypatch.setattr("selfrefine.metrics.bss_eval._FRAMES", 4)
    _assert_equal(bss_eval(references, estimates, WINDOW), expected, 1e-8)


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def rollover(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("selfrefine.metrics.bss_eval.SpooledTemporaryFile", Full)
    monkeypatch.setattr("selfrefine.metrics.bss_eval._IN_MEMORY", 1)
    with pytest.raises(InputError, match=r"No space left on device.*TMPDIR"):
        bss_eval(*_pair(), WINDOW)


def test_what_cannot_be_evaluated_is_refused() -> None:
    references, estimates = _pair(channels=1, frames=2.5)
    with pytest.raises(InputError, match="shorter than the 512-tap filters"):
        bss_eval(references, estimates, 500)
    with pytest.raises(InputError, match="must both be"):
        bss_eval(references[:1], estimates, WINDOW)
    estimates[1, 0, WINDOW + 5] = np.nan
    with pytest.raises(InputError, match="source 1, frame 1"):
        bss_eval(references, estimates, WINDOW)
    estimates[1, 0, WINDOW + 5] = 0
    estimates[1, 0, -1] = np.nan
    with pytest.raises(InputError, match="after the last whole frame"):
        bss_eval(references, estimates, WINDOW)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_metrics_on_a_gpu_are_those_on_the_cpu() -> None:
    references, estimates = _pair(frames=3.5)
    expected = bss_eval(references, estimates, WINDOW)
    _assert_equal(bss_eval(references, estimates, WINDOW, device="cuda"), expected, 1e-6)
    tensors = [torch.from_numpy(x).cuda() for x in (references, estimates)]
    _assert_equal(bss_eval(tensors[0], tensors[1], WINDOW), expected, 1e-6)
