"""Writes the parts of the class "other": chords, arpeggios, pads, riffs, leads and roots.

Each writer takes the plan, the generator and the instrument's range [low, high] (MIDI pitches). It
draws its register within that range, and returns the notes of the whole song.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from selfrefine.band.melody import draw_contour, pitches_along
from selfrefine.band.score import Plan, ScoreNote, chord_pitches, nearest

PartWriter = Callable[[Plan, np.random.Generator, int, int], list[ScoreNote]]

COMPING: tuple[str, ...] = (
    "x---x---x---x---",
    "x-x-x-x-x-x-x-x-",
    "x--x--x-x--x--x-",
    "x-----x---x-x---",
    "--x---x---x---x-",
    "x---x-x---x-x-x-",
    "x-xxx-xxx-xxx-xx",
    "x-------x-------",
)


def comp(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """Block chords, slightly strummed, in a rhythm that changes with the section."""
    rhythms = {
        name: COMPING[rng.integers(len(COMPING))] for name in ("intro", "verse", "chorus", "bridge")
    }
    centre = _centre(rng, low, high, 10)
    voices = int(rng.integers(2, 5))
    length = float(rng.uniform(0.6, 1.0))
    spread_s = float(rng.uniform(0.0, 0.03))
    notes = []
    for bar in range(plan.steps // plan.bar_steps):
        rhythm = _held(rhythms[plan.section_at(bar).name][: plan.bar_steps])
        for step, held in rhythm:
            at = bar * plan.bar_steps + step
            level = 88 if step % 8 == 0 else 74
            for k, pitch in enumerate(_voicing(plan, at, centre, low, high, voices)):
                note = plan.note(at, held * length, pitch, level)
                start = note.start + k * spread_s / voices
                notes.append(ScoreNote(start, note.duration, note.pitch, note.velocity))
    return notes


def arpeggio(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """Broken chords in eighths or sixteenths: up, down, up and down, or in one random order."""
    every = int(rng.choice((1, 2, 2)))
    centre = _centre(rng, low, high, 12)
    voices = int(rng.integers(3, 6))
    order = [list(range(voices)), list(range(voices))[::-1]][rng.integers(2)]
    if rng.random() < 0.4:
        order = order + order[-2:0:-1]
    if rng.random() < 0.3:
        order = [int(k) for k in rng.permutation(voices)]
    ring = float(rng.choice((0.6, 1.0, 2.0)))
    notes = []
    for count, step in enumerate(range(0, plan.steps, every)):
        chord = _voicing(plan, step, centre, low, high, voices)
        pitch = chord[order[count % len(order)] % len(chord)]
        notes.append(plan.note(step, every * ring, pitch, 90 if step % 4 == 0 else 72))
    return notes


def pad(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """Chords held until they change, for two bars at most."""
    centre = _centre(rng, low, high, 10)
    voices = int(rng.integers(2, 5))
    notes: list[ScoreNote] = []
    first = 0
    half_bar = plan.bar_steps // 2
    for step in range(half_bar, plan.steps + 1, half_bar):
        same = step < plan.steps and plan.chord_at(step) == plan.chord_at(first)
        if same and step - first < 2 * plan.bar_steps:
            continue
        for pitch in _voicing(plan, first, centre, low, high, voices):
            notes.append(plan.note(first, step - first, pitch, 80))
        first = step
    return notes


def lead(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """A melody of two-bar motifs. Sections of the same name repeat the same motif."""
    centre = _centre(rng, low, high, 9)
    bottom, top = max(low, centre - 9), min(high, centre + 9)
    motifs = {}
    for name in ("intro", "verse", "chorus", "bridge"):
        rhythm = _motif_steps(rng, 2 * plan.bar_steps)
        motifs[name] = (rhythm, draw_contour(rng, len(rhythm), 0.15))
    legato = float(rng.uniform(0.75, 1.0))
    notes = []
    for bar in range(0, plan.steps // plan.bar_steps, 2):
        rhythm, moves = motifs[plan.section_at(bar).name]
        first = bar * plan.bar_steps
        steps = [first + s for s in rhythm]
        pitches = pitches_along(plan, steps, moves, centre, bottom, top)
        ends = [*steps[1:], first + 2 * plan.bar_steps]
        for step, end, pitch in zip(steps, ends, pitches, strict=True):
            notes.append(plan.note(step, (end - step) * legato, pitch, 92))
    return notes


def riff(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """A fast figure of one bar on chord tones, which follows the chords."""
    centre = _centre(rng, low, high, 12)
    steps = _motif_steps(rng, plan.bar_steps, shortest=1)
    degrees = [int(k) for k in rng.integers(0, 4, len(steps))]
    length = float(rng.uniform(0.4, 1.0))
    notes = []
    for first in range(0, plan.steps, plan.bar_steps):
        ends = [*steps[1:], plan.bar_steps]
        for step, end, degree in zip(steps, ends, degrees, strict=True):
            chord = _voicing(plan, first + step, centre, low, high, 4)
            pitch = chord[degree % len(chord)]
            level = 96 if step % 4 == 0 else 78
            notes.append(plan.note(first + step, (end - step) * length, pitch, level))
    return notes


def roots(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """Roots, with some fifths and octaves, as a pianist's left hand plays them near the bass."""
    every = int(rng.choice((2, 4, 8)))
    bottom = low + int(rng.integers(0, max(1, min(8, high - low - 15))))
    doubled = rng.random() < 0.5
    length = float(rng.uniform(0.7, 1.0))
    notes = []
    for step in range(0, plan.steps, every):
        chord = plan.chord_at(step)
        root = nearest((p for p in range(low, high + 1) if p % 12 == chord.tones[0]), bottom + 6)
        fifth = step % (2 * every) == every and rng.random() < 0.3
        pitch = root + (chord.tones[2] - chord.tones[0]) % 12 if fifth else root
        level = 92 if step % 8 == 0 else 78
        notes.append(plan.note(step, every * length, pitch, level))
        if doubled and pitch + 12 <= high:
            notes.append(plan.note(step, every * length, pitch + 12, level - 10))
    return notes


def swell(plan: Plan, rng: np.random.Generator, low: int, high: int) -> list[ScoreNote]:
    """One long note in each bar, or in every two bars, for noise sweeps."""
    bars = int(rng.integers(1, 3))
    pitch = _centre(rng, low, high, 0)
    length = plan.bar_steps * bars
    return [plan.note(step, length, pitch, 90) for step in range(0, plan.steps, length)]


def _centre(rng: np.random.Generator, low: int, high: int, margin: int) -> int:
    """Draws the part's register: a pitch in the range, `margin` semitones or more from its ends."""
    bottom, top = low + margin, max(low + margin + 1, high - margin)
    return int(rng.integers(bottom, top))


def _voicing(plan: Plan, step: int, centre: int, low: int, high: int, voices: int) -> list[int]:
    """The `voices` chord tones nearest to the register's centre, ascending."""
    tones = chord_pitches(plan.chord_at(step), low, high)
    return sorted(sorted(tones, key=lambda p: (abs(p - centre), p))[:voices])


def _held(rhythm: str) -> list[tuple[int, int]]:
    """Step and length in steps of each stroke of a one-bar rhythm."""
    strokes = [k for k, mark in enumerate(rhythm) if mark == "x"]
    return [(a, b - a) for a, b in zip(strokes, [*strokes[1:], len(rhythm)], strict=True)]


def _motif_steps(rng: np.random.Generator, length: int, shortest: int = 2) -> list[int]:
    """Onsets within `length` steps, 1 to 4 times `shortest` apart."""
    steps = [0]
    while True:
        gap = int(rng.choice((1, 1, 2, 2, 3, 4))) * shortest
        if steps[-1] + gap >= length:
            return steps
        steps.append(steps[-1] + gap)
