"""A small synthesizer with oscillators and frequency modulation, for any number of timbres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from selfrefine.band.score import ScoreNote

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Patch:
    """One sound. Levels are linear, times are in s, and frequencies in Hz.

    The oscillators run through two low-pass filters: a dull one at `cutoff`, and a bright one at
    six times `cutoff`, whose part fades with the time constant `bite_decay`. Together they sound
    like a filter envelope.
    """

    saw: float
    square: float
    sine: float
    octave_down: float
    noise: float
    fm_ratio: float
    fm_index: float
    fm_decay: float
    unison: float
    detune_cents: float
    cutoff: float
    resonance: float
    bite: float
    bite_decay: float
    attack: float
    decay: float
    sustain: float
    release: float
    glide: float


@dataclass(frozen=True)
class PatchRange:
    """The range (low, high) that each field of a Patch is drawn from."""

    saw: Bounds = (0.0, 0.0)
    square: Bounds = (0.0, 0.0)
    sine: Bounds = (0.0, 0.0)
    octave_down: Bounds = (0.0, 0.0)
    noise: Bounds = (0.0, 0.0)
    fm_ratio: Bounds = (1.0, 1.0)
    fm_index: Bounds = (0.0, 0.0)
    fm_decay: Bounds = (0.1, 0.6)
    unison: Bounds = (1.0, 1.0)
    detune_cents: Bounds = (4.0, 18.0)
    cutoff: Bounds = (300.0, 4000.0)
    resonance: Bounds = (0.0, 0.5)
    bite: Bounds = (0.1, 0.9)
    bite_decay: Bounds = (0.05, 0.5)
    attack: Bounds = (0.003, 0.02)
    decay: Bounds = (0.1, 0.8)
    sustain: Bounds = (0.4, 1.0)
    release: Bounds = (0.04, 0.2)
    glide: Bounds = (0.0, 0.0)


def draw_patch(ranges: PatchRange, rng: np.random.Generator) -> Patch:
    """Draws each field uniformly.

    The cutoff, attack, decay, release and bite decay are uniform on a logarithmic scale. `fm_ratio`
    is rounded to halves.
    """
    drawn = {}
    for field in fields(ranges):
        low, high = getattr(ranges, field.name)
        logarithmic = field.name in ("cutoff", "decay", "bite_decay", "attack", "release")
        if logarithmic:
            drawn[field.name] = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        else:
            drawn[field.name] = float(rng.uniform(low, high))
    drawn["fm_ratio"] = round(drawn["fm_ratio"] * 2) / 2
    return Patch(**drawn)


def play_patch(
    patch: Patch,
    notes: Sequence[ScoreNote],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Plays notes on a patch: float32 `(channel=2, sample)` with `samples` samples."""
    import pedalboard

    dull = np.zeros((2, samples), dtype=np.float32)
    bright = np.zeros((2, samples), dtype=np.float32)
    voices = max(1, round(patch.unison))
    before: int | None = None
    for note in notes:
        start = round(note.start * sample_rate)
        if start >= samples:
            continue
        length = min(round((note.duration + 4 * patch.release) * sample_rate), samples - start)
        time = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
        loud = _envelope(patch, time, note.duration) * np.float32((note.velocity / 127) ** 1.3)
        bite = np.exp(-time / np.float32(patch.bite_decay))
        for voice in range(voices):
            cents = 0.0 if voices == 1 else patch.detune_cents * (2 * voice / (voices - 1) - 1)
            wave = loud * _oscillators(patch, note, before, cents, time, sample_rate, rng)
            sides = (0, 1) if voices == 1 else (voice % 2,)
            for side in sides:
                dull[side, start : start + length] += wave
                bright[side, start : start + length] += wave * bite
        before = note.pitch
    top = 0.45 * sample_rate
    low = pedalboard.LadderFilter(
        pedalboard.LadderFilter.LPF24, min(patch.cutoff, top), patch.resonance
    )
    high = pedalboard.LadderFilter(pedalboard.LadderFilter.LPF12, min(6 * patch.cutoff, top), 0.0)
    mixed: np.ndarray = low(dull, sample_rate) + patch.bite * high(bright, sample_rate)
    return mixed


def play_sweep(
    notes: Sequence[ScoreNote], samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise whose band rises or falls during each note: float32 `(channel=2, sample)`."""
    import pedalboard

    noise = rng.standard_normal((2, samples), dtype=np.float32)
    centres = np.geomspace(250.0, 0.36 * sample_rate, 5)
    position = np.zeros(samples, dtype=np.float32)
    level = np.zeros(samples, dtype=np.float32)
    rising = rng.random() < 0.7
    floor = np.float32(rng.uniform(0.15, 0.5))
    for note in notes:
        a, b = round(note.start * sample_rate), round((note.start + note.duration) * sample_rate)
        a, b = min(a, samples), min(b, samples)
        ramp = np.linspace(0.0, 1.0, max(b - a, 1), dtype=np.float32)[: b - a]
        position[a:b] = ramp if rising else 1 - ramp
        level[a:b] = floor + (1 - floor) * ramp
    out = np.zeros((2, samples), dtype=np.float32)
    for k, centre in enumerate(centres):
        weight = np.maximum(0, 1 - np.abs(position * (len(centres) - 1) - k))
        band = pedalboard.Pedalboard(
            [
                pedalboard.HighpassFilter(centre * 0.75),
                pedalboard.HighpassFilter(centre * 0.75),
                pedalboard.LowpassFilter(centre * 1.3),
                pedalboard.LowpassFilter(centre * 1.3),
            ]
        )
        out += band(noise, sample_rate) * weight
    out *= level
    return out


def _oscillators(
    patch: Patch,
    note: ScoreNote,
    before: int | None,
    cents: float,
    time: np.ndarray,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    frequency = 440.0 * 2 ** ((note.pitch - 69 + cents / 100) / 12)
    phase = np.float64(rng.random()) + frequency * time.astype(np.float64)
    if patch.glide > 0 and before is not None and before != note.pitch:
        # The pitch glides from the last note: a factor of 2**(semitones/12 * exp(-t/glide)).
        bend = 2 ** ((before - note.pitch) / 12 * np.exp(-time / patch.glide))
        phase = np.cumsum(frequency * bend) / sample_rate
    step = frequency / sample_rate
    wave = np.zeros(len(time), dtype=np.float32)
    if patch.fm_index > 0:
        index = patch.fm_index * np.exp(-time / patch.fm_decay)
        modulator = np.sin(2 * np.pi * patch.fm_ratio * phase) * index
        wave += np.sin(2 * np.pi * phase + modulator).astype(np.float32)
    if patch.sine > 0:
        wave += np.float32(patch.sine) * np.sin(2 * np.pi * phase).astype(np.float32)
    if patch.octave_down > 0:
        wave += np.float32(patch.octave_down) * np.sin(np.pi * phase).astype(np.float32)
    if patch.saw > 0:
        wave += np.float32(patch.saw) * _saw(phase, step)
    if patch.square > 0:
        wave += np.float32(patch.square) * (_saw(phase, step) - _saw(phase + 0.5, step))
    if patch.noise > 0:
        wave += np.float32(patch.noise) * rng.standard_normal(len(time), dtype=np.float32)
    return wave


def _saw(phase: np.ndarray, step: float) -> np.ndarray:
    """A sawtooth whose corner is rounded over one sample on each side (PolyBLEP)."""
    turn = (phase % 1.0).astype(np.float32)
    wave = 2 * turn - 1
    after = turn < step
    x = turn[after] / np.float32(step)
    wave[after] -= 2 * x - x * x - 1
    ahead = turn > 1 - step
    x = (turn[ahead] - 1) / np.float32(step)
    wave[ahead] -= x * x + 2 * x + 1
    return wave


def _envelope(patch: Patch, time: np.ndarray, duration: float) -> np.ndarray:
    rise = np.minimum(time / np.float32(patch.attack), 1)
    fall = patch.sustain + (1 - patch.sustain) * np.exp(-time / np.float32(patch.decay))
    gone = np.exp(-np.maximum(time - np.float32(duration), 0) / np.float32(patch.release))
    return (rise * fall * gone).astype(np.float32)
