"""A source-filter vocoder on short-time spectra: pulses and noise through time-varying filters.

It takes WORLD's parameters, but processes all frames at once. This is about ten times faster than
WORLD's own synthesis, which goes from pulse to pulse. The noise comes from the caller's generator.
"""

from __future__ import annotations

import numpy as np

SINC_HALF_WIDTH = 6
RINGING_S = 0.012  # time added to a frame's window for the filters' ringing


def vocoder_bins(frame_s: float, sample_rate: int) -> int:
    """The number of frequency bins that `vocode` needs: 1 + half a power of two."""
    least = 2 * round(frame_s * sample_rate) + round(RINGING_S * sample_rate)
    return int(2 ** np.ceil(np.log2(least))) // 2 + 1


def vocode(
    log_envelope: np.ndarray,
    aperiodicity: np.ndarray,
    pitch: np.ndarray,
    frame_s: float,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Synthesises a voice from frames `frame_s` s apart: float32 `(sample,)`, one hop per frame.

    `log_envelope` is the natural log of power, and `aperiodicity` the share of noise in amplitude
    (0-1). Both are `(frame, bin)`, with bins from 0 Hz to half the sample rate. `pitch` `(frame,)`
    is in Hz. Raises ValueError for another number of bins than `vocoder_bins`.
    """
    frames, bins = log_envelope.shape
    hop = round(frame_s * sample_rate)
    samples = (frames + 1) * hop
    fft_size = 2 * (bins - 1)
    if bins != vocoder_bins(frame_s, sample_rate):
        raise ValueError(f"{bins} bins, not {vocoder_bins(frame_s, sample_rate)}")
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    pulses = _spectra(_pulses(pitch, hop, samples, sample_rate), window, hop, frames, fft_size)
    hiss = rng.standard_normal(samples, dtype=np.float32)
    noise = _spectra(hiss, window, hop, frames, fft_size)
    share = np.clip(aperiodicity, 0.0, 1.0)
    spectra = np.sqrt(1 - share * share) * pulses + share * noise
    spectra *= _minimum_phase(log_envelope)
    pieces = np.fft.irfft(spectra, fft_size, axis=1).astype(np.float32)
    audio = np.zeros(samples + fft_size, dtype=np.float32)
    # Overlap-add: all frames that do not overlap each other are added together.
    stride = -(-fft_size // hop)
    for first in range(stride):
        chosen = pieces[first::stride]
        block = np.zeros((len(chosen), stride * hop), dtype=np.float32)
        block[:, :fft_size] = chosen
        start = first * hop
        room = min(block.size, len(audio) - start)
        audio[start : start + room] += block.reshape(-1)[:room]
    return audio[hop : hop + frames * hop]


def _spectra(
    signal: np.ndarray, window: np.ndarray, hop: int, frames: int, fft_size: int
) -> np.ndarray:
    cut = np.lib.stride_tricks.sliding_window_view(signal, len(window))[::hop][:frames]
    spectra: np.ndarray = np.fft.rfft(cut * window, fft_size, axis=1).astype(np.complex64)
    return spectra


def _pulses(pitch: np.ndarray, hop: int, samples: int, sample_rate: int) -> np.ndarray:
    """Band-limited pulses of constant power, `(sample,)`. `pitch` (Hz) is linear between frames."""
    at = np.arange(samples) / hop - 1
    hertz = np.interp(at, np.arange(len(pitch)), pitch)
    phase = np.cumsum(hertz) / sample_rate
    turns = np.floor(phase)
    hits = np.flatnonzero(np.diff(turns) > 0)
    # The position between sample `hits` and the next one at which the phase is an integer.
    share = (turns[hits + 1] - phase[hits]) / (phase[hits + 1] - phase[hits])
    taps = np.arange(-SINC_HALF_WIDTH + 1, SINC_HALF_WIDTH + 1)
    distance = taps[None, :] - share[:, None]
    shape = np.sinc(distance) * np.cos(np.pi * distance / (2 * SINC_HALF_WIDTH + 1)) ** 2
    shape *= np.sqrt(sample_rate / hertz[hits])[:, None]
    train = np.zeros(samples + 2 * SINC_HALF_WIDTH)
    np.add.at(train, hits[:, None] + taps[None, :] + SINC_HALF_WIDTH, shape)
    trimmed: np.ndarray = train[SINC_HALF_WIDTH:][:samples].astype(np.float32)
    return trimmed


def _minimum_phase(log_power: np.ndarray) -> np.ndarray:
    """The minimum-phase spectrum `(frame, bin)` of this log power, by the real cepstrum."""
    fft_size = 2 * (log_power.shape[1] - 1)
    cepstrum = np.fft.irfft(log_power / 2, fft_size, axis=1)
    half = fft_size // 2
    folded = np.zeros_like(cepstrum)
    folded[:, 0] = cepstrum[:, 0]
    folded[:, 1:half] = 2 * cepstrum[:, 1:half]
    folded[:, half] = cepstrum[:, half]
    spectrum: np.ndarray = np.exp(np.fft.rfft(folded, fft_size, axis=1)).astype(np.complex64)
    return spectrum
