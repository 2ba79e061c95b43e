"""A source-filter vocoder on short-time spectra: pulses and noise through moving filters.

It takes WORLD's parameters but works on all frames at once, about ten times faster than WORLD's own
synthesis, which goes from pulse to pulse. Its noise comes from the caller's generator.
"""

from __future__ import annotations

import numpy as np

SINC_HALF_WIDTH = 6
RINGING_S = 0.012  # room left in a frame for the filters to ring


def vocoder_bins(frame_s: float, sample_rate: int) -> int:
    """How many frequency bins `vocode` asks for: 1 + half a power of two."""
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
    """Voice from frames `frame_s` s apart: float32 (sample,), one hop for each frame.

    `log_envelope` is the natural log of power, `aperiodicity` the share (0-1, in amplitude) of
    noise, both (frame, bin) with bins from 0 Hz to half the sample rate; `pitch` (frame,) is in Hz.
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
    # Overlap-add: frames that do not overlap are added in one go.
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
    """A train of band-limited pulses of constant power, its pitch (Hz) gliding between frames."""
    at = np.arange(samples) / hop - 1
    hertz = np.interp(at, np.arange(len(pitch)), pitch)
    phase = np.cumsum(hertz) / sample_rate
    turns = np.floor(phase)
    hits = np.flatnonzero(np.diff(turns) > 0)
    # Where between sample `hits` and the next the phase is whole.
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
    """The minimum-phase spectrum (frame, bin) with this log power, through the real cepstrum."""
    fft_size = 2 * (log_power.shape[1] - 1)
    cepstrum = np.fft.irfft(log_power / 2, fft_size, axis=1)
    half = fft_size // 2
    folded = np.zeros_like(cepstrum)
    folded[:, 0] = cepstrum[:, 0]
    folded[:, 1:half] = 2 * cepstrum[:, 1:half]
    folded[:, half] = cepstrum[:, half]
    spectrum: np.ndarray = np.exp(np.fft.rfft(folded, fft_size, axis=1)).astype(np.complex64)
    return spectrum
