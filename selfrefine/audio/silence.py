"""Silence removal as in section 4.1 of the paper, before any training."""

import numpy as np

from selfrefine.settings import SilenceRemoval


def remove_silence(audio: np.ndarray, sample_rate: int, settings: SilenceRemoval) -> np.ndarray:
    """Removes the silent regions of `(channel, sample)` and joins the rest.

    The result is empty when all of the audio is silent.
    """
    return audio[:, kept_samples(audio, sample_rate, settings)]


def kept_samples(audio: np.ndarray, sample_rate: int, settings: SilenceRemoval) -> np.ndarray:
    """Which samples silence removal keeps: bool `(sample,)`.

    There are two passes. The second, with the larger span, is for stems that are almost silent
    throughout.
    """
    kept = sounding_samples(audio, sample_rate, settings.first_db, settings)
    kept[kept] = sounding_samples(audio[:, kept], sample_rate, settings.second_db, settings)
    return kept


def sounding_samples(
    audio: np.ndarray, sample_rate: int, span_db: float, settings: SilenceRemoval
) -> np.ndarray:
    """Which samples lie within `span_db` of the loudest frame: bool `(sample,)`."""
    hop = round(settings.hop_seconds * sample_rate)
    length = audio.shape[1]
    hops = -(-length // hop)
    if hops == 0:
        return np.zeros(length, dtype=bool)
    power = np.zeros(hops * hop)
    power[:length] = np.square(audio, dtype=np.float64).mean(axis=0)
    per_hop = power.reshape(hops, hop).sum(axis=1)
    return np.repeat(sounding_hops(per_hop, span_db, settings), hop)[:length]


def sounding_hops(per_hop: np.ndarray, span_db: float, settings: SilenceRemoval) -> np.ndarray:
    """Which hops lie within `span_db` of the loudest frame: bool `(hop,)`, from their energies."""
    # Each hop is the centre of a frame of several hops. Cumulative sums give the frames' energies.
    reach = round(settings.frame_seconds / settings.hop_seconds) // 2
    hops = len(per_hop)
    summed = np.concatenate([[0.0], np.cumsum(per_hop)])
    ends = np.minimum(np.arange(hops) + reach + 1, hops)
    starts = np.maximum(np.arange(hops) - reach, 0)
    frame_energy = summed[ends] - summed[starts]
    return frame_energy > frame_energy.max(initial=0.0) * 10 ** (-span_db / 10)
