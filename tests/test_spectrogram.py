"""Spectrograms agree with torch's own complex arithmetic."""

import pytest
import torch

from selfrefine.audio.spectrogram import magnitude, spectrogram, waveform


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    ("fft", "hop", "samples"), [(512, 512, 4096), (512, 128, 4000), (64, 48, 777)]
)
def test_magnitudes_are_the_moduli_of_the_transform(
    fft: int, hop: int, samples: int, centred: bool
) -> None:
    audio = torch.randn(3, 2, samples, generator=torch.Generator().manual_seed(0))
    audio[1, 0] = 0.0
    expected = spectrogram(audio, fft, hop, centred).abs()
    found = magnitude(audio, fft, hop, centred)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found[1, 0] == 0).all()


def test_magnitudes_carry_no_gradient_back() -> None:
    audio = torch.randn(1, 2, 2048, requires_grad=True)
    assert not magnitude(audio, 512, 128, centred=True).requires_grad


def test_a_sine_of_a_bins_frequency_has_half_the_windows_sum_there() -> None:
    time = torch.arange(4096)
    audio = 0.5 * torch.sin(2 * torch.pi * 20 / 512 * time).repeat(1, 2, 1)
    found = magnitude(audio, 512, 256, centred=False)[0, 0, 20]
    torch.testing.assert_close(found, torch.full_like(found, 0.5 * 256 / 2), rtol=1e-4, atol=0)


def test_the_way_back_gives_the_audio_again() -> None:
    audio = torch.randn(2, 2, 5000, generator=torch.Generator().manual_seed(1))
    frames = spectrogram(audio, 512, 128, centred=True)
    torch.testing.assert_close(waveform(frames, 512, 128, 5000), audio, rtol=0, atol=1e-5)
