"""Plays notes on the sound font's recorded instruments.

A key's tone (the resampled recording with its loop repeated, and the envelope up to the note's end)
is the same for all its notes, so it is made once per key and song. A note then costs two additions
of arrays: one up to its end and one for the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selfrefine.band.score import ScoreNote
from selfrefine.band.soundfont import DRUM_BANK, Zone, recording, zones

LONGEST_RELEASE_S = 1.5
QUIETEST_DB = 70.0


@dataclass(frozen=True)
class Program:
    """A General MIDI program (0-127).

    Each key is played with the recording for the key `borrowed` semitones below, as if the
    instrument had another body. `decay` adds an exponential decay with this time constant in s.
    """

    number: int
    borrowed: int = 0
    decay: float | None = None


@dataclass(frozen=True)
class DrumKit:
    """A General MIDI drum kit.

    `semitones` raises its speed and pitch. `ring` scales how long its pieces sound.
    """

    number: int
    semitones: int = 0
    ring: float = 1.0


@dataclass(frozen=True)
class _Family:
    keys: frozenset[int]
    peak_db: float
    decay: float


# In the font the hats are 20 dB below the kick, and the maracas 50 dB. Each family is therefore
# played separately and scaled to a level. Its time constant shortens very long sounds (808 kicks),
# which would overlap otherwise.
_FAMILIES = (
    _Family(frozenset((35, 36)), 0.0, 0.25),
    _Family(frozenset((37, 38, 39, 40)), -2.0, 0.2),
    _Family(frozenset((42, 44)), -5.0, 0.12),
    _Family(frozenset((46,)), -8.0, 0.3),
    _Family(frozenset((49, 51, 53, 57, 59)), -8.0, 0.6),
    _Family(frozenset((41, 43, 45, 47, 48, 50)), -3.0, 0.25),
    _Family(frozenset(range(54, 82)) - {57, 59}, -6.0, 0.15),
)


def play_program(
    program: Program, notes: Sequence[ScoreNote], samples: int, sample_rate: int
) -> np.ndarray:
    """Plays notes on a program: float32 `(channel=2, sample)` with `samples` samples."""
    return _play(
        zones(0, program.number),
        notes,
        samples,
        sample_rate,
        borrowed=program.borrowed,
        transposed=0,
        decay=program.decay,
    )


def play_kit(
    kit: DrumKit, notes: Sequence[ScoreNote], samples: int, sample_rate: int
) -> np.ndarray:
    """Plays notes, whose pitches are drum keys, on a kit.

    Returns float32 `(channel=2, sample)` with `samples` samples.
    """
    pieces = zones(DRUM_BANK, kit.number)
    audio = np.zeros((2, samples), dtype=np.float32)
    for family in _FAMILIES:
        decay = family.decay * kit.ring
        # A stroke's note has no meaningful end: the sound rings until it has decayed.
        strokes = [ScoreNote(n.start, 5 * decay, n.pitch, n.velocity) for n in notes]
        strokes = [n for n in strokes if n.pitch in family.keys]
        played = _play(
            pieces, strokes, samples, sample_rate, borrowed=0, transposed=kit.semitones, decay=decay
        )
        peak = float(np.abs(played).max())
        if peak > 0:
            audio += played * np.float32(10 ** (family.peak_db / 20) / peak)
    return audio


def _play(
    preset: tuple[Zone, ...],
    notes: Sequence[ScoreNote],
    samples: int,
    sample_rate: int,
    *,
    borrowed: int,
    transposed: int,
    decay: float | None,
) -> np.ndarray:
    audio = np.zeros((2, samples), dtype=np.float32)
    longest: dict[int, float] = {}
    for note in notes:
        longest[note.pitch] = max(longest.get(note.pitch, 0.0), note.duration)
    tones: dict[tuple[Zone, int], np.ndarray] = {}
    for note in notes:
        start = round(note.start * sample_rate)
        if start >= samples:
            continue
        held = round(note.duration * sample_rate)
        asked = min(max(note.pitch - borrowed, 0), 127)
        for zone in _answering(preset, asked, note.velocity):
            if (zone, note.pitch) not in tones:
                seconds = longest[note.pitch] + min(zone.release, LONGEST_RELEASE_S)
                tones[zone, note.pitch] = _tone(
                    zone, note.pitch + transposed, seconds, decay, sample_rate
                )
            tone = tones[zone, note.pitch]
            # The standard's default modulator makes the level about the square of the velocity.
            gain = zone.gain * (note.velocity / 127) ** 2
            left, right = np.float32(gain * (0.5 - zone.pan)), np.float32(gain * (0.5 + zone.pan))
            release = _release(zone.release, sample_rate)
            for offset, piece in (
                (start, tone[:held]),
                (start + held, tone[held : held + len(release)]),
            ):
                length = min(len(piece), samples - offset)
                if length <= 0:
                    continue
                part = piece[:length]
                if offset > start:
                    part = part * release[:length]
                audio[0, offset : offset + length] += left * part
                audio[1, offset : offset + length] += right * part
    return audio


def _answering(preset: tuple[Zone, ...], key: int, velocity: int) -> list[Zone]:
    """The zones that sound for a key, or the nearest ones where the preset has none for it."""
    fitting = [z for z in preset if z.velocities[0] <= velocity <= z.velocities[1]]
    found = [z for z in fitting if z.keys[0] <= key <= z.keys[1]]
    if not found and fitting:
        distance = [max(z.keys[0] - key, key - z.keys[1]) for z in fitting]
        found = [z for z, d in zip(fitting, distance, strict=True) if d == min(distance)]
    return found


def _tone(
    zone: Zone, pitch: int, seconds: float, decay: float | None, sample_rate: int
) -> np.ndarray:
    """A key held for `seconds` s: the recording at the key's speed, with its envelope."""
    speed = 2 ** (zone.tracking * (pitch - zone.root) / 12) * zone.rate / sample_rate
    source = _bandlimited(zone, _quantised(speed))
    at = np.arange(round(seconds * sample_rate)) * speed
    if zone.loops:
        # The loop is repeated in continuous time, so that short loops stay in tune.
        first, last = zone.loop_start - zone.start, zone.loop_end - zone.start
        at = np.where(at < last, at, first + (at - first) % (last - first))
    else:
        at = at[at < len(source) - 4]
    index = at.astype(np.int64)
    x = (at - index).astype(np.float32)
    # Cubic (Catmull-Rom) interpolation of four neighbours. `source` has one sample before the
    # recording and four after it.
    a, b, c, d = (source[index + k] for k in range(4))
    wave = b + 0.5 * x * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
    time = np.arange(len(wave), dtype=np.float32) / np.float32(sample_rate)
    falling = np.maximum(time - np.float32(zone.attack + zone.hold), 0)
    db = np.minimum(100 / zone.decay * falling, zone.sustain_db)
    if decay is not None:
        db = db + np.float32(20 / np.log(10) / decay) * time
    wave *= np.minimum(time / np.float32(zone.attack), 1) * 10 ** (-db / 20).astype(np.float32)
    loud = np.flatnonzero(db < QUIETEST_DB)
    return wave[: loud[-1] + 1 if len(loud) else 0].astype(np.float32)


def _quantised(speed: float) -> float:
    """The speed for the anti-aliasing filter, rounded up to a third of an octave; at least 1."""
    return float(max(1.0, 2 ** (np.ceil(3 * np.log2(speed)) / 3)))


@lru_cache(maxsize=512)
def _bandlimited(zone: Zone, speed: float) -> np.ndarray:
    """The recording, low-pass filtered so that it does not alias at `speed`.

    One sample of silence is added before it, and four samples after it: silence, or the beginning
    of the loop.
    """
    wave = recording(zone)
    edge = 0.5 / speed
    if speed > 1:
        padded = np.concatenate([wave, np.zeros(256, dtype=np.float32)])
        spectrum = np.fft.rfft(padded)
        frequency = np.fft.rfftfreq(len(padded))
        spectrum *= np.clip((1.1 * edge - frequency) / (0.2 * edge), 0, 1)
        wave = np.fft.irfft(spectrum, len(padded))[: len(wave)].astype(np.float32)
    after = np.zeros(4, dtype=np.float32)
    if zone.loops:
        first = zone.loop_start - zone.start
        after = np.resize(wave[first:], 4)
    return np.concatenate([wave[:1] * 0, wave, after])


@lru_cache(maxsize=256)
def _release(release: float, sample_rate: int) -> np.ndarray:
    """The gain after a note's end, which falls by 100 dB in `release` s."""
    length = round(min(release * QUIETEST_DB / 100, LONGEST_RELEASE_S) * sample_rate)
    time = np.arange(max(length, 1), dtype=np.float32) / np.float32(sample_rate)
    return np.asarray(10 ** (-5 * time / np.float32(release)), dtype=np.float32)
