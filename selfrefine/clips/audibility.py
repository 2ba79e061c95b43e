"""Whether a stem can be heard at all. The muted track of an instrumental song is often no digital
silence but dither, a constant offset, or bleed far below what can be heard; trained on, it would
stand for its class."""

import math

import numpy as np

from selfrefine.settings import SilenceRemoval

INAUDIBLE_DB = -70.0
"""A stem whose loudest hop lies below this is left out, in dB of RMS relative to full scale.

Dither of 16 bits lies at -96 dB, shaped dither up to -80. The quietest of 25 real stems lies at
-19 dB, the quietest of 32 stems of the embedded band at -30."""

LEAST_DB = -200.0
"""Below this, what is left beside a constant value is rounding."""

HOPS_AT_ONCE = 256


def loudest_hop_db(audio: np.ndarray, sample_rate: int) -> float:
    """The RMS of the loudest hop of `(channel, sample)`, in dB relative to full scale; -inf for
    digital silence.

    A constant offset does not count. Neither do the first and the last hop, where there are others:
    resampling makes a click of an offset that sets in there.
    """
    hop = max(1, round(SilenceRemoval().hop_seconds * sample_rate))
    hops = audio.shape[1] // hop
    if hops > 2:
        audio, hops = audio[:, hop : (hops - 1) * hop], hops - 2
    if not hops:
        hop, hops = max(1, audio.shape[1]), 1
    loudest = 0.0
    # Some hops at a time, so that little memory is taken.
    for start in range(0, hops * hop, hop * HOPS_AT_ONCE):
        part = audio[:, start : min(start + hop * HOPS_AT_ONCE, hops * hop)].astype(np.float64)
        power = part.reshape(len(part), -1, hop).var(axis=2).mean(axis=0)
        loudest = max(loudest, float(power.max(initial=0.0)))
    return 10 * math.log10(loudest) if loudest > 0 else -math.inf


def loudness_words(loudest_db: float) -> str:
    """How quiet an inaudible stem is, for the user."""
    level = f"{loudest_db:.0f} dB at its loudest" if loudest_db > LEAST_DB else "a constant value"
    return f"inaudible throughout ({level}, the least is {INAUDIBLE_DB:g} dB)"
