"""Writes the bass line: figures on the roots of the chords.

A figure is one bar of sixteenths: `r` root, `3` third, `5` fifth, `7` the chord's top note, `8`
octave, `a` a note next to the next root, `-` hold, `.` rest. The figure `k` alone plays the root on
each stroke of the kick.
"""

from __future__ import annotations

import numpy as np

from selfrefine.band.parts_drums import kick_steps
from selfrefine.band.score import Chord, Plan, ScoreNote, humanised, nearest


def write_bass(
    plan: Plan,
    rng: np.random.Generator,
    *,
    low: int,
    high: int,
    figures: tuple[str, ...],
    timing_s: float,
) -> tuple[ScoreNote, ...]:
    """One bass line within [low, high] (MIDI pitches), with a figure for each name of section."""
    chosen = {
        name: figures[rng.integers(len(figures))] for name in ("intro", "verse", "chorus", "bridge")
    }
    if rng.random() < 0.5:
        chosen["intro"] = chosen["verse"]
    centre = low + 7 + int(rng.integers(0, max(1, high - low - 13)))
    legato = float(rng.uniform(0.85, 1.0))
    bars = range(plan.steps // plan.bar_steps)
    figure = "".join(_locked(chosen[plan.section_at(bar).name], plan) for bar in bars)
    return humanised(_played(plan, figure, centre, low, high, legato), rng, timing_s, 6.0)


def doubled(notes: tuple[ScoreNote, ...], octaves: int) -> tuple[ScoreNote, ...]:
    """The same line moved up by `octaves`, for a second bass."""
    return tuple(ScoreNote(n.start, n.duration, n.pitch + 12 * octaves, n.velocity) for n in notes)


def _locked(figure: str, plan: Plan) -> str:
    """The figure, cut or repeated to fill the bar, with `k` replaced by the kick's steps."""
    if figure == "k":
        marks = ["-"] * plan.bar_steps
        for step in [0, *kick_steps(plan)]:
            marks[step] = "r"
        return "".join(marks)
    return (figure * 2)[: plan.bar_steps]


def _played(
    plan: Plan, figure: str, centre: int, low: int, high: int, legato: float
) -> list[ScoreNote]:
    """The notes of a figure of the song's length. A hold continues across bar lines."""
    notes = []
    for step, mark in enumerate(figure):
        if mark in "-.":
            continue
        held = 1
        while step + held < len(figure) and figure[step + held] == "-":
            held += 1
        pitch = _pitch(plan, step, mark, centre, low, high)
        within = step % plan.bar_steps
        accent = 104 if within % 8 == 0 else 94 if within % 4 == 0 else 84
        notes.append(plan.note(step, held * legato, pitch, accent))
    return notes


def _pitch(plan: Plan, step: int, mark: str, centre: int, low: int, high: int) -> int:
    chord = plan.chord_at(step)
    root = _root(chord, centre, low, high)
    if mark == "a":
        target = _root(plan.chord_at(step + plan.bar_steps // 4), centre, low, high)
        steps = [p for p in plan.scale_pitches(low, high) if p != target]
        return nearest(steps, target - 1.5 if target >= root else target + 1.5)
    offset = {
        "r": 0,
        "8": 12,
        "3": (chord.tones[1] - chord.tones[0]) % 12,
        "5": (chord.tones[2] - chord.tones[0]) % 12,
        "7": (chord.tones[-1] - chord.tones[0]) % 12,
    }[mark]
    pitch = root + offset
    return pitch if pitch <= high else pitch - 12


def _root(chord: Chord, centre: int, low: int, high: int) -> int:
    return nearest((p for p in range(low, high + 1) if p % 12 == chord.tones[0]), centre)
