"""Composes a song: draws the plan, the players and their sounds, and writes each part."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from selfrefine.band import parts_vocals
from selfrefine.band.domain import Domain, Instrument, Kit, NoiseSweep, Singer
from selfrefine.band.domains import DOMAIN_BY_NAME
from selfrefine.band.drum_machine import DrumMachine, DrumMachineRange, draw_drum_machine
from selfrefine.band.parts_bass import doubled, write_bass
from selfrefine.band.parts_drums import write_drums
from selfrefine.band.parts_vocals import SungLine
from selfrefine.band.sampler import DrumKit, Program
from selfrefine.band.score import Plan, ScoreNote, draw_plan, humanised
from selfrefine.band.singing import Delivery
from selfrefine.band.synth import Patch, PatchRange, draw_patch
from selfrefine.band.voice import syllables

KIT_RING = (0.9, 2.4)
BREAKS = 0.08
EARLY_S = 0.03  # how much before the end of a break a note may start
DARK_LOWEST = 36
DARK_SPAN = 22


Sound = Program | Patch | DrumKit | DrumMachine | NoiseSweep


@dataclass(frozen=True)
class InstrumentPart:
    """One instrument track: its drawn sound and its notes."""

    name: str
    stem: str
    sound: Sound
    notes: tuple[ScoreNote, ...]


@dataclass(frozen=True)
class VocalPart:
    """One voice track."""

    name: str
    singer: Singer
    delivery: Delivery
    lines: tuple[SungLine, ...]


@dataclass(frozen=True)
class Song:
    """A composed song, without audio."""

    plan: Plan
    drums: tuple[InstrumentPart, ...]
    bass: tuple[InstrumentPart, ...]
    other: tuple[InstrumentPart, ...]
    vocals: tuple[VocalPart, ...]


def stream(domain: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    """The random generator of one purpose in a song. Purposes do not affect each other's draws."""
    return np.random.default_rng(
        [seed, index, *(zlib.crc32(w.encode()) for w in (domain, purpose))]
    )


def compose(domain: str, seed: int, index: int, seconds: float) -> Song:
    """Composes the song (domain, seed, index) with a length of at least `seconds` s."""
    d = DOMAIN_BY_NAME[domain]
    plan = draw_plan(
        stream(domain, seed, index, "plan"),
        seconds,
        tempo=d.tempo,
        swing=d.swing,
        swung=d.swung,
        grooves=d.grooves,
        scales=d.scales,
        progressions=d.progressions,
        sevenths=d.sevenths,
    )
    return Song(
        plan,
        _drums(d, plan, stream(domain, seed, index, "drums")),
        _bass(d, plan, stream(domain, seed, index, "bass")),
        _other(d, plan, stream(domain, seed, index, "other")),
        _vocals(d, plan, stream(domain, seed, index, "vocals")),
    )


def _drums(d: Domain, plan: Plan, rng: np.random.Generator) -> tuple[InstrumentPart, ...]:
    kit = d.kits[rng.integers(len(d.kits))]
    sound = _drawn_sound(d, kit, rng)
    tracks = write_drums(plan, rng, rng.uniform(*d.timing_s), rng.uniform(*d.busyness))
    breaks = draw_breaks(plan, rng)
    return tuple(
        InstrumentPart(f"{kit.name}: {name}", "drums", sound, with_breaks(notes, breaks))
        for name, notes in tracks
    )


def _bass(d: Domain, plan: Plan, rng: np.random.Generator) -> tuple[InstrumentPart, ...]:
    count = 2 if rng.random() < d.second_bass else 1
    picked = [d.basses[k] for k in rng.permutation(len(d.basses))[:count]]
    main = picked[0]
    notes = write_bass(
        plan,
        rng,
        low=main.low,
        high=main.high,
        figures=d.bass_figures,
        timing_s=rng.uniform(*d.timing_s),
    )
    notes = with_breaks(notes, draw_breaks(plan, rng))
    parts = [InstrumentPart(main.name, "bass", _drawn_sound(d, main, rng), notes)]
    for second in picked[1:]:
        octaves = int(rng.choice((0, 1)))
        sound = _drawn_sound(d, second, rng)
        parts.append(InstrumentPart(second.name, "bass", sound, doubled(notes, octaves)))
    return tuple(parts)


def _other(d: Domain, plan: Plan, rng: np.random.Generator) -> tuple[InstrumentPart, ...]:
    count = int(rng.choice((2, 2, 3, 4)))
    # In some songs all of them play as low as the bass, so that register does not give the class.
    dark = rng.random() < d.dark_ensemble
    pool = [i for i in d.others if i.low <= DARK_LOWEST] if dark else d.others
    picked = [pool[k] for k in rng.permutation(len(pool))[:count]]
    breaks = draw_breaks(plan, rng)
    parts = []
    for instrument in picked:
        write = instrument.parts[rng.integers(len(instrument.parts))]
        high = min(instrument.high, instrument.low + DARK_SPAN) if dark else instrument.high
        notes = write(plan, rng, instrument.low, high)
        notes_played = humanised(notes, rng, rng.uniform(*d.timing_s), 6.0)
        notes_played = with_breaks(notes_played, breaks)
        sound = _drawn_sound(d, instrument, rng)
        parts.append(InstrumentPart(instrument.name, "other", sound, notes_played))
    return tuple(parts)


def _vocals(d: Domain, plan: Plan, rng: np.random.Generator) -> tuple[VocalPart, ...]:
    first, second = (d.singers[k] for k in rng.permutation(len(d.singers))[:2])
    words = parts_vocals.write_lead(
        plan,
        rng,
        low=first.low,
        high=first.high,
        lyrics=first.lyrics,
        syllables=lambda text: syllables(first.voice, text),
        staccato=rng.uniform(*d.staccato),
    )
    delivery = _draw_delivery(d, rng)
    parts = [VocalPart("lead vocal", first, delivery, words)]
    if rng.random() < 0.3:
        double = _draw_delivery(d, rng)
        parts.append(VocalPart("double vocal", first, double, words))
    elif rng.random() < 0.45:
        rungs = int(rng.choice((2, -2, -5)))
        sung = parts_vocals.harmonised(plan, words, rungs, first.low - 3, first.high + 4)
        parts.append(VocalPart("harmony vocal", first, _draw_delivery(d, rng), sung))
    if rng.random() < 0.5:
        backing = parts_vocals.write_backing(
            plan,
            rng,
            low=second.low,
            high=second.high,
            syllables=lambda text: syllables(second.voice, text),
        )
        parts.append(VocalPart("backing vocal", second, _draw_delivery(d, rng), backing))
    return tuple(parts)


def draw_breaks(plan: Plan, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Start and end (s) of a class's breaks. Each bar's second half is a break by chance."""
    half = plan.bar_steps / 2
    starts = [plan.seconds_at((2 * bar + 1) * half) for bar in range(plan.steps // plan.bar_steps)]
    return [(start, start + half * plan.step_s) for start in starts if rng.random() < BREAKS]


def with_breaks(
    notes: tuple[ScoreNote, ...], breaks: list[tuple[float, float]]
) -> tuple[ScoreNote, ...]:
    """Removes the notes that start in a break, and cuts the others where a break begins."""
    kept = []
    for note in notes:
        if any(start - EARLY_S <= note.start < end - EARLY_S for start, end in breaks):
            continue
        ends = [start for start, _ in breaks if note.start < start < note.start + note.duration]
        kept.append(replace(note, duration=ends[0] - note.start) if ends else note)
    return tuple(kept)


def _drawn_sound(d: Domain, player: Instrument | Kit, rng: np.random.Generator) -> Sound:
    sound = player.sound
    if isinstance(sound, Program):
        return replace(sound, borrowed=int(rng.integers(*d.borrowed)))
    if isinstance(sound, DrumKit):
        semitones = int(rng.integers(*d.kit_semitones))
        return replace(sound, semitones=semitones, ring=rng.uniform(*KIT_RING))
    if isinstance(sound, PatchRange):
        return draw_patch(sound, rng)
    if isinstance(sound, DrumMachineRange):
        return draw_drum_machine(sound, rng)
    return sound


def _draw_delivery(d: Domain, rng: np.random.Generator) -> Delivery:
    r = d.delivery
    return Delivery(
        formants=rng.uniform(*r.formants),
        breath=rng.uniform(*r.breath),
        tilt_db=rng.uniform(*r.tilt_db),
        vibrato_hz=rng.uniform(4.8, 6.4),
        vibrato_cents=rng.uniform(*r.vibrato_cents),
        vibrato_delay=rng.uniform(0.1, 0.35),
        portamento=rng.uniform(*r.portamento),
        drift_cents=rng.uniform(*r.drift_cents),
        detune_cents=rng.uniform(-8.0, 8.0),
        late=rng.uniform(-0.01, 0.025),
    )
