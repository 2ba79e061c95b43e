"""Writes the drums: a groove per song, ghost notes, fills, cymbals and hand percussion.

Pitches are the keys of the General MIDI drum map.
"""

from __future__ import annotations

import numpy as np

from selfrefine.band.score import Plan, ScoreNote, humanised

KICKS = (35, 36)
SNARES = (38, 40, 39, 37)
CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 42, 44, 46
CRASHES = (49, 57)
RIDES = (51, 59, 53)
TOMS = (50, 48, 47, 45, 43, 41)
HAND_PERCUSSION: tuple[tuple[int, ...], ...] = (
    (54,),
    (56,),
    (60, 61),
    (62, 63, 64),
    (65, 66),
    (67, 68),
    (69,),
    (70,),
    (76, 77),
)

SLOW_EIGHTH_S = 0.22

GROUPINGS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("kick",), ("snare",), ("hats",), ("percussion",)),
    (("kick", "snare"), ("hats",), ("percussion",)),
    (("kick",), ("snare", "hats"), ("percussion",)),
    (("kick", "hats"), ("snare", "percussion")),
    (("kick", "percussion"), ("snare", "hats")),
    (("kick", "snare"), ("hats", "percussion")),
    (("kick", "snare", "hats"), ("percussion",)),
)


def write_drums(
    plan: Plan, rng: np.random.Generator, timing_s: float, busyness: float
) -> list[tuple[str, tuple[ScoreNote, ...]]]:
    """Writes 2 to 4 named tracks. The song decides which pieces of the kit share a track.

    `timing_s` is the standard deviation of the timing in s, and `busyness` is in 0-1.
    """
    pieces = {
        "kick": _kick(plan, rng),
        "snare": _snare(plan, rng, busyness),
        "hats": _hats(plan, rng, busyness),
        "percussion": _percussion(plan, rng, busyness),
    }
    for bar in _fill_bars(plan):
        if rng.random() < 0.8:
            _play_fill(plan, rng, bar, pieces)
    grouping = GROUPINGS[rng.integers(len(GROUPINGS))]
    tracks = []
    for group in grouping:
        notes = [note for piece in group for note in pieces[piece]]
        tracks.append((" & ".join(group), humanised(notes, rng, timing_s, 7.0)))
    return tracks


def kick_steps(plan: Plan) -> list[int]:
    """The steps of a bar on which the groove has a kick, for the bass line."""
    return [s for s, mark in enumerate(plan.groove.kick) if mark != "."]


def _bars(plan: Plan) -> range:
    return range(plan.steps // plan.bar_steps)


def _fill_bars(plan: Plan) -> list[int]:
    every = [s.first_bar + s.bars - 1 for s in plan.sections]
    halfway = [s.first_bar + s.bars // 2 - 1 for s in plan.sections if s.bars >= 4]
    return sorted(every + halfway)


def _kick(plan: Plan, rng: np.random.Generator) -> list[ScoreNote]:
    key = int(rng.choice(KICKS))
    extra = float(rng.uniform(0.0, 0.12))
    notes = []
    for bar in _bars(plan):
        loud = 92 + 20 * plan.section_at(bar).energy
        for step, mark in enumerate(plan.groove.kick):
            added = mark == "." and step % 2 == 0 and rng.random() < extra
            if mark != "." or added:
                level = loud if mark == "x" else loud - 25
                notes.append(plan.note(bar * plan.bar_steps + step, 2, key, level))
    return notes


def _snare(plan: Plan, rng: np.random.Generator, busyness: float) -> list[ScoreNote]:
    key = int(rng.choice(SNARES, p=(0.4, 0.3, 0.2, 0.1)))
    layered = rng.random() < 0.3
    ghosts = busyness * float(rng.uniform(0.0, 0.25))
    notes = []
    for bar in _bars(plan):
        loud = 88 + 22 * plan.section_at(bar).energy
        for step, mark in enumerate(plan.groove.snare):
            at = bar * plan.bar_steps + step
            if mark == "x":
                notes.append(plan.note(at, 2, key, loud))
                if layered:
                    notes.append(plan.note(at, 2, 39, loud - 12))
            elif mark == "-" or rng.random() < ghosts:
                notes.append(plan.note(at, 1, key, 45 + 15 * rng.random()))
    return notes


def _hats(plan: Plan, rng: np.random.Generator, busyness: float) -> list[ScoreNote]:
    """Hats in the verse, often the ride in the chorus, and a crash at the start of a section."""
    ride = int(rng.choice(RIDES)) if rng.random() < 0.4 else CLOSED_HAT
    crash = int(rng.choice(CRASHES))
    # With slow eighths the drums would be silent for too long, so the hats play sixteenths.
    slow = 2 * plan.step_s > SLOW_EIGHTH_S
    every = 1 if rng.random() < 0.6 * busyness or slow else 2
    notes = []
    for bar in _bars(plan):
        section = plan.section_at(bar)
        key = ride if section.energy > 0.7 else CLOSED_HAT
        first = bar * plan.bar_steps
        if bar == section.first_bar or (section.energy > 0.85 and rng.random() < 0.08):
            notes.append(plan.note(first, 8, crash, 84))
        for step, mark in enumerate(plan.groove.hats):
            if mark == "." and not (every == 1 and rng.random() < 0.8):
                continue
            accent = 30 if step % 4 == 0 else 15 if mark == "x" else 0
            struck = OPEN_HAT if mark == "o" else key
            notes.append(plan.note(first + step, 1, struck, 38 + accent + 12 * section.energy))
    return notes


def _percussion(plan: Plan, rng: np.random.Generator, busyness: float) -> list[ScoreNote]:
    """A figure of one or two bars on hand percussion or toms, repeated through the song."""
    keys = HAND_PERCUSSION[rng.integers(len(HAND_PERCUSSION))]
    if rng.random() < 0.25:
        keys = TOMS[int(rng.integers(3)) :][:3]
    length = plan.bar_steps * int(rng.integers(1, 3))
    density = 0.45 + 0.5 * busyness * rng.random()
    figure = [
        (step, int(rng.choice(keys)), 60 + 35 * rng.random())
        for step in range(length)
        if step % 4 == 0 or rng.random() < (density if step % 2 == 0 else density * 0.6)
    ]
    notes = []
    for first in range(0, plan.steps, length):
        for step, key, level in figure:
            notes.append(plan.note(first + step, 1, key, level))
    return notes


def _play_fill(
    plan: Plan, rng: np.random.Generator, bar: int, pieces: dict[str, list[ScoreNote]]
) -> None:
    """Replaces the hats in the last steps of a bar by a run down the toms or a snare roll."""
    steps = int(rng.choice((4, 6, 8)))
    first = (bar + 1) * plan.bar_steps - steps
    begin, end = plan.seconds_at(first) - 0.01, plan.seconds_at(first + steps) - 0.01
    pieces["hats"] = [n for n in pieces["hats"] if not begin <= n.start < end]
    rolling = rng.random() < 0.4
    snare = pieces["snare"][0].pitch if pieces["snare"] else SNARES[0]
    for step in range(0, steps, 1 if rng.random() < 0.6 else 2):
        tom = TOMS[step * len(TOMS) // steps]
        level = 65 + 35 * step / steps
        key = snare if rolling else tom
        pieces["snare"].append(plan.note(first + step, 1, key, level))
