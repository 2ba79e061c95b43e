"""Mixes a song: effects on each track, then tone, width, pan and level of each stem.

The settings depend on the class, as in the work of mixing engineers: basses are low and mostly
mono, kicks are the loudest drums, voices and drums are central, and the class "other" is wide with
less bass. The numbers are close to measurements of real multitracks (docs/log.md). The processing
of a stem is linear and the same for all its tracks, so the stem is the sum of its tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfrefine.band.synth import Bounds

LOUD_RMS = 0.1  # -20 dBFS, the level that compressor thresholds and drives assume
PEAK_RANGE: Bounds = (0.6, 0.98)
LONGEST_DELAY_S = 0.022
WIDEST = 6.0
LOWEST_HZ = 28.0
TRACK_LEVEL_DB: Bounds = (-10.0, 0.0)


@dataclass(frozen=True)
class StemMix:
    """How the stems of one class are mixed, in both domains.

    `level_db` is the mean and the standard deviation over songs, relative to `LOUD_RMS`. A stem is
    mono with the probability `mono`; otherwise the ratio of side to mid is drawn from `width_db`.
    `balance_db` is the standard deviation of the ratio of left to right. With the probability
    `highpassed` a high-pass of 24 dB per octave cuts below a frequency drawn from `highpass_hz`. A
    shelf filter changes the range above a frequency drawn from `shelf_hz` by a gain drawn from
    `shelf_db`.

    `treated` multiplies the domain's probabilities that a track gets distortion, modulation or
    delay, and `reverberant` that of reverb.
    """

    level_db: tuple[float, float]
    mono: float
    width_db: Bounds
    balance_db: float
    highpassed: float
    highpass_hz: Bounds
    shelf_hz: Bounds
    shelf_db: Bounds
    treated: float
    reverberant: float


STEM_MIXES = {
    "vocals": StemMix(
        level_db=(1.0, 3.5),
        mono=0.1,
        width_db=(-26.0, -5.0),
        balance_db=0.7,
        highpassed=0.8,
        highpass_hz=(80.0, 170.0),
        shelf_hz=(1500.0, 4000.0),
        shelf_db=(-1.0, 4.0),
        treated=0.4,
        reverberant=1.0,
    ),
    "bass": StemMix(
        level_db=(0.3, 2.4),
        mono=0.7,
        width_db=(-26.0, -8.0),
        balance_db=0.5,
        highpassed=0.0,
        highpass_hz=(30.0, 40.0),
        shelf_hz=(120.0, 400.0),
        shelf_db=(-18.0, -3.0),
        treated=0.6,
        reverberant=0.2,
    ),
    "drums": StemMix(
        level_db=(0.0, 3.3),
        mono=0.15,
        width_db=(-26.0, -5.0),
        balance_db=0.9,
        highpassed=0.0,
        highpass_hz=(30.0, 40.0),
        shelf_hz=(2000.0, 5000.0),
        shelf_db=(-6.0, 0.0),
        treated=0.4,
        reverberant=0.6,
    ),
    "other": StemMix(
        level_db=(0.3, 3.3),
        mono=0.1,
        width_db=(-20.0, -1.0),
        balance_db=1.2,
        highpassed=0.7,
        highpass_hz=(70.0, 220.0),
        shelf_hz=(1500.0, 4000.0),
        shelf_db=(-5.0, 1.0),
        treated=1.0,
        reverberant=0.8,
    ),
}
PIECE_LEVEL_DB: dict[str, Bounds] = {
    "kick": (0.0, 6.0),
    "snare": (-8.0, -2.0),
    "hats": (-20.0, -11.0),
    "percussion": (-20.0, -10.0),
}


@dataclass(frozen=True)
class MixRange:
    """How a domain mixes: probabilities that a track gets an effect, and ranges of its settings.

    Frequencies are in Hz and gains in dB. `floor_db` is the noise floor relative to the track.
    `saturation_db` is a mild drive, with none below 0. `tone_db` limits the gains of a track's
    equaliser, and `stem_tone_db` those of a stem's. `bright_db` is added to every track's treble.
    """

    floor_db: Bounds
    saturation_db: Bounds
    distortion: float
    drive_db: Bounds
    compressor: float
    ratio: Bounds
    chorus: float
    phaser: float
    delay: float
    reverb: float
    room: Bounds
    wet: Bounds
    band_limit: float
    highpass_hz: Bounds
    lowpass_hz: Bounds
    tone_db: float
    stem_tone_db: float
    bright_db: float


def draw_track_effects(
    ranges: MixRange, stem: StemMix, rng: np.random.Generator, sample_rate: int
) -> list[Any]:
    """Draws a track's chain of pedalboard effects, in the order of processing."""
    import pedalboard as pb

    top = 0.45 * sample_rate
    chain: list[Any] = [pb.HighpassFilter(LOWEST_HZ)]
    warmth = rng.uniform(*ranges.saturation_db)
    if warmth > 0:
        chain.append(pb.Distortion(warmth))
    if rng.random() < stem.treated * ranges.distortion:
        chain += [pb.Distortion(rng.uniform(*ranges.drive_db)), pb.Gain(-6.0)]
    if rng.random() < ranges.compressor:
        chain.append(
            pb.Compressor(
                threshold_db=rng.uniform(-34.0, -16.0),
                ratio=rng.uniform(*ranges.ratio),
                attack_ms=rng.uniform(1.0, 25.0),
                release_ms=rng.uniform(40.0, 300.0),
            )
        )
    chain += _tone(rng, ranges.tone_db, ranges.bright_db, top)
    chain += _band_limits(rng, ranges, top)
    if rng.random() < stem.treated * ranges.chorus:
        chain.append(
            pb.Chorus(
                rate_hz=rng.uniform(0.3, 2.0),
                depth=rng.uniform(0.1, 0.4),
                centre_delay_ms=rng.uniform(5.0, 12.0),
                mix=rng.uniform(0.2, 0.5),
            )
        )
    if rng.random() < stem.treated * ranges.phaser:
        chain.append(pb.Phaser(rate_hz=rng.uniform(0.1, 0.8), mix=rng.uniform(0.2, 0.5)))
    if rng.random() < stem.treated * ranges.delay:
        chain.append(
            pb.Delay(
                delay_seconds=rng.uniform(0.12, 0.45),
                feedback=rng.uniform(0.1, 0.4),
                mix=rng.uniform(0.08, 0.25),
            )
        )
    if rng.random() < stem.reverberant * ranges.reverb:
        wet = rng.uniform(*ranges.wet)
        chain.append(
            pb.Reverb(
                room_size=rng.uniform(*ranges.room),
                damping=rng.uniform(0.1, 0.9),
                wet_level=wet,
                dry_level=1 - wet,
                width=rng.uniform(0.4, 1.0),
            )
        )
    return chain


def process_track(
    audio: np.ndarray,
    effects: list[Any],
    ranges: MixRange,
    level_db: Bounds,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Applies effects, some width and a drawn level to one track `(channel=2, sample)`."""
    import pedalboard as pb

    audio = _at_level(audio, LOUD_RMS)
    audio += _noise_floor(audio.shape[1], ranges, rng, sample_rate)
    audio = pb.Pedalboard(effects)(audio, sample_rate)
    audio = _widened(audio, rng, sample_rate)
    return _at_level(audio, LOUD_RMS * 10 ** (rng.uniform(*level_db) / 20))


def mix_stem(
    tracks: list[np.ndarray],
    ranges: MixRange,
    stem: StemMix,
    rng: np.random.Generator,
    sample_rate: int,
) -> list[np.ndarray]:
    """Applies a drawn tone, width, balance and level of the stem to its tracks.

    The tracks are `(channel=2, sample)`; the width, balance and level are those of their sum.
    """
    import pedalboard as pb

    top = 0.45 * sample_rate
    tone = _tone(rng, ranges.stem_tone_db, 0.0, top) + _cuts(rng, stem, top)
    tone.append(pb.HighpassFilter(LOWEST_HZ))
    mono, width_db = rng.random() < stem.mono, rng.uniform(*stem.width_db)
    balance_db = 0.0 if mono else rng.normal(0.0, stem.balance_db)
    level = LOUD_RMS * 10 ** (rng.normal(*stem.level_db) / 20)
    sides = []
    for track in tracks:
        shaped = pb.Pedalboard(tone)(track, sample_rate, reset=True)
        sides.append((shaped[0] + shaped[1], shaped[0] - shaped[1]))
    mid, side = _sum([m for m, _ in sides]), _sum([s for _, s in sides])
    # The part of the side that is proportional to the mid is pan. The rest is width.
    mid_energy = _energy(mid)
    lean = np.float32(_product(side, mid) / mid_energy)
    rest_energy = _energy(side - lean * mid)
    widen = (
        0.0 if mono else min(math.sqrt(mid_energy / rest_energy) * 10 ** (width_db / 20), WIDEST)
    )
    # The gains balance left and right of the sum, and bring both to the level.
    cross = widen * _product(side - lean * mid, mid)
    both = mid_energy + widen**2 * rest_energy
    left, right = both + 2 * cross, both - 2 * cross
    share = 1 / (1 + 10 ** (-balance_db / 10))
    scale = level * math.sqrt(2 * len(mid))
    left_gain = np.float32(scale * math.sqrt(share / max(left, 1e-9)))
    right_gain = np.float32(scale * math.sqrt((1 - share) / max(right, 1e-9)))
    out = []
    for track_mid, track_side in sides:
        apart = np.float32(widen) * (track_side - lean * track_mid)
        out.append(np.stack([left_gain * (track_mid + apart), right_gain * (track_mid - apart)]))
    return out


def _energy(signal: np.ndarray) -> float:
    return _product(signal, signal) + 1e-9


def _product(a: np.ndarray, b: np.ndarray) -> float:
    # a @ b would use BLAS, whose order of summation depends on its number of threads.
    return float(np.sum(a * b, dtype=np.float64))


def _sum(signals: list[np.ndarray]) -> np.ndarray:
    total = signals[0].copy()
    for signal in signals[1:]:
        total += signal
    return total


def _tone(rng: np.random.Generator, range_db: float, bright_db: float, top: float) -> list[Any]:
    """A low shelf, a high shelf and a peak filter, drawn independently."""
    import pedalboard as pb

    low_hz, high_hz = _between(rng, (120.0, 500.0)), _between(rng, (1500.0, 5000.0))
    low_db, high_db = rng.uniform(-range_db, range_db, 2)
    peak_hz, peak_db = _between(rng, (250.0, 4000.0)), rng.uniform(-range_db, range_db) * 0.7
    return [
        pb.LowShelfFilter(low_hz, low_db),
        pb.HighShelfFilter(min(high_hz, top), high_db + bright_db),
        pb.PeakFilter(min(peak_hz, top), peak_db, rng.uniform(0.5, 1.5)),
    ]


def _band_limits(rng: np.random.Generator, ranges: MixRange, top: float) -> list[Any]:
    """A high-pass and a low-pass of 12 dB per octave, each by chance."""
    import pedalboard as pb

    chain: list[Any] = []
    highpass, lowpass = _between(rng, ranges.highpass_hz), _between(rng, ranges.lowpass_hz)
    if rng.random() < ranges.band_limit:
        chain += [pb.HighpassFilter(highpass) for _ in range(2)]
    if rng.random() < ranges.band_limit:
        chain += [pb.LowpassFilter(min(lowpass, top)) for _ in range(2)]
    return chain


def _cuts(rng: np.random.Generator, stem: StemMix, top: float) -> list[Any]:
    """The shelf filter of a stem, and by chance its high-pass, as `StemMix` describes them."""
    import pedalboard as pb

    shelf_hz, shelf_db = _between(rng, stem.shelf_hz), rng.uniform(*stem.shelf_db)
    chain: list[Any] = [pb.HighShelfFilter(min(shelf_hz, top), shelf_db)]
    highpass = _between(rng, stem.highpass_hz)
    if rng.random() < stem.highpassed:
        chain += [pb.HighpassFilter(highpass) for _ in range(4)]
    return chain


def _noise_floor(
    samples: int, ranges: MixRange, rng: np.random.Generator, sample_rate: int
) -> np.ndarray:
    """Noise of a room, an amplifier or a tape: hiss and rumble mixed, `(channel=1, sample)`."""
    import pedalboard as pb

    level = LOUD_RMS * 10 ** (rng.uniform(*ranges.floor_db) / 20)
    hiss = rng.standard_normal((1, samples), dtype=np.float32)
    rumble = pb.Pedalboard([pb.LowpassFilter(150.0), pb.LowpassFilter(400.0)])(hiss, sample_rate)
    share = rng.uniform(0.0, 1.0)
    return _at_level(_at_level(hiss, 1.0) * (1 - share) + _at_level(rumble, 1.0) * share, level)


def _widened(audio: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Adds a delayed copy of the mid to the side (Lauridsen), which also widens mono tracks."""
    delay = round(rng.uniform(0.006, LONGEST_DELAY_S) * sample_rate)
    share = np.float32(rng.uniform(0.1, 0.5))
    pan = np.float32(rng.uniform(-0.5, 0.5))
    mid = (audio[0] + audio[1]) / 2
    side = pan * mid
    side[delay:] += share * mid[: len(mid) - delay]
    return np.stack([audio[0] + side, audio[1] - side])


def _at_level(audio: np.ndarray, rms: float) -> np.ndarray:
    have = math.sqrt(sum(_energy(side) for side in audio) / audio.size)
    levelled: np.ndarray = audio * np.float32(rms / (have + 1e-9))
    return levelled


def _between(rng: np.random.Generator, hertz: Bounds) -> float:
    """A frequency in Hz, drawn uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(hertz[0]), np.log(hertz[1]))))
