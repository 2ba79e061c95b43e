"""A drum machine: kicks from falling sines, snares and claps from noise, hats from square waves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from selfrefine.band.score import ScoreNote
from selfrefine.band.synth import Bounds


@dataclass(frozen=True)
class DrumMachine:
    """One kit. Frequencies are in Hz, decays (time constants) in s, and shares in 0-1.

    A kick's frequency falls from (1 + `kick_fall`) times `kick_hz` to `kick_hz`.
    """

    kick_hz: float
    kick_fall: float
    kick_decay: float
    kick_click: float
    snare_hz: float
    snare_noise: float
    snare_decay: float
    clap_decay: float
    hat_hz: float
    hat_metal: float
    hat_decay: float
    open_decay: float
    crash_decay: float
    tom_hz: float
    tom_decay: float


@dataclass(frozen=True)
class DrumMachineRange:
    """The range (low, high) that each field of a DrumMachine is drawn from, uniformly."""

    kick_hz: Bounds = (42.0, 62.0)
    kick_fall: Bounds = (1.5, 7.0)
    kick_decay: Bounds = (0.06, 0.35)
    kick_click: Bounds = (0.0, 0.5)
    snare_hz: Bounds = (150.0, 260.0)
    snare_noise: Bounds = (0.4, 0.95)
    snare_decay: Bounds = (0.05, 0.2)
    clap_decay: Bounds = (0.05, 0.2)
    hat_hz: Bounds = (3500.0, 7000.0)
    hat_metal: Bounds = (0.0, 1.0)
    hat_decay: Bounds = (0.02, 0.06)
    open_decay: Bounds = (0.12, 0.35)
    crash_decay: Bounds = (0.4, 1.0)
    tom_hz: Bounds = (70.0, 120.0)
    tom_decay: Bounds = (0.1, 0.3)


def draw_drum_machine(ranges: DrumMachineRange, rng: np.random.Generator) -> DrumMachine:
    return DrumMachine(
        **{f.name: float(rng.uniform(*getattr(ranges, f.name))) for f in fields(ranges)}
    )


def play_drum_machine(
    machine: DrumMachine,
    notes: Sequence[ScoreNote],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Plays notes, whose pitches are drum keys, on a drum machine.

    Returns float32 `(channel=2, sample)` with `samples` samples.
    """
    shots: dict[int, np.ndarray] = {}
    audio = np.zeros((2, samples), dtype=np.float32)
    for note in notes:
        if note.pitch not in shots:
            shots[note.pitch] = _shot(machine, note.pitch, sample_rate, rng)
        shot = shots[note.pitch]
        start = round(note.start * sample_rate)
        if start >= samples:
            continue
        length = min(shot.shape[1], samples - start)
        gain = np.float32((note.velocity / 127) ** 1.6)
        audio[:, start : start + length] += gain * shot[:, :length]
    return audio


def _shot(machine: DrumMachine, key: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """One stroke of a drum key's piece, `(channel=2, sample)`."""
    m = machine
    if key in (35, 36):
        kick = _drop(m.kick_hz, m.kick_fall, m.kick_decay, sample_rate)
        return kick + m.kick_click * _noise(kick.shape[1], 0.004, 1500.0, sample_rate, rng)
    if key in (38, 40, 37):
        tone = _drop(m.snare_hz, 1.0, m.snare_decay * 0.6, sample_rate)
        hiss = _noise(
            round(8 * m.snare_decay * sample_rate), m.snare_decay, 900.0, sample_rate, rng
        )
        return _sum((1 - m.snare_noise) * tone, m.snare_noise * hiss)
    if key == 39:
        return _clap(m.clap_decay, sample_rate, rng)
    if key in (42, 44, 46, 54, 69, 70, 82):
        decay = m.open_decay if key == 46 else m.hat_decay * (1.5 if key != 42 else 1.0)
        return _metal(m.hat_hz, m.hat_metal, decay, sample_rate, rng)
    if key in (49, 57, 51, 59, 53):
        decay = m.crash_decay * (1.0 if key in (49, 57) else 0.5)
        return _metal(0.7 * m.hat_hz, 0.6 * m.hat_metal, decay, sample_rate, rng)
    if key in (41, 43, 45, 47, 48, 50):
        return _drop(m.tom_hz * 2 ** ((key - 41) / 12), 0.6, m.tom_decay, sample_rate)
    # Hand percussion is a short knock, with a pitch that the key gives.
    knock = _drop(180.0 * 2 ** ((key - 60) / 9), 0.2, 0.6 * m.tom_decay, sample_rate)
    return knock + 0.3 * _noise(knock.shape[1], 0.01, 2000.0, sample_rate, rng)


def _drop(hz: float, fall: float, decay: float, sample_rate: int) -> np.ndarray:
    """A sine whose frequency falls from (1 + fall) * hz to hz, with an exponential decay."""
    time = np.arange(round(7 * decay * sample_rate)) / sample_rate
    phase = np.cumsum(hz * (1 + fall * np.exp(-time / 0.03))) / sample_rate
    wave = np.sin(2 * np.pi * phase) * np.exp(-time / decay)
    return np.tile(wave.astype(np.float32), (2, 1))


def _noise(
    length: int, decay: float, highpass: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    import pedalboard

    time = np.arange(length) / sample_rate
    hiss = rng.standard_normal((2, length)) * np.exp(-time / decay)
    filtered: np.ndarray = pedalboard.HighpassFilter(highpass)(hiss.astype(np.float32), sample_rate)
    return 0.5 * filtered


def _clap(decay: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Three short bursts of noise and a tail."""
    tail = _noise(round(7 * decay * sample_rate), decay, 700.0, sample_rate, rng)
    for k in range(1, 4):
        burst = _noise(tail.shape[1], 0.006, 700.0, sample_rate, rng)
        at = round(0.011 * k * sample_rate)
        tail[:, at:] += burst[:, : tail.shape[1] - at]
    return tail


def _metal(
    hz: float, metal: float, decay: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise and six inharmonic square waves, high-passed at `hz`."""
    import pedalboard

    length = round(7 * decay * sample_rate)
    time = np.arange(length) / sample_rate
    tones = hz * 0.1 * rng.uniform(0.8, 4.5, 6)
    ringing = np.sign(np.sin(2 * np.pi * np.outer(tones, time))).mean(axis=0)
    hiss = 0.4 * rng.standard_normal((2, length))
    wave = (metal * ringing + (1 - metal) * hiss) * np.exp(-time / decay)
    edge = min(hz, 0.4 * sample_rate)
    board = pedalboard.Pedalboard([pedalboard.HighpassFilter(edge) for _ in range(2)])
    filtered: np.ndarray = board(wave.astype(np.float32), sample_rate)
    return filtered


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.zeros((2, max(a.shape[1], b.shape[1])), dtype=np.float32)
    out[:, : a.shape[1]] += a
    out[:, : b.shape[1]] += b
    return out
