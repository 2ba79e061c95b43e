"""Makes one song: the mixed instrument tracks of (domain, seed, index)."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass

import numpy as np

from selfrefine.band.compose import InstrumentPart, Song, VocalPart, compose, stream
from selfrefine.band.domains import DOMAIN_BY_NAME
from selfrefine.band.drum_machine import DrumMachine, play_drum_machine
from selfrefine.band.mixdown import (
    PEAK_RANGE,
    PIECE_LEVEL_DB,
    STEM_MIXES,
    TRACK_LEVEL_DB,
    draw_track_effects,
    mix_stem,
    process_track,
)
from selfrefine.band.sampler import DrumKit, Program, play_kit, play_program
from selfrefine.band.singing import sing
from selfrefine.band.synth import Bounds, Patch, play_patch, play_sweep
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError

DOMAINS: tuple[str, ...] = tuple(DOMAIN_BY_NAME)
SECONDS_RANGE = (1.0, 600.0)
SAMPLE_RATE_RANGE = (8000, 96000)
EDGE_FADE_S = 0.01
PACKAGES = {
    "pretty_midi": "pretty_midi",
    "espeakng_loader": "espeakng-loader",
    "pyworld": "pyworld-prebuilt",
    "pedalboard": "pedalboard",
}


@dataclass(frozen=True)
class Track:
    """One mixed instrument track of a song.

    `stem` is its true class, one of CLASSES. `audio` is float32 `(channel=2, sample)`, with level,
    pan, tone and effects applied. A stem is the sum of its tracks, and the mixture is the sum of
    the stems.
    """

    name: str
    stem: str
    audio: np.ndarray


def play_song(domain: str, seed: int, index: int, seconds: float, sample_rate: int) -> list[Track]:
    """The tracks of the song (domain, seed, index), each of round(seconds * sample_rate) samples.

    The function is pure: the same arguments give the same samples, in any process and order of
    calls. The tracks cover all four classes. The mixture, the stems and the tracks peak at 0.98 or
    less. Raises InputError for arguments out of range, and when a package or the sound font is
    missing.
    """
    _check_packages()
    _check(domain, seed, index, seconds, sample_rate)
    samples = round(seconds * sample_rate)
    song = compose(domain, seed, index, seconds)
    ranges = DOMAIN_BY_NAME[domain].mix
    names: list[tuple[str, str]] = []
    audio: list[np.ndarray] = []
    for stem in CLASSES:
        rng = stream(domain, seed, index, f"mix {stem}")
        played = []
        for k, part in enumerate(_parts(song, stem)):
            own = stream(domain, seed, index, f"play {stem} {k}")
            dry = _perform(part, samples, sample_rate, own)
            effects = draw_track_effects(ranges, STEM_MIXES[stem], rng, sample_rate)
            played.append(
                process_track(dry, effects, ranges, _level_db(part.name), sample_rate, rng)
            )
            names.append((part.name, stem))
        audio += mix_stem(played, ranges, STEM_MIXES[stem], rng, sample_rate)
    peak = stream(domain, seed, index, "level").uniform(*PEAK_RANGE)
    fade = _edge_fade(samples, sample_rate)
    loudest = _loudest(audio, [stem for _, stem in names])
    gain = (np.float32(peak / max(loudest, 1e-9)) * fade).astype(np.float32)
    return [Track(name, stem, a * gain) for (name, stem), a in zip(names, audio, strict=True)]


def _parts(song: Song, stem: str) -> tuple[InstrumentPart | VocalPart, ...]:
    parts: dict[str, tuple[InstrumentPart | VocalPart, ...]] = {
        "vocals": song.vocals,
        "bass": song.bass,
        "drums": song.drums,
        "other": song.other,
    }
    return parts[stem]


def _level_db(part: str) -> Bounds:
    """The range of a track's level in dB. For drums, the loudest piece of the track decides."""
    for piece, level_db in PIECE_LEVEL_DB.items():
        if piece in part.partition(": ")[2]:
            return level_db
    return TRACK_LEVEL_DB


def _perform(
    part: InstrumentPart | VocalPart, samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A part's audio without effects, float32 `(channel=2, sample)`."""
    if isinstance(part, VocalPart):
        voice = part.singer.voice
        mono = sing(voice, part.lines, part.delivery, samples, sample_rate, rng)
        return np.stack([mono, mono])
    if isinstance(part.sound, Program):
        return play_program(part.sound, part.notes, samples, sample_rate)
    if isinstance(part.sound, DrumKit):
        return play_kit(part.sound, part.notes, samples, sample_rate)
    if isinstance(part.sound, Patch):
        return play_patch(part.sound, part.notes, samples, sample_rate, rng)
    if isinstance(part.sound, DrumMachine):
        return play_drum_machine(part.sound, part.notes, samples, sample_rate, rng)
    return play_sweep(part.notes, samples, sample_rate, rng)


def _loudest(audio: list[np.ndarray], stems: list[str]) -> float:
    """The highest peak among the mixture, the stems and the tracks."""
    mixture = np.zeros_like(audio[0])
    peak = 0.0
    for stem in CLASSES:
        total = np.zeros_like(mixture)
        for track, its_stem in zip(audio, stems, strict=True):
            if its_stem == stem:
                total += track
                peak = max(peak, float(np.abs(track).max()))
        mixture += total
        peak = max(peak, float(np.abs(total).max()))
    return max(peak, float(np.abs(mixture).max()))


def _edge_fade(samples: int, sample_rate: int) -> np.ndarray:
    """A gain `(sample,)` that fades in and out, so that the song starts and ends without clicks."""
    edge = min(round(EDGE_FADE_S * sample_rate), samples // 2)
    gain = np.ones(samples, dtype=np.float32)
    gain[:edge] = np.linspace(0, 1, edge, dtype=np.float32)
    gain[samples - edge :] = gain[:edge][::-1]
    return gain


def _check_packages() -> None:
    missing = [pip for module, pip in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"The embedded band needs packages: pip install {' '.join(missing)}")


def _check(domain: str, seed: int, index: int, seconds: float, sample_rate: int) -> None:
    if domain not in DOMAIN_BY_NAME:
        raise InputError(f"No domain {domain!r} in the embedded band: use one of {DOMAINS}.")
    if seed < 0 or index < 0:
        raise InputError(f"Seed and index must be 0 or more, not {seed} and {index}.")
    if not (math.isfinite(seconds) and SECONDS_RANGE[0] <= seconds <= SECONDS_RANGE[1]):
        raise InputError(f"A song of {seconds} s: use {SECONDS_RANGE[0]} to {SECONDS_RANGE[1]} s.")
    low, high = SAMPLE_RATE_RANGE
    if not low <= sample_rate <= high:
        raise InputError(f"A sample rate of {sample_rate} Hz: use {low} to {high} Hz.")
