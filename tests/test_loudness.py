"""Integrated loudness agrees with pyloudnorm, the standard's reference tones, and its gates."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest
import torch

from selfrefine.audio.loudness import gain_to, integrated_loudness
from selfrefine.errors import InputError


def _swelling_noise(batch: int, channels: int, samples: int) -> torch.Tensor:
    """Noise at levels from -60 dB up, with pauses that the relative gate has to leave out."""
    generator = torch.Generator().manual_seed(samples)
    swell = torch.sin(torch.linspace(0, 3 * math.pi, samples)).abs() ** 6
    level = torch.logspace(-3, 0, batch, dtype=torch.float64)[:, None, None]
    noise = torch.randn(batch, channels, samples, generator=generator, dtype=torch.float64)
    return level * swell * noise


def _by_pyloudnorm(audio: torch.Tensor, sample_rate: int) -> np.ndarray:
    meter = pyloudnorm.Meter(sample_rate)
    return np.array([meter.integrated_loudness(item.double().numpy().T) for item in audio])


def _tone(seconds: float, sample_rate: int, amplitude: float, hz: float = 997.0) -> torch.Tensor:
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return amplitude * torch.sin(2 * math.pi * hz * time)[None, None]


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.4, 0.44, 0.46, 2.972154, 3.0, 6.07])
def test_loudness_agrees_with_pyloudnorm_within_a_hundredth_lu(
    sample_rate: int, seconds: float
) -> None:
    audio = _swelling_noise(4, 2, round(seconds * sample_rate))
    expected = _by_pyloudnorm(audio, sample_rate)
    assert np.isfinite(expected).all()
    exact = integrated_loudness(audio, sample_rate)
    assert exact.dtype == torch.float64
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-6)
    single = integrated_loudness(audio.float(), sample_rate)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_are_weighted_as_by_pyloudnorm(channels: int) -> None:
    audio = _swelling_noise(2, channels, 48000)
    audio *= torch.linspace(0.2, 1, channels)[:, None]
    expected = _by_pyloudnorm(audio, 16000)
    np.testing.assert_allclose(integrated_loudness(audio, 16000), expected, rtol=0, atol=1e-6)


def test_a_loud_offset_and_a_click_at_the_very_end_agree_with_pyloudnorm() -> None:
    audio = _swelling_noise(3, 2, 131072).float()
    audio[0] += 0.5
    audio[1, :, -40:] = 1
    audio[2, :, :7] = -1
    expected = _by_pyloudnorm(audio, 44100)
    np.testing.assert_allclose(integrated_loudness(audio, 44100), expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("sample_rate", [16000, 44100, 48000])
def test_a_full_scale_997_hz_tone_in_one_channel_reads_minus_3_lufs(sample_rate: int) -> None:
    tone = _tone(5, sample_rate, amplitude=1.0)
    stereo = torch.cat([tone, tone], dim=1)
    # BS.1770-4 asks for -3.01; its own table of coefficients is for 48 kHz, those for other rates
    # (pyloudnorm's, kept here) are within a tenth.
    assert integrated_loudness(tone, sample_rate).item() == pytest.approx(-3.01, abs=0.1)
    assert integrated_loudness(stereo, sample_rate).item() == pytest.approx(0.0, abs=0.1)


def test_blocks_more_than_10_lu_below_the_rest_do_not_count() -> None:
    # EBU Tech 3341, case 3: the quiet ends of the tone leave its -23 LUFS as it is.
    quiet, loud = (_tone(s, 48000, 10 ** (db / 20)) for s, db in ((3, -36), (20, -23)))
    alone = integrated_loudness(loud.repeat(1, 2, 1), 48000).item()
    gated = integrated_loudness(torch.cat([quiet, loud, quiet], 2).repeat(1, 2, 1), 48000).item()
    assert alone == pytest.approx(-23, abs=0.1)
    assert gated == pytest.approx(alone, abs=0.1)


def test_blocks_within_10_lu_of_the_rest_do_count() -> None:
    halves = torch.cat([_tone(10, 48000, 0.1), _tone(10, 48000, 0.05)], 2)
    loud = integrated_loudness(_tone(10, 48000, 0.1), 48000).item()
    expected = loud + 10 * math.log10((1 + 0.25) / 2)
    assert integrated_loudness(halves, 48000).item() == pytest.approx(expected, abs=0.05)


def test_silence_and_what_is_under_the_absolute_gate_have_loudness_minus_infinity() -> None:
    audio = torch.cat(
        [
            torch.zeros(1, 1, 48000),
            _tone(3, 16000, 10 ** (-72 / 20)),
            _tone(3, 16000, 10 ** (-60 / 20)),
        ]
    )
    assert integrated_loudness(audio, 16000).isneginf().tolist() == [True, True, False]


def test_a_batch_gives_what_its_items_give_one_by_one() -> None:
    audio = _swelling_noise(5, 2, 50000).float()
    audio[2] = 0
    one_by_one = torch.cat([integrated_loudness(item[None], 16000) for item in audio])
    torch.testing.assert_close(integrated_loudness(audio, 16000), one_by_one, rtol=0, atol=1e-4)


def test_a_nan_sample_makes_its_own_item_nan_and_no_other() -> None:
    audio = _swelling_noise(2, 1, 20000)
    audio[0, 0, 100] = torch.nan
    assert integrated_loudness(audio, 16000).isnan().tolist() == [True, False]
    assert gain_to(-14.0, audio, 16000).isnan().tolist() == [True, False]


def test_views_of_longer_audio_are_measured_like_copies() -> None:
    audio = _swelling_noise(2, 2, 60000)
    view = audio[:, :, 5000:55000]
    expected = integrated_loudness(view.clone(), 16000)
    torch.testing.assert_close(integrated_loudness(view, 16000), expected)


def test_the_audio_and_its_gradient_are_left_alone() -> None:
    audio = _swelling_noise(2, 1, 20000).requires_grad_()
    before = audio.detach().clone()
    assert not integrated_loudness(audio, 16000).requires_grad
    torch.testing.assert_close(audio.detach(), before, rtol=0, atol=0)


def test_the_gain_brings_each_item_to_the_target_and_silence_nowhere() -> None:
    audio = _swelling_noise(3, 2, 48000)
    audio[1] = 0
    gain = gain_to(-14.0, audio, 16000)
    assert gain[1] == 1
    loudness = integrated_loudness(audio * gain[:, None, None], 16000)
    np.testing.assert_allclose(loudness, [-14, -math.inf, -14], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "sample_rate", "message"),
    [
        ((2, 48000), 16000, "one to five channels"),
        ((1, 6, 48000), 16000, "one to five channels"),
        ((1, 1, 6399), 16000, "0.4 s at least"),
        ((1, 1, 48000), 11025, "multiple of 10 Hz"),
        ((1, 1, 48000), 0, "multiple of 10 Hz"),
    ],
)
def test_audio_that_has_no_loudness_is_refused(
    shape: tuple[int, ...], sample_rate: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        integrated_loudness(torch.ones(shape), sample_rate)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_loudness_on_a_gpu_is_that_on_the_cpu() -> None:
    audio = _swelling_noise(8, 2, 131072).float()
    expected = integrated_loudness(audio, 44100)
    found = integrated_loudness(audio.cuda(), 44100)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)
