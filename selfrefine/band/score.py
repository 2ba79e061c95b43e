"""The plan of a song (tempo, key, chords and form), and the notes of its parts.

Time is counted in steps of a sixteenth note. `Plan.seconds_at` converts a step into seconds and
applies the swing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

STEPS_PER_BEAT = 4
SHORT_SONG_S = 60.0
EXCERPT_S = 20.0


@dataclass(frozen=True)
class ScoreNote:
    """One note: start and duration in s, MIDI pitch or drum key, velocity 1-127."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Chord:
    """A chord as pitch classes 0-11, with the root first."""

    tones: tuple[int, ...]


@dataclass(frozen=True)
class Section:
    """Consecutive bars under a name. Sections of the same name share their chords and motifs.

    `energy` (0-1) is how loud the section is played.
    """

    name: str
    first_bar: int
    bars: int
    energy: float


@dataclass(frozen=True)
class Groove:
    """One bar of drums in sixteenths: `x` a stroke, `-` a soft one, `o` an open hat, `.` nothing.

    The length of the strings is the bar's length in steps: 16 in 4/4, 12 in 3/4 or 6/8.
    """

    name: str
    kick: str
    snare: str
    hats: str


@dataclass(frozen=True)
class Plan:
    """The plan that all parts of one song share.

    `swing` is the delay of each beat's second eighth, as a share of an eighth. `tonic` is a pitch
    class and `scale` its intervals in semitones. `chords` has one entry per half bar.
    """

    seconds: float
    bpm: float
    swing: float
    groove: Groove
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[Chord, ...]
    sections: tuple[Section, ...]

    @property
    def bar_steps(self) -> int:
        return len(self.groove.kick)

    @property
    def steps(self) -> int:
        last = self.sections[-1]
        return (last.first_bar + last.bars) * self.bar_steps

    @property
    def step_s(self) -> float:
        return 60.0 / self.bpm / STEPS_PER_BEAT

    def seconds_at(self, step: float) -> float:
        """Start of a step in s. Swing delays the second eighth of a beat, and its sixteenths."""
        beat, within = divmod(step, STEPS_PER_BEAT)
        half = STEPS_PER_BEAT / 2
        turn = half * (1 + self.swing)
        if within <= half:
            bent = within * turn / half
        else:
            bent = turn + (within - half) * (STEPS_PER_BEAT - turn) / half
        return (beat * STEPS_PER_BEAT + bent) * self.step_s

    def chord_at(self, step: float) -> Chord:
        """The chord at a step. Chords change at most every half bar."""
        half_bar = min(int(step) // (self.bar_steps // 2), len(self.chords) - 1)
        return self.chords[half_bar]

    def section_at(self, bar: int) -> Section:
        return next(s for s in self.sections if bar < s.first_bar + s.bars)

    def note(self, step: float, steps: float, pitch: int, velocity: float) -> ScoreNote:
        start = self.seconds_at(step)
        end = self.seconds_at(step + steps)
        return ScoreNote(start, max(end - start, 0.03), int(pitch), int(np.clip(velocity, 1, 127)))

    def scale_pitches(self, low: int, high: int) -> list[int]:
        """All MIDI pitches of the key within [low, high], ascending."""
        degrees = {(self.tonic + s) % 12 for s in self.scale}
        return [p for p in range(low, high + 1) if p % 12 in degrees]


def chord_pitches(chord: Chord, low: int, high: int) -> list[int]:
    """All MIDI pitches of the chord within [low, high], ascending."""
    return [p for p in range(low, high + 1) if p % 12 in chord.tones]


def nearest(pitches: Iterable[int], target: float) -> int:
    """The pitch closest to a target; the lower one if two are equally close."""
    return min(pitches, key=lambda p: (abs(p - target), p))


def humanised(
    notes: Iterable[ScoreNote], rng: np.random.Generator, timing_s: float, velocity: float
) -> tuple[ScoreNote, ...]:
    """Adds normal deviations to the notes' starts and velocities, as in human playing.

    `timing_s` (s) and `velocity` are the standard deviations. The notes are sorted by start.
    """
    out = []
    for note in sorted(notes, key=lambda n: (n.start, n.pitch)):
        start = max(0.0, note.start + float(rng.normal(0.0, timing_s)))
        level = int(np.clip(round(note.velocity + rng.normal(0.0, velocity)), 12, 127))
        out.append(ScoreNote(start, note.duration, note.pitch, level))
    return tuple(out)


def draw_plan(
    rng: np.random.Generator,
    seconds: float,
    *,
    tempo: tuple[float, float],
    swing: tuple[float, float],
    swung: float,
    grooves: tuple[Groove, ...],
    scales: tuple[tuple[int, ...], ...],
    progressions: tuple[tuple[int, ...], ...],
    sevenths: float,
) -> Plan:
    """Draws tempo (bpm), groove, key, form and chords of a song of at least `seconds` s.

    `swung` is the probability that the song swings, `sevenths` that of four-note chords.
    """
    bpm = float(rng.uniform(*tempo))
    groove = grooves[rng.integers(len(grooves))]
    bar_s = len(groove.kick) * 60.0 / bpm / STEPS_PER_BEAT
    sections = _form(rng, seconds, bar_s)
    scale = scales[rng.integers(len(scales))]
    tonic = int(rng.integers(12))
    tones = 4 if rng.random() < sevenths else 3
    chords = _chords(rng, sections, scale, tonic, progressions, tones)
    swing_share = float(rng.uniform(*swing)) if rng.random() < swung else 0.0
    return Plan(seconds, bpm, swing_share, groove, tonic, scale, chords, sections)


def _form(rng: np.random.Generator, seconds: float, bar_s: float) -> tuple[Section, ...]:
    unit = 4 if seconds < SHORT_SONG_S else 8
    body = (("verse", 0.5), ("chorus", 0.9), ("verse", 0.55), ("chorus", 0.95), ("bridge", 0.4))
    # A song shorter than EXCERPT_S stands for an excerpt, which may begin after the intro.
    intro = seconds >= EXCERPT_S or rng.random() < 0.4
    sections = [Section("intro", 0, unit // 2, 0.35)] if intro else []
    turn = int(rng.integers(2))
    # There is one bar more than needed, so that no part ends before the song is cut.
    first = unit // 2 if intro else 0
    while (first - 1) * bar_s < seconds:
        name, energy = body[turn % len(body)]
        bars = unit // 2 if name == "bridge" else unit
        sections.append(Section(name, first, bars, energy))
        first += bars
        turn += 1
    return tuple(sections)


def _chords(
    rng: np.random.Generator,
    sections: tuple[Section, ...],
    scale: tuple[int, ...],
    tonic: int,
    progressions: tuple[tuple[int, ...], ...],
    tones: int,
) -> tuple[Chord, ...]:
    """Two chords per bar. Both are the same where a progression changes once per bar."""
    by_name = {}
    for name in ("verse", "chorus", "bridge"):
        degrees = progressions[rng.integers(len(progressions))]
        half_bars = 1 if rng.random() < 0.2 else 2
        by_name[name] = [d for d in degrees for _ in range(half_bars)]
    by_name["intro"] = by_name["verse"]
    out = []
    for section in sections:
        loop = by_name[section.name]
        out += [_chord(loop[k % len(loop)], scale, tonic, tones) for k in range(2 * section.bars)]
    return tuple(out)


def _chord(degree: int, scale: tuple[int, ...], tonic: int, tones: int) -> Chord:
    """Thirds within the key, stacked on a scale degree (0 is the tonic)."""
    return Chord(tuple((tonic + scale[(degree + 2 * k) % len(scale)]) % 12 for k in range(tones)))
