"""Reads the General MIDI sound font that the `pretty_midi` package ships (SoundFont 2.04).

The band needs only the zones of a preset. A zone is a recorded sample with its ranges of keys and
velocities, tuning, level, pan and volume envelope. Modulators, LFOs and filters are not read (the
filters are closed at rest, and would need envelopes of their own).

No library plays the sound font, because songs must be pure functions of their seed. symusic 0.5.8
is fast, but it reads past the ends of some looped samples, shares a cache between presets, and
ignores decays.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from selfrefine.errors import InputError

SOUND_FONT = "TimGM6mb.sf2"
DRUM_BANK = 128

# Generators (SoundFont 2.04, section 8.1.2) and their defaults. Times are in timecents.
_START, _END, _LOOP_START, _LOOP_END = 0, 1, 2, 3
_START_COARSE, _END_COARSE, _LOOP_START_COARSE, _LOOP_END_COARSE = 4, 12, 45, 50
_PAN = 17
_ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = 34, 35, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _ATTENUATION = 41, 43, 44, 48
_COARSE_TUNE, _FINE_TUNE, _SAMPLE, _MODES, _SCALE, _ROOT = 51, 52, 53, 54, 56, 58
_DEFAULTS = {
    _ATTACK: -12000,
    _HOLD: -12000,
    _DECAY: -12000,
    _RELEASE: -12000,
    _SCALE: 100,
    _ROOT: -1,
}
# Preset generators are added to the instrument's (section 9.4), except those that are references,
# ranges or modes.
_NOT_ADDED = frozenset((_INSTRUMENT, _KEYS, _VELOCITIES, _SAMPLE, _MODES, _ROOT))
# All synthesizers scale attenuations by 0.4, as the hardware of the format's authors did.
_ATTENUATION_SHARE = 0.4


@dataclass(frozen=True)
class Zone:
    """One sample of a preset and how it is played.

    Ranges of keys and velocities are inclusive. `start`, `end`, `loop_start` and `loop_end` index
    the font's samples. `loops` says whether a held note repeats the loop. `root` is the key
    (fractional) at which the sample, recorded at `rate` Hz, has its recorded pitch. `tracking` is
    how far the pitch follows the keys (1: by semitones, 0: not at all). `gain` is linear; `pan` is
    -0.5 to 0.5.

    The envelope rises for `attack` s, stays for `hold` s, and falls by 100 dB per `decay` s to
    `sustain_db` below the peak. After the note's end it falls by 100 dB per `release` s.
    """

    keys: tuple[int, int]
    velocities: tuple[int, int]
    start: int
    end: int
    loop_start: int
    loop_end: int
    loops: bool
    root: float
    tracking: float
    rate: int
    gain: float
    pan: float
    attack: float
    hold: float
    decay: float
    sustain_db: float
    release: float


@dataclass(frozen=True)
class _Font:
    samples: np.ndarray
    presets: dict[tuple[int, int], tuple[Zone, ...]]


def zones(bank: int, program: int) -> tuple[Zone, ...]:
    """The zones of a preset. Bank 0 has the General MIDI programs, and DRUM_BANK the drum kits.

    Raises InputError when the sound font is missing or has no such preset.
    """
    presets = _font().presets
    if (bank, program) not in presets:
        raise InputError(f"{sound_font_path()} has no preset {program} in bank {bank}.")
    return presets[bank, program]


def recording(zone: Zone) -> np.ndarray:
    """The zone's sample, float32 `(sample,)` in -1 to 1. A looped one ends at its loop's end."""
    end = zone.loop_end if zone.loops else zone.end
    return _font().samples[zone.start : end].astype(np.float32) / np.float32(32768)


def sound_font_path() -> Path:
    """The path of the sound font. Raises InputError when it is missing."""
    # An import of the package would be slow.
    spec = importlib.util.find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise InputError("The embedded band needs pretty_midi for its sound font: install it.")
    path = Path(spec.origin).parent / SOUND_FONT
    if not path.is_file():
        raise InputError(f"{path} is missing: reinstall pretty_midi, which ships this sound font.")
    return path


@lru_cache(maxsize=1)
def _font() -> _Font:
    path = sound_font_path()
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise InputError(f"{path} is no SoundFont 2 file: reinstall pretty_midi.")
    chunks = _chunks(data, 12)
    samples = np.frombuffer(chunks["smpl"], dtype="<i2")
    headers = _records(chunks["phdr"], "<20sHHHIII")
    presets: dict[tuple[int, int], tuple[Zone, ...]] = {}
    for header, following in itertools.pairwise(headers):
        _, program, bank, first, *_ = header
        presets[bank, program] = tuple(_preset_zones(chunks, first, following[3]))
    return _Font(samples, presets)


def _chunks(data: bytes, offset: int) -> dict[str, bytes]:
    """All leaf chunks of a RIFF file by name. Names are unique in a sound font."""
    found: dict[str, bytes] = {}
    while offset + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        body = data[offset + 8 : offset + 8 + size]
        if name == b"LIST":
            found |= _chunks(body, 4)
        else:
            found[name.decode("latin-1")] = body
        offset += 8 + size + size % 2
    return found


def _records(chunk: bytes, layout: str) -> list[tuple]:
    return list(struct.iter_unpack(layout, chunk))


def _generators(chunks: dict[str, bytes], kind: str, first: int, last: int) -> list[dict[int, int]]:
    """The generators of the bags [first, last) of presets (kind "p") or instruments ("i")."""
    bags = _records(chunks[f"{kind}bag"][4 * first : 4 * (last + 1)], "<HH")
    out = []
    for (begin, _), (end, _) in itertools.pairwise(bags):
        out.append(dict(_records(chunks[f"{kind}gen"][4 * begin : 4 * end], "<Hh")))
    return out


def _preset_zones(chunks: dict[str, bytes], first: int, last: int) -> list[Zone]:
    out = []
    common: dict[int, int] = {}
    for own in _generators(chunks, "p", first, last):
        if _INSTRUMENT not in own:
            common = own
            continue
        above = common | own
        offset = 22 * own[_INSTRUMENT]
        (_, begin), (_, end) = _records(chunks["inst"][offset : offset + 44], "<20sH")
        shared: dict[int, int] = {}
        for inner in _generators(chunks, "i", begin, end):
            if _SAMPLE not in inner:
                shared = inner
                continue
            zone = _zone(chunks, above, _DEFAULTS | shared | inner)
            if zone is not None:
                out.append(zone)
    return out


def _zone(chunks: dict[str, bytes], above: dict[int, int], own: dict[int, int]) -> Zone | None:
    keys = _overlap(_span(own.get(_KEYS)), _span(above.get(_KEYS)))
    velocities = _overlap(_span(own.get(_VELOCITIES)), _span(above.get(_VELOCITIES)))
    if keys is None or velocities is None:
        return None
    g = own | {
        k: own.get(k, _DEFAULTS.get(k, 0)) + v for k, v in above.items() if k not in _NOT_ADDED
    }
    header = struct.unpack_from("<20sIIIIIBbHH", chunks["shdr"], 46 * own[_SAMPLE])
    _, start, end, loop_start, loop_end, rate, pitch, correction, _, _ = header
    start += g.get(_START, 0) + 32768 * g.get(_START_COARSE, 0)
    end += g.get(_END, 0) + 32768 * g.get(_END_COARSE, 0)
    loop_start += g.get(_LOOP_START, 0) + 32768 * g.get(_LOOP_START_COARSE, 0)
    loop_end += g.get(_LOOP_END, 0) + 32768 * g.get(_LOOP_END_COARSE, 0)
    loops = g.get(_MODES, 0) & 1 == 1 and start <= loop_start < loop_end <= end
    root = g[_ROOT] if g[_ROOT] >= 0 else pitch
    cents = correction + g.get(_FINE_TUNE, 0) + 100 * g.get(_COARSE_TUNE, 0)
    return Zone(
        keys=keys,
        velocities=velocities,
        start=start,
        end=end,
        loop_start=loop_start,
        loop_end=loop_end,
        loops=loops,
        root=root - cents / 100,
        tracking=g[_SCALE] / 100,
        rate=rate,
        gain=10 ** (-_ATTENUATION_SHARE * max(0, g.get(_ATTENUATION, 0)) / 200),
        pan=float(np.clip(g.get(_PAN, 0) / 1000, -0.5, 0.5)),
        attack=2 ** (g[_ATTACK] / 1200),
        hold=2 ** (g[_HOLD] / 1200),
        decay=2 ** (g[_DECAY] / 1200),
        sustain_db=float(np.clip(g.get(_SUSTAIN, 0) / 10, 0, 100)),
        release=2 ** (g[_RELEASE] / 1200),
    )


def _span(amount: int | None) -> tuple[int, int]:
    """The low and high end of a range generator, in its two bytes."""
    if amount is None:
        return 0, 127
    return amount & 0xFF, (amount >> 8) & 0xFF


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int] | None:
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else None
