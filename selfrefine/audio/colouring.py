"""Random filters, which imitate another microphone, amplifier or mixing desk."""

import numpy as np

LOWEST_HZ = 31.25
"""Below this frequency the random walk of the gain is constant."""
OCTAVE_STEP_DB = 3.0
"""Standard deviation of the change of the gain from one octave to the next."""
CUT_CHANCE = 0.3
"""Chance that the highs are cut, and, drawn independently, that the lows are cut."""
HIGHEST_KEPT_HZ = (300.0, 6000.0)
LOWEST_KEPT_HZ = (30.0, 300.0)


def randomly_filtered(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Filters `(channel, sample)` with a new random zero-phase filter and keeps its energy.

    The filter's gain is a random walk over octaves. By chance, a second-order slope cuts the highs
    or the lows.
    """
    samples = audio.shape[1]
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    gain = octave_gains(frequencies, sample_rate, rng)
    if rng.random() < CUT_CHANCE:
        gain = gain / np.sqrt(1 + (frequencies / draw_hz(HIGHEST_KEPT_HZ, rng)) ** 4)
    if rng.random() < CUT_CHANCE:
        ratio = (frequencies / draw_hz(LOWEST_KEPT_HZ, rng)) ** 4
        gain = gain * np.sqrt(ratio / (1 + ratio))
    filtered = np.fft.irfft(np.fft.rfft(audio) * gain, samples)
    before, after = np.square(audio).mean(), np.square(filtered).mean()
    level = np.sqrt(before / after) if after > 0 else 1.0
    return np.asarray(filtered * level, dtype=np.float32)


def octave_gains(frequencies: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Linear gains at `frequencies` (Hz) of a random walk over octaves.

    The walk is interpolated linearly in dB between octaves, and its mean over octaves is 0 dB.
    """
    octaves = int(np.ceil(np.log2(sample_rate / 2 / LOWEST_HZ)))
    decibels = np.cumsum(rng.normal(0.0, OCTAVE_STEP_DB, octaves + 1))
    place = np.log2(frequencies.clip(min=LOWEST_HZ) / LOWEST_HZ)
    walk = np.interp(place, np.arange(octaves + 1), decibels - decibels.mean())
    return np.asarray(10 ** (walk / 20))


def draw_hz(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """A frequency in Hz between two limits, drawn uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(limits))))
