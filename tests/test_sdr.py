"""SDR per frame agrees with museval, closed forms, and the rules that move medians."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from selfrefine.errors import InputError
from selfrefine.metrics.sdr import (
    frame_sdr,
    median_over_tracks,
    silent_sources,
    track_sdr,
)

WINDOW = 8000

needs_museval = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")),
    reason="museval can only be imported where ffmpeg and ffprobe are installed",
)


def _noise(seed: int, sources: int = 2, channels: int = 2, frames: float = 4) -> np.ndarray:
    """16-bit noise as float, `(source, channel, sample)`."""
    samples = np.random.default_rng(seed).normal(0, 3000, (sources, channels, int(frames * WINDOW)))
    return np.round(samples) / 2**15


def _pair(sources: int = 2, channels: int = 2, frames: float = 4) -> tuple[np.ndarray, np.ndarray]:
    references = _noise(0, sources, channels, frames)
    return references, references + _noise(1, sources, channels, frames) / 4


def _museval_sdr(
    references: np.ndarray, estimates: np.ndarray, window: int = WINDOW, hop: int = WINDOW
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval

        pair = [signals.transpose(0, 2, 1) for signals in (references, estimates)]
        return museval.evaluate(*pair, win=window, hop=hop)[0]


@needs_museval
def test_sdr_agrees_with_museval_where_frames_are_silent_and_a_tail_is_left() -> None:
    references, estimates = _pair(frames=5.6)
    estimates[0, :, WINDOW : 2 * WINDOW] = 0
    references[1, 1, 3 * WINDOW : 4 * WINDOW] = -references[1, 0, 3 * WINDOW : 4 * WINDOW]
    found = frame_sdr(references, estimates, WINDOW, WINDOW)
    np.testing.assert_allclose(found, _museval_sdr(references, estimates), rtol=0, atol=1e-6)
    assert np.isnan(found).tolist() == [[False, True, False, True, False]] * 2


@needs_museval
@pytest.mark.parametrize("samples", [3 * WINDOW - 100, 5 * WINDOW])
def test_sdr_agrees_with_museval_on_an_estimate_too_short_or_too_long(samples: int) -> None:
    references, _ = _pair(channels=1)
    estimates = _pair(channels=1, frames=5)[1][..., :samples]
    expected = _museval_sdr(references, estimates)
    found = frame_sdr(references, estimates, WINDOW, WINDOW)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@needs_museval
@pytest.mark.parametrize(("frames", "window", "hop"), [(0.7, 8000, 8000), (3, 8000, 3000)])
def test_sdr_agrees_with_museval_on_short_audio_and_overlapping_frames(
    frames: float, window: int, hop: int
) -> None:
    references, estimates = _pair(channels=1, frames=frames)
    expected = _museval_sdr(references, estimates, window, hop)
    found = frame_sdr(references, estimates, window, hop)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@needs_museval
def test_a_perfect_frame_is_nan_as_in_the_track_store_of_museval() -> None:
    references, estimates = _pair(channels=1)
    estimates[0] = references[0]
    ratios = _museval_sdr(references, estimates)
    assert np.isinf(ratios[0]).all()

    import museval

    store = museval.TrackStore("a song")
    names = ("SDR", "ISR", "SIR", "SAR")
    store.add_target("vocals", dict.fromkeys(names, ratios[0].tolist()))
    frames = store.scores["targets"][0]["frames"]
    stored = [float(frame["metrics"]["SDR"]) for frame in frames]
    np.testing.assert_array_equal(frame_sdr(references, estimates, WINDOW, WINDOW)[0], stored)


@needs_museval
def test_a_wholly_silent_stem_gives_nan_and_its_name_where_museval_raises() -> None:
    references, estimates = _pair(channels=1)
    references[1] = 0
    with pytest.raises(ValueError, match="reference sources should be non-silent"):
        _museval_sdr(references, estimates)
    assert np.isnan(frame_sdr(references, estimates, WINDOW, WINDOW)).all()
    assert [flags.tolist() for flags in silent_sources(references, estimates)] == [
        [False, True],
        [False, False],
    ]


def test_an_estimate_counts_as_silent_if_it_sounds_only_after_its_reference_ends() -> None:
    references, estimates = _pair()
    late = np.concatenate([np.zeros_like(estimates[:1]), estimates[:1]], axis=2)
    estimates = np.concatenate([late, np.concatenate([estimates[1:]] * 2, axis=2)])
    assert silent_sources(references, estimates)[1].tolist() == [True, False]


def test_a_stem_that_sounds_in_its_last_sample_only_is_not_silent() -> None:
    references, estimates = _pair(frames=60)
    references[0, :, :-1] = 0
    assert not silent_sources(references, estimates)[0].any()


def test_sdr_of_a_scaled_reference_is_minus_20_log_of_the_missing_part() -> None:
    references = _noise(0)
    gains = np.array([0.5, 1.1])
    found = frame_sdr(references, references * gains[:, None, None], WINDOW, WINDOW)
    expected = -20 * np.log10(np.abs(1 - gains))
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 4, axis=1), rtol=0, atol=1e-9)


def test_sdr_of_a_reference_in_noise_is_the_ratio_of_their_energies() -> None:
    references = np.ones((1, 2, 2 * WINDOW))
    noise = np.tile([0.1, -0.1], WINDOW)
    noise[WINDOW:] *= 10
    found = frame_sdr(references, references + noise, WINDOW, WINDOW)
    np.testing.assert_allclose(found, [[20.0, 0.0]], rtol=0, atol=1e-9)


def test_one_silent_signal_makes_its_frame_nan_for_every_source() -> None:
    references, estimates = _pair(sources=3)
    references[2, :, WINDOW : 2 * WINDOW] = 0
    found = np.isnan(frame_sdr(references, estimates, WINDOW, WINDOW))
    assert found.tolist() == [[False, True, False, False]] * 3


def test_a_frame_with_one_sounding_sample_is_not_silent() -> None:
    references, estimates = _pair()
    references[0, :, WINDOW : 2 * WINDOW] = 0
    references[0, 0, WINDOW + 4321] = 2**-15
    assert np.isfinite(frame_sdr(references, estimates, WINDOW, WINDOW)).all()


def test_tensors_float32_and_16_bit_integers_give_the_sdr_of_float64_arrays() -> None:
    references, estimates = (np.round(x * 2**15) / 2**15 for x in _pair(frames=2.5))
    expected = frame_sdr(references, estimates, WINDOW, WINDOW)
    for convert in (
        lambda x: x.astype(np.float32),
        lambda x: (x * 2**15).astype(np.int16),
        lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0),
        lambda x: torch.from_numpy(x).float(),
    ):
        found = frame_sdr(convert(references), convert(estimates), WINDOW, WINDOW)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_a_memory_mapped_song_is_read_frame_by_frame(tmp_path: Path) -> None:
    shape = (2, 2, 400 * WINDOW)
    for name in ("references", "estimates"):
        song = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.int16, shape)
        song[..., ::7] = 1 + len(name)
    references, estimates = (
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("references", "estimates")
    )
    tracemalloc.start()
    try:
        frame_sdr(references, estimates, WINDOW, WINDOW)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < references.nbytes / 20


def test_medians_pass_over_nan_and_warn_of_nothing() -> None:
    frames = np.array([[1.0, np.nan, 5.0, 2.0], [np.nan] * 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracks = np.stack([track_sdr(frames), [4.0, 7.0], [3.0, np.nan]])
        table = median_over_tracks(tracks)
    np.testing.assert_array_equal(tracks[0], [2.0, np.nan])
    np.testing.assert_array_equal(table, [3.0, 7.0])


@pytest.mark.parametrize(
    ("references", "estimates", "message"),
    [
        (np.ones((2, 100)), np.ones((2, 100)), "must both be"),
        (np.ones((2, 1, 100)), np.ones((3, 1, 100)), "must both be"),
        (np.ones((2, 1, 100)), np.ones((2, 2, 100)), "must both be"),
        (np.ones((2, 1, 0)), np.ones((2, 1, 100)), "nothing to evaluate"),
        (np.ones((2, 1, 100), np.int16), np.ones((2, 1, 100)), "different scales"),
        (np.ones((2, 1, 100)), np.full((2, 1, 100), np.nan), "source 0, frame 0"),
        (np.full((2, 1, 100), np.inf), np.ones((2, 1, 100)), "source 0, frame 0"),
    ],
)
def test_input_that_cannot_be_evaluated_is_refused(
    references: np.ndarray, estimates: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        frame_sdr(references, estimates, 50, 50)


@pytest.mark.parametrize(("window", "hop"), [(0, 50), (50, 0)])
def test_an_empty_window_or_hop_is_refused(window: int, hop: int) -> None:
    with pytest.raises(InputError, match="window and hop"):
        frame_sdr(*_pair(), window, hop)


def test_sdr_needs_no_torch() -> None:
    check = "import sys, selfrefine.metrics.sdr; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_sdr_on_a_gpu_is_that_on_the_cpu() -> None:
    references, estimates = _pair(frames=3.3)
    references[0, :, :WINDOW] = 0
    estimates = estimates[..., : 2 * WINDOW + 5]
    expected = frame_sdr(references, estimates, WINDOW, WINDOW)
    found = frame_sdr(
        torch.from_numpy(references).cuda(), torch.from_numpy(estimates).cuda(), WINDOW, WINDOW
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
