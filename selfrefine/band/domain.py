"""The data of a domain: the pools and ranges that its songs are drawn from."""

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
    """Noise that rises or falls in pitch."""


@dataclass(frozen=True)
class Instrument:
    """A sound, its range (MIDI pitches), and the writers of parts that suit it."""

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
    """A voice, its range (MIDI pitches) and its lyrics."""

    name: str
    voice: Voice
    low: int
    high: int
    lyrics: tuple[str, ...]


@dataclass(frozen=True)
class DeliveryRange:
    """Ranges of the fields of `singing.Delivery`."""

    formants: Bounds
    breath: Bounds
    tilt_db: Bounds
    vibrato_cents: Bounds
    portamento: Bounds
    drift_cents: Bounds


@dataclass(frozen=True)
class Domain:
    """Everything that songs of one domain are drawn from.

    `tempo` is in bpm. `swung` is the probability that a song swings, and `swing` the amount (see
    `score.Plan`). `sevenths` is the probability of four-note chords, `second_bass` that of a second
    bass, `dark_ensemble` that of a song in which all instruments of "other" play low. `busyness`
    (0-1) is how many extra notes the drums play. `timing_s` is the standard deviation of the
    players' timing in s. `borrowed` and `kit_semitones` are explained in `sampler`; their ranges
    exclude the upper end. `staccato` (0-1) is how early singers end a line.
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
