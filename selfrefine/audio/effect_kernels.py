"""Compressor, reverb and imager on sixteen items at once, as numba kernels for one CPU thread.

A compressor's envelope and a reverb's filters are recursions over time, so nothing can be done at
once *within* an item; but the items of a batch are independent. Sixteen of them make a group, one
to a lane of the vectors of `selfrefine.audio.lanes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from selfrefine.audio.lanes import (
    LANES,
    absolute,
    exponent_of,
    fma,
    load,
    mantissa_of,
    round_to_integer,
    splat,
    store,
    tile_from_lanes,
    tile_to_lanes,
    times_power_of_two,
    where_greater,
)

BLOCK = 256  # samples: long runs through each delay line, and 80 KB of scratch stay in the cache

# Rows of a group's coefficients, `(COEFFICIENTS, LANES)`.
ATTACK, RELEASE, INVERSE_THRESHOLD, EXPONENT, DAMPING, FEEDBACK, WET, WET_CROSSED, DRY = range(9)
COEFFICIENTS = 9

# Freeverb's delays at 44.1 kHz, in samples (Jezar at Dreampoint, public domain, 2000). The right
# channel's are longer by SPREAD.
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (556, 441, 341, 225)
SPREAD = 23
INPUT_GAIN = 0.015

# Keeps decaying filters out of the denormal numbers, on which some processors are far slower.
_TINY = np.float32(1e-18)


@njit(cache=True, nogil=True)
def _to_lanes(audio: Any, starts: Any, offset: int, count: int, rows: Any) -> None:
    whole = count - count % LANES
    for t in range(0, whole, LANES):
        tile_to_lanes(audio, starts, offset + t, rows, t)
    for lane in range(LANES):
        for t in range(whole, count):
            rows[t, lane] = audio[starts[lane] + offset + t]


@njit(cache=True, nogil=True)
def _from_lanes(rows: Any, audio: Any, starts: Any, offset: int, count: int) -> None:
    whole = count - count % LANES
    for t in range(0, whole, LANES):
        tile_from_lanes(audio, starts, offset + t, rows, t)
    for lane in range(LANES):
        for t in range(whole, count):
            audio[starts[lane] + offset + t] = rows[t, lane]


@njit(cache=True, nogil=True)
def _log2(x: Any) -> Any:
    """log2 of positive normal numbers; own fit of degree 8, absolute error 5e-8 near 1."""
    exponent, x = exponent_of(x), mantissa_of(x) - splat(1.0)
    # Estrin's order: half the latency of Horner's, which is what limits here.
    x2 = x * x
    x4 = x2 * x2
    p = fma(splat(-0.7213571493986937), x, splat(1.4426947724446375))
    q = fma(splat(-0.3600871941413281), x, splat(0.48093944211823336))
    r = fma(splat(-0.25006934795636204), x, splat(0.28670751862467225))
    s = fma(splat(-0.1457431052887655), x, splat(0.23689001055594403))
    p, r = fma(q, x2, p), fma(s, x2, r)
    return fma(fma(r, x4, p), x, exponent)


@njit(cache=True, nogil=True)
def _exp2(x: Any) -> Any:
    """2 to the x for -125 < x < 125; own fit of degree 5, relative error 8e-8."""
    power = round_to_integer(x)
    x = x - power
    x2 = x * x
    p = fma(splat(0.6931469670515344), x, splat(1.0000000716558088))
    q = fma(splat(0.05550713291675334), x, splat(0.24022119717700188))
    r = fma(splat(0.0013276467199447933), x, splat(0.00967554168211739))
    p = fma(fma(r, x2, q), x2, p)
    return times_power_of_two(p, power)


@njit(cache=True, nogil=True)
def _compress(signal: Any, count: int, coefficients: Any, envelopes: Any, channel: int) -> None:
    """In place on rows of lanes. The envelope follows |x| with one of two one-pole constants; above
    the threshold the gain is (envelope / threshold)^(1 / ratio - 1)."""
    attack, release = load(coefficients, ATTACK), load(coefficients, RELEASE)
    inverse_threshold = load(coefficients, INVERSE_THRESHOLD)
    exponent = load(coefficients, EXPONENT)
    envelope = load(envelopes, channel)
    zero, tiny = splat(0.0), splat(_TINY)
    for t in range(count):
        x = load(signal, t)
        level = absolute(x) + tiny
        coefficient = where_greater(level, envelope, attack, release)
        envelope = fma(coefficient, envelope - level, level)
        power = exponent * _log2(envelope * inverse_threshold)
        store(signal, t, x * _exp2(where_greater(zero, power, power, zero)))
    store(envelopes, channel, envelope)


@njit(cache=True, nogil=True)
def _comb_pair(
    mono: Any, wet: Any, count: int, damping: Any, feedback: Any,
    lines: Any, delays: Any, bases: Any, positions: Any, lowpasses: Any, k: int,
) -> None:  # fmt: skip
    """Add the outputs of the lowpass-feedback combs k and k + 1 to `wet`. Two at a time, because
    one alone waits for its own recursion."""
    low_a, low_b = load(lowpasses, k), load(lowpasses, k + 1)
    base_a, base_b = bases[k], bases[k + 1]
    delay_a, delay_b = delays[k], delays[k + 1]
    at_a, at_b = positions[k], positions[k + 1]
    for t in range(count):
        x = load(mono, t)
        out_a, out_b = load(lines, base_a + at_a), load(lines, base_b + at_b)
        # The lowpass without its gain 1 - damping, which is part of `feedback`.
        low_a, low_b = fma(damping, low_a, out_a), fma(damping, low_b, out_b)
        store(lines, base_a + at_a, fma(feedback, low_a, x))
        store(lines, base_b + at_b, fma(feedback, low_b, x))
        store(wet, t, load(wet, t) + (out_a + out_b))
        at_a = at_a + 1 if at_a + 1 < delay_a else 0
        at_b = at_b + 1 if at_b + 1 < delay_b else 0
    store(lowpasses, k, low_a)
    store(lowpasses, k + 1, low_b)
    positions[k], positions[k + 1] = at_a, at_b


@njit(cache=True, nogil=True)
def _allpass_pair(
    wet: Any, count: int, lines: Any, delays: Any, bases: Any, positions: Any, k: int
) -> None:
    """Send `wet` through the allpasses k and k + 1, one after the other."""
    base_a, base_b = bases[k], bases[k + 1]
    delay_a, delay_b = delays[k], delays[k + 1]
    at_a, at_b = positions[k], positions[k + 1]
    half = splat(0.5)
    for t in range(count):
        x = load(wet, t)
        out_a, out_b = load(lines, base_a + at_a), load(lines, base_b + at_b)
        store(lines, base_a + at_a, fma(half, out_a, x))
        x = out_a - x
        store(lines, base_b + at_b, fma(half, out_b, x))
        store(wet, t, out_b - x)
        at_a = at_a + 1 if at_a + 1 < delay_a else 0
        at_b = at_b + 1 if at_b + 1 < delay_b else 0
    positions[k], positions[k + 1] = at_a, at_b


@njit(cache=True, nogil=True)
def _add_energies(a: Any, b: Any, count: int, energies: Any) -> None:
    """Add each lane's energy of a + b and of a - b to the float64 `energies`, `(2, LANES)`."""
    sums = np.empty((2, LANES), np.float32)
    of_sum, of_difference = splat(0.0), splat(0.0)
    for t in range(count):
        x, y = load(a, t), load(b, t)
        of_sum = fma(x + y, x + y, of_sum)
        of_difference = fma(x - y, x - y, of_difference)
    store(sums, 0, of_sum)
    store(sums, 1, of_difference)
    for i in range(2):
        for lane in range(LANES):
            energies[i, lane] += sums[i, lane]


@njit(cache=True, nogil=True)
def compress_and_reverberate(
    audio: Any, output: Any, starts: Any, length: int,
    coefficients: Any, delays: Any, bases: Any, lines: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Compressor, then reverb, on one group of items; neither is scaled back to the input's RMS.

    `audio`, `output`: flat float32, `(batch * 2 * length,)`, possibly the same; `starts`: int64
    `(LANES,)`, where each lane's item begins (an item may stand in several lanes);
    `coefficients`: float32 `(COEFFICIENTS, LANES)`; `delays`: int64 `(2, 12)`, per channel the
    lengths of the combs and allpasses in samples; `bases`: alike, the first row of each in
    `lines`; `lines`: float32 `(sum of delays, LANES)` and
    `scratch`: float32 `(5, BLOCK, LANES)`, both overwritten. Returns float64 `(2, 2, LANES)`: of
    the input and of the output, the energies of mid (left + right) and side (left - right).
    """
    lines[:] = 0.0
    positions = np.zeros(delays.shape, np.int64)
    lowpasses = np.zeros((2, len(COMBS), LANES), np.float32)
    envelopes = np.zeros((2, LANES), np.float32)
    energies = np.zeros((2, 2, LANES))
    left, right, mono, wet_left, wet_right = scratch
    wet, crossed = load(coefficients, WET), load(coefficients, WET_CROSSED)
    dry = load(coefficients, DRY)
    damping, feedback = load(coefficients, DAMPING), load(coefficients, FEEDBACK)
    zero, tiny = splat(0.0), splat(_TINY)

    for block_start in range(0, length, BLOCK):
        count = min(BLOCK, length - block_start)
        _to_lanes(audio, starts, block_start, count, left)
        _to_lanes(audio, starts, length + block_start, count, right)
        _add_energies(left, right, count, energies[0])
        _compress(left, count, coefficients, envelopes, 0)
        _compress(right, count, coefficients, envelopes, 1)
        for t in range(count):
            store(mono, t, load(left, t) + load(right, t) + tiny)
            store(wet_left, t, zero)
            store(wet_right, t, zero)
        for channel in range(2):
            target = wet_left if channel == 0 else wet_right
            filters = delays[channel], bases[channel], positions[channel]
            lows = lowpasses[channel]
            for k in range(0, len(COMBS), 2):
                _comb_pair(mono, target, count, damping, feedback, lines, *filters, lows, k)
            for k in range(len(COMBS), len(COMBS) + len(ALLPASSES), 2):
                _allpass_pair(target, count, lines, *filters, k)
        for t in range(count):
            a, b = load(wet_left, t), load(wet_right, t)
            store(left, t, fma(wet, a, fma(crossed, b, dry * load(left, t))))
            store(right, t, fma(wet, b, fma(crossed, a, dry * load(right, t))))
        _add_energies(left, right, count, energies[1])
        _from_lanes(left, output, starts, block_start, count)
        _from_lanes(right, output, starts, length + block_start, count)
    return energies


@njit(cache=True, nogil=True)
def mix_channels(audio: Any, same: Any, crossed: Any) -> None:
    """In place on `(batch, 2, sample)` float32: each channel becomes same * itself + crossed * the
    other; `same` and `crossed` are float32 `(batch,)`."""
    for item in range(audio.shape[0]):
        left, right = audio[item, 0], audio[item, 1]
        for t in range(left.shape[0]):
            a, b = left[t], right[t]
            left[t] = same[item] * a + crossed[item] * b
            right[t] = same[item] * b + crossed[item] * a
