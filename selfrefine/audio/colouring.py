"""Random filters: the same sound as another microphone, amplifier or mixing desk might give it."""

import numpy as np

LOWEST_HZ = 31.25
"""Below it a filter's gain is that of this frequency."""
OCTAVE_STEP_DB = 3.0
"""Standard deviation of the change of the gain from an octave to the next."""
CUT_CHANCE = 0.3
"""That the highs are cut, and, apart from that, the lows."""
HIGHEST_KEPT_HZ = (300.0, 6000.0)
LOWEST_KEPT_HZ = (30.0, 300.0)


def randomly_filtered(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """`(channel, sample)` through a filter without phase, drawn anew, at the energy of before.

    Its gain is a random walk over octaves; sometimes a second-order slope cuts the highs or lows.
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
    """Gains of a random walk over octaves, linear in dB between them, 0 dB on average."""
    octaves = int(np.ceil(np.log2(sample_rate / 2 / LOWEST_HZ)))
    decibels = np.cumsum(rng.normal(0.0, OCTAVE_STEP_DB, octaves + 1))
    place = np.log2(frequencies.clip(min=LOWEST_HZ) / LOWEST_HZ)
    walk = np.interp(place, np.arange(octaves + 1), decibels - decibels.mean())
    return np.asarray(10 ** (walk / 20))


def draw_hz(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Between two frequencies, every octave alike."""
    return float(np.exp(rng.uniform(*np.log(limits))))
