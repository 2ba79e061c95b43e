"""Writes the vocal parts (lead, harmony and backing) with one note per syllable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from selfrefine.band.lyrics import VOCALISES
from selfrefine.band.melody import draw_contour, pitches_along, shifted_in_key
from selfrefine.band.score import Plan, ScoreNote, chord_pitches, nearest

LINE_S = (2.2, 5.2)
SECONDS_PER_SYLLABLE = 0.16
RESTS = 0.08
SUNG_INTROS = 0.5
BREATH_S = (0.3, 0.9)


@dataclass(frozen=True)
class SungLine:
    """A line of text and its notes, one for each syllable."""

    text: str
    notes: tuple[ScoreNote, ...]


def write_lead(
    plan: Plan,
    rng: np.random.Generator,
    *,
    low: int,
    high: int,
    lyrics: tuple[str, ...],
    syllables: Callable[[str], int],
    staccato: float,
) -> tuple[SungLine, ...]:
    """Writes the lead: a line in most phrases. Choruses repeat their words and melodies.

    `syllables(text)` counts a line's syllables. `staccato` (0-1) shortens each line's last note.
    Half of the introductions have no singing, if they take at most half of the song. Single phrases
    are left out by chance, never two in a row.
    """
    bars = _bars_per_line(plan)
    chorus = [lyrics[k] for k in rng.permutation(len(lyrics))[:2]]
    verses = [lyrics[k] for k in rng.permutation(len(lyrics))]
    hum = VOCALISES[rng.integers(len(VOCALISES))]
    centre = (low + high) / 2
    tunes: dict[tuple[str, int], tuple[list[int], list[int]]] = {}
    lines: list[SungLine] = []
    phrase_steps = bars * plan.bar_steps
    intro_s = plan.seconds_at(plan.sections[0].bars * plan.bar_steps)
    sung_intro = rng.random() < SUNG_INTROS or intro_s > plan.seconds / 2
    resting = False
    for count, first in enumerate(range(0, plan.steps, phrase_steps)):
        section = plan.section_at(first // plan.bar_steps)
        resting = bool(lines) and not resting and rng.random() < RESTS
        if resting or (section.name == "intro" and not sung_intro):
            continue
        if section.name == "chorus":
            text = chorus[count % 2]
        elif section.name == "intro":
            text = hum
        else:
            text = verses[count % len(verses)]
        sung = syllables(text)
        key = (section.name, sung)
        if key not in tunes:
            tunes[key] = (_rhythm(plan, rng, sung, phrase_steps), draw_contour(rng, sung, 0.1))
        rhythm, moves = tunes[key]
        steps = [first + s for s in rhythm]
        lift = 3 if section.name == "chorus" else 0
        pitches = pitches_along(plan, steps, moves, centre + lift, low, high)
        breath = rng.uniform(*BREATH_S) / plan.step_s + 2 * staccato
        ends = [*steps[1:], first + phrase_steps - breath]
        notes = tuple(
            plan.note(step, end - step, pitch, 84 + 24 * section.energy)
            for step, end, pitch in zip(steps, ends, pitches, strict=True)
        )
        lines.append(SungLine(text, notes))
    return tuple(lines)


def harmonised(
    plan: Plan, lines: tuple[SungLine, ...], rungs: int, low: int, high: int
) -> tuple[SungLine, ...]:
    """The same lines moved by `rungs` scale steps, and by octaves into [low, high]."""
    out = []
    for line in lines:
        notes = []
        for note in line.notes:
            pitch = shifted_in_key(plan, note.pitch, rungs)
            while pitch > high:
                pitch -= 12
            while pitch < low:
                pitch += 12
            notes.append(ScoreNote(note.start, note.duration, pitch, note.velocity))
        out.append(SungLine(line.text, tuple(notes)))
    return tuple(out)


def write_backing(
    plan: Plan, rng: np.random.Generator, *, low: int, high: int, syllables: Callable[[str], int]
) -> tuple[SungLine, ...]:
    """Writes the backing of the choruses: long syllables on the nearest chord tones."""
    text = VOCALISES[rng.integers(len(VOCALISES))]
    sung = syllables(text)
    every = int(rng.choice((plan.bar_steps // 2, plan.bar_steps)))
    pitch = nearest(chord_pitches(plan.chord_at(0), low, high), (low + high) / 2)
    lines = []
    for first in range(0, plan.steps, every * sung):
        if plan.section_at(first // plan.bar_steps).name != "chorus":
            continue
        notes = []
        for k in range(sung):
            step = first + k * every
            pitch = nearest(chord_pitches(plan.chord_at(step), low, high), pitch)
            last = k == sung - 1
            notes.append(plan.note(step, every - (0.3 if last else 0.0), pitch, 80))
        lines.append(SungLine(text, tuple(notes)))
    return tuple(lines)


def _bars_per_line(plan: Plan) -> int:
    bar_s = plan.bar_steps * plan.step_s
    for bars in (1, 2, 4):
        if LINE_S[0] <= bars * bar_s <= LINE_S[1]:
            return bars
    return 2


def _rhythm(plan: Plan, rng: np.random.Generator, sung: int, phrase: int) -> list[int]:
    """Steps of the syllables, SECONDS_PER_SYLLABLE or more apart where the phrase allows it."""
    latest = max(sung, int(phrase * rng.uniform(0.62, 0.85)))
    grid = 2 if latest // 2 >= sung and 2 * plan.step_s < 0.4 else 1
    slots = list(range(0, latest, grid))
    if grid * plan.step_s < SECONDS_PER_SYLLABLE and latest // (2 * grid) >= sung:
        slots = slots[::2]
    # Even spacing with random deviations gives a steady rhythm with a few syncopations.
    spots = np.linspace(0, len(slots) - 1, sung) + rng.normal(0.0, 0.35, sung)
    picked = sorted({int(np.clip(round(s), 0, len(slots) - 1)) for s in spots} | {0})
    free = [k for k in range(len(slots)) if k not in picked]
    while len(picked) < sung and free:
        picked.append(free.pop(int(rng.integers(len(free)))))
    picked = sorted(picked)[:sung]
    steps = [slots[k] for k in picked]
    while len(steps) < sung:
        steps.append(min(steps[-1] + 1, phrase - 1))
    return steps
