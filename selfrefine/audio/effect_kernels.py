"""Compressor, reverb and imager on sixteen items at once, as numba kernels for one CPU thread.

A compressor's envelope and a reverb's filters are recursions over time, so the samples of one item
cannot be processed in parallel. The items of a batch are independent, so sixteen of them form a
group, with one item per lane of the vectors of `selfrefine.audio.lanes`.
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

BLOCK = 256  # samples: runs through a delay line are long, and 80 KB of scratch fit in the cache

# Rows of a group's coefficients, `(COEFFICIENTS, LANES)`.
ATTACK, RELEASE, INVERSE_THRESHOLD, EXPONENT, DAMPING, FEEDBACK, WET, WET_CROSSED, DRY = range(9)
COEFFICIENTS = 9

# Freeverb's delays at 44.1 kHz, in samples (Jezar at Dreampoint, public domain, 2000). Those of the
# right channel are longer by SPREAD.
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (556, 441, 341, 225)
SPREAD = 23
INPUT_GAIN = 0.015

# Keeps decaying filters away from denormal numbers, which are far slower on some processors.
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
    """log2 of positive normal numbers by our own fit of degree 8; absolute error 5e-8 near 1."""
    exponent, x = exponent_of(x), mantissa_of(x) - splat(1.0)
    # Estrin's scheme has half the latency of Horner's, and latency is the limit here.
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
    """2 to the power x for -125 < x < 125 by our own fit of degree 5; relative error 8e-8."""
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
    """Compresses `count` rows of lanes in place.

    The envelope follows |x| with the attack constant where it rises and the release constant where
    it falls. Above the threshold the gain is (envelope / threshold)^(1 / ratio - 1).
    """
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
def _reverberate(
    mono: Any, wet: Any, count: int, damping: Any, feedback: Any,
    lines: Any, delays: Any, bases: Any, positions: Any, lowpasses: Any,
) -> None:  # fmt: skip
    """Filters `mono` into `wet`, one channel: eight parallel lowpass-feedback combs, then four
    allpasses in series. One pass does it all, so each sample reads and writes each delay line once.
    """
    half = splat(0.5)
    l0, l1, l2, l3 = (
        load(lowpasses, 0), load(lowpasses, 1), load(lowpasses, 2), load(lowpasses, 3)
    )  # fmt: skip
    l4, l5, l6, l7 = (
        load(lowpasses, 4), load(lowpasses, 5), load(lowpasses, 6), load(lowpasses, 7)
    )  # fmt: skip
    done = 0
    while done < count:
        # The run ends where the first delay line wraps around.
        run = count - done
        for k in range(len(delays)):
            run = min(run, delays[k] - positions[k])
        c0, c1 = bases[0] + positions[0], bases[1] + positions[1]
        c2, c3 = bases[2] + positions[2], bases[3] + positions[3]
        c4, c5 = bases[4] + positions[4], bases[5] + positions[5]
        c6, c7 = bases[6] + positions[6], bases[7] + positions[7]
        a0, a1 = bases[8] + positions[8], bases[9] + positions[9]
        a2, a3 = bases[10] + positions[10], bases[11] + positions[11]
        for t in range(run):
            x = load(mono, done + t)
            o0, o1 = load(lines, c0 + t), load(lines, c1 + t)
            o2, o3 = load(lines, c2 + t), load(lines, c3 + t)
            o4, o5 = load(lines, c4 + t), load(lines, c5 + t)
            o6, o7 = load(lines, c6 + t), load(lines, c7 + t)
            d0, d1 = load(lines, a0 + t), load(lines, a1 + t)
            d2, d3 = load(lines, a2 + t), load(lines, a3 + t)
            # The lowpass omits its gain of 1 - damping, which is part of `feedback`.
            l0, l1 = fma(damping, l0, o0), fma(damping, l1, o1)
            l2, l3 = fma(damping, l2, o2), fma(damping, l3, o3)
            l4, l5 = fma(damping, l4, o4), fma(damping, l5, o5)
            l6, l7 = fma(damping, l6, o6), fma(damping, l7, o7)
            y = ((o0 + o1) + (o2 + o3)) + ((o4 + o5) + (o6 + o7))
            store(lines, c0 + t, fma(feedback, l0, x))
            store(lines, c1 + t, fma(feedback, l1, x))
            store(lines, c2 + t, fma(feedback, l2, x))
            store(lines, c3 + t, fma(feedback, l3, x))
            store(lines, c4 + t, fma(feedback, l4, x))
            store(lines, c5 + t, fma(feedback, l5, x))
            store(lines, c6 + t, fma(feedback, l6, x))
            store(lines, c7 + t, fma(feedback, l7, x))
            store(lines, a0 + t, fma(half, d0, y))
            y = d0 - y
            store(lines, a1 + t, fma(half, d1, y))
            y = d1 - y
            store(lines, a2 + t, fma(half, d2, y))
            y = d2 - y
            store(lines, a3 + t, fma(half, d3, y))
            store(wet, done + t, d3 - y)
        for k in range(len(delays)):
            positions[k] += run
            if positions[k] == delays[k]:
                positions[k] = 0
        done += run
    store(lowpasses, 0, l0)
    store(lowpasses, 1, l1)
    store(lowpasses, 2, l2)
    store(lowpasses, 3, l3)
    store(lowpasses, 4, l4)
    store(lowpasses, 5, l5)
    store(lowpasses, 6, l6)
    store(lowpasses, 7, l7)


@njit(cache=True, nogil=True)
def _add_energies(a: Any, b: Any, count: int, energies: Any) -> None:
    """Adds each lane's energies of a + b and a - b to the float64 `energies`, `(2, LANES)`."""
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
    """Applies compressor and reverb to one group of items, without scaling to the input's RMS.

    - `audio`, `output`: flat float32 `(batch * 2 * length,)`; both may be the same array.
    - `starts`: int64 `(LANES,)`, where each lane's item begins. Several lanes may hold one item.
    - `coefficients`: float32 `(COEFFICIENTS, LANES)`.
    - `delays`: int64 `(2, 12)`, each channel's lengths of combs and allpasses in samples.
    - `bases`: int64 `(2, 12)`, the first row of each delay line in `lines`.
    - `lines`: float32 `(sum of delays, LANES)`, overwritten.
    - `scratch`: float32 `(5, BLOCK, LANES)`, overwritten.

    Returns float64 `(2, 2, LANES)`: for the input and for the output, the energies of mid
    (left + right) and side (left - right).
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
    tiny = splat(_TINY)

    for block_start in range(0, length, BLOCK):
        count = min(BLOCK, length - block_start)
        _to_lanes(audio, starts, block_start, count, left)
        _to_lanes(audio, starts, length + block_start, count, right)
        _add_energies(left, right, count, energies[0])
        _compress(left, count, coefficients, envelopes, 0)
        _compress(right, count, coefficients, envelopes, 1)
        for t in range(count):
            store(mono, t, load(left, t) + load(right, t) + tiny)
        for channel in range(2):
            _reverberate(
                mono,
                wet_left if channel == 0 else wet_right,
                count,
                damping,
                feedback,
                lines,
                delays[channel],
                bases[channel],
                positions[channel],
                lowpasses[channel],
            )
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
    """Mixes the channels of float32 `(batch, 2, sample)` in place.

    Each channel becomes `same` times itself plus `crossed` times the other one. Both gains are
    float32 `(batch,)`.
    """
    for item in range(audio.shape[0]):
        left, right = audio[item, 0], audio[item, 1]
        for t in range(left.shape[0]):
            a, b = left[t], right[t]
            left[t] = same[item] * a + crossed[item] * b
            right[t] = same[item] * b + crossed[item] * a
