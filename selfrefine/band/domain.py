"""What a domain consists of: pools and ranges that songs are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from selfrefine.band.drum_machine import DrumMachineRange
from selfrefine.band.mixdown import MixRange
from selfrefine.band.parts_other import PartWriter
from selfrefine.band.sampler import DrumKit, Program
from selfrefine.band.score import Groove
from selfrefine.band.synth import Bounds, PatchRange
from selfrefine.band.voice import Voice

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
PHRYGIAN = (0, 1, 3, 5, 7, 8, 10)
HARMONIC_MINOR = (0, 2, 3, 5, 7, 8, 11)


@dataclass(frozen=True)
class NoiseSweep:
    """Risers and falling noise."""


@dataclass(frozen=True)
class Instrument:
    """A sound, the range it plays in (MIDI pitches), and what it may play."""

    name: str
    sound: Program | PatchRange | NoiseSweep
    low: int
    high: int
    parts: tuple[PartWriter, ...] = ()


@dataclass(frozen=True)
class Kit:
    name: str
    sound: DrumKit | DrumMachineRange


@dataclass(frozen=True)
class Singer:
    """A voice, its range (MIDI pitches) and repertoire."""

    name: str
    voice: Voice
    low: int
    high: int
    lyrics: tuple[str, ...]


@dataclass(frozen=True)
class DeliveryRange:
    """Ranges of singing.Delivery."""

    formants: Bounds
    breath: Bounds
    tilt_db: Bounds
    vibrato_cents: Bounds
    portamento: Bounds
    drift_cents: Bounds


@dataclass(frozen=True)
class Domain:
    """Everything that songs of one domain are drawn from.

    `tempo` is in bpm; `swung` is the chance of a swung song and `swing` how far; `sevenths` the
    chance of four-note chords, `second_bass` of a second bass, `dark_ensemble` of a song whose
    other instruments all play low; `busyness` (0-1) how much the drums fill in; `timing_s` the
    spread of the players' timing; `borrowed` and `kit_semitones` as in `sampler`, from low up to
    but not including high; `staccato` (0-1) how early singers end a line.
    """

    tempo: Bounds
    swing: Bounds
    swung: float
    sevenths: float
    busyness: Bounds
    timing_s: Bounds
    scales: tuple[tuple[int, ...], ...]
    progressions: tuple[tuple[int, ...], ...]
    grooves: tuple[Groove, ...]
    kits: tuple[Kit, ...]
    borrowed: tuple[int, int]
    kit_semitones: tuple[int, int]
    basses: tuple[Instrument, ...]
    bass_figures: tuple[str, ...]
    second_bass: float
    others: tuple[Instrument, ...]
    dark_ensemble: float
    singers: tuple[Singer, ...]
    delivery: DeliveryRange
    staccato: Bounds
    mix: MixRange
