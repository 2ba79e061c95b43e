"""Melodies: steps through the key, with chord tones on the beats."""

from __future__ import annotations

import numpy as np

from selfrefine.band.score import Plan, chord_pitches, nearest


def draw_contour(rng: np.random.Generator, length: int, leap: float) -> list[int]:
    """Draws the moves between `length` notes, in scale steps.

    Most moves are 2 steps or less; `leap` is the probability of a leap of 3 to 5.
    """
    moves = [0]
    for _ in range(length - 1):
        if rng.random() < leap:
            moves.append(int(rng.choice((-4, -3, 3, 4, 5))))
        else:
            moves.append(int(rng.choice((-2, -1, -1, 0, 1, 1, 2))))
    return moves


def pitches_along(
    plan: Plan, steps: list[int], moves: list[int], start: float, low: int, high: int
) -> list[int]:
    """MIDI pitches for notes at `steps`, following `moves` within [low, high].

    Notes on a beat, and the last note, are moved to the nearest chord tone.
    """
    ladder = plan.scale_pitches(low, high)
    rung = ladder.index(nearest(ladder, start))
    out = []
    for k, step in enumerate(steps):
        rung += moves[k % len(moves)]
        # Reflection at the ends of the range keeps a line from staying there.
        if rung < 0:
            rung = -rung
        if rung >= len(ladder):
            rung = 2 * (len(ladder) - 1) - rung
        rung = int(np.clip(rung, 0, len(ladder) - 1))
        if step % 4 == 0 or k == len(steps) - 1:
            tones = [p for p in chord_pitches(plan.chord_at(step), low, high) if p in ladder]
            rung = ladder.index(nearest(tones, ladder[rung]))
        out.append(ladder[rung])
    return out


def shifted_in_key(plan: Plan, pitch: int, rungs: int) -> int:
    """Moves a pitch by scale steps: 2 gives the third above, -5 the sixth below."""
    ladder = plan.scale_pitches(pitch - 24, pitch + 24)
    here = ladder.index(nearest(ladder, pitch))
    return ladder[here + rungs]
