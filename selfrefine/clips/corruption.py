"""Label noise with a known truth, made in a clean data set. Its kinds are those of the label-noise
set (SDXDB23_LabelNoise).

A song's instrument tracks are summed to four stems. Four things go wrong, each with its own
probability: two whole stems of a song are swapped (as if uploaded under each other's name), a
single track is filed under another class (a melodic kick drum taken for a bass), a stem bleeds
faintly into another one, and a few seconds of a stem move to another one (a guitar among the vocals
of a bridge). Each moves sound between the stems of a song; their sum stays the mixture.
"""

from dataclasses import dataclass, replace

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, Clip
from selfrefine.clips.truth import TRUTH_FLOOR_DB, Piece, StemTruth
from selfrefine.settings import Corruption

FADE_SECONDS = 0.01
"""Length of the fades at a stretch's ends, against clicks."""
SILENCE_DB = -60.0
"""A piece this far below its stem's mean power is silent."""


@dataclass(frozen=True)
class Gate:
    """Lets a stretch of a clip through, or with `inside` false all but the stretch. The two sum to
    the clip.

    The stretch is `seconds` long, but at most half the clip. `place` is where it lies: at 0 the
    clip begins with it, at 1 the clip ends with it. Its length is in seconds, not samples, so that
    a song is corrupted alike at every sample rate.
    """

    place: float
    seconds: float
    inside: bool

    def bounds(self, samples: int, sample_rate: int) -> tuple[int, int]:
        """The first sample of the stretch and the one after its last, in a clip of `samples`
        samples at `sample_rate` Hz."""
        length = min(round(self.seconds * sample_rate), samples // 2)
        start = round(self.place * (samples - length))
        return start, start + length


@dataclass(frozen=True)
class StemPart:
    """A part of a stem: `gain` times a track's clip, as far as every gate lets it through."""

    clip: Clip
    gain: float
    gates: tuple[Gate, ...] = ()


def draw_parts(
    tracks: list[Clip], corruption: Corruption, rng: np.random.Generator
) -> dict[str, list[StemPart]]:
    """Draws what each given stem of one song really holds. Clips carry their true class as label.

    A class to which no track is left has no entry.
    """
    filed = {clip: clip.label[0] for clip in tracks}
    for clip in tracks:
        if rng.random() < corruption.moved_tracks:
            others = [name for name in CLASSES if name != filed[clip]]
            filed[clip] = others[rng.integers(len(others))]
    if rng.random() < corruption.swapped_songs:
        first, second = (CLASSES[i] for i in rng.choice(len(CLASSES), 2, replace=False))
        renamed = {first: second, second: first}
        # Nothing is drawn at a chance of 0, so that sets made before this noise stay the same.
        if corruption.swapped_twice > 0 and rng.random() < corruption.swapped_twice:
            third, fourth = (name for name in CLASSES if name not in renamed)
            renamed |= {third: fourth, fourth: third}
        filed = {clip: renamed.get(name, name) for clip, name in filed.items()}
    stems: dict[str, list[StemPart]] = {name: [] for name in CLASSES}
    for clip, name in filed.items():
        stems[name].append(StemPart(clip, 1.0))
    held = [name for name in CLASSES if stems[name]]
    for source in [name for name in held if rng.random() < corruption.bleeding_stems]:
        others = [name for name in held if name != source]
        if not others:
            continue
        sink = others[rng.integers(len(others))]
        leak = 10 ** (rng.uniform(*corruption.bleed_db) / 20)
        own = stems[source]
        stems[source] = [StemPart(part.clip, part.gain * (1 - leak)) for part in own]
        stems[sink] = stems[sink] + [StemPart(part.clip, part.gain * leak) for part in own]
    # Nothing is drawn at a chance of 0, so that sets made before this kind of noise stay the same.
    if corruption.misfiled_stretches > 0:
        misfile_stretches(stems, corruption, rng)
    return {name: stems[name] for name in held}


def misfile_stretches(
    stems: dict[str, list[StemPart]], corruption: Corruption, rng: np.random.Generator
) -> None:
    """Moves a stretch of a stem to another stem that the song has. Each stem loses one with the
    probability `misfiled_stretches`.

    A stretch in which the stem is silent changes nothing. The truth is measured in the audio, so it
    is right then too.
    """
    held = [name for name in CLASSES if stems[name]]
    for source in [name for name in held if rng.random() < corruption.misfiled_stretches]:
        others = [name for name in held if name != source]
        if not others:
            continue
        sink = others[rng.integers(len(others))]
        stretch = Gate(rng.random(), rng.uniform(*corruption.stretch_seconds), True)
        rest = replace(stretch, inside=False)
        own = stems[source]
        stems[source] = [replace(part, gates=(*part.gates, rest)) for part in own]
        moved = [replace(part, gates=(*part.gates, stretch)) for part in own]
        stems[sink] = stems[sink] + moved


def sum_parts(tracks: AudioSet, parts: list[StemPart]) -> np.ndarray:
    """The audio of a stem that holds `parts`, `(channel=2, sample)`."""
    audio = part_audio(tracks, parts[0]) * parts[0].gain
    for part in parts[1:]:
        audio += part_audio(tracks, part) * part.gain
    return audio


def part_audio(tracks: AudioSet, part: StemPart) -> np.ndarray:
    """The clip as far as the part's gates let it through, `(channel=2, sample)`."""
    audio = tracks.audio(part.clip)
    for gate in part.gates:
        start, stop = gate.bounds(part.clip.length, tracks.sample_rate)
        half = min(round(FADE_SECONDS * tracks.sample_rate), stop - start) / 2
        edges = [start - half, start + half, stop - half, stop + half]
        let = np.interp(np.arange(part.clip.length), edges, [0.0, 1.0, 1.0, 0.0])
        audio *= let if gate.inside else 1 - let
    return audio


def stem_truth(tracks: AudioSet, song: str, given: str, parts: list[StemPart]) -> StemTruth:
    """Measures what a stem of these `parts` holds."""
    energies = [
        float(np.square(part_audio(tracks, part), dtype=np.float64).sum()) * part.gain**2
        for part in parts
    ]
    total = sum(energies) or 1.0
    shares = dict.fromkeys(CLASSES, 0.0)
    rows = []
    for part, energy in zip(parts, energies, strict=True):
        name = part.clip.label[0]
        shares[name] += energy / total
        if energy or not part.gates:
            rows.append((part.clip.name, name, energy / total))
    rows.sort(key=lambda row: -row[2])
    return StemTruth(song, given, tuple(rows), tuple(shares.values()))


def stem_pieces(tracks: AudioSet, song: str, given: str, parts: list[StemPart]) -> list[Piece]:
    """The contents of a stem from its beginning to its end, piece by piece. A class counts from
    TRUTH_FLOOR_DB of the piece's own energy up. Neighbouring pieces hold different classes."""
    samples, rate = parts[0].clip.length, tracks.sample_rate
    bounds = [gate.bounds(samples, rate) for part in parts for gate in part.gates]
    edges = np.unique([0, samples, *(edge for pair in bounds for edge in pair)])
    energies = np.zeros((len(CLASSES), len(edges) - 1))
    for part in parts:
        energies[CLASSES.index(part.clip.label[0])] += piece_energies(tracks, part, edges)
    totals = energies.sum(axis=0)
    floor = 10 ** (SILENCE_DB / 10) * totals.sum() / samples
    sounding = totals > floor * np.diff(edges)
    present = (energies >= 10 ** (TRUTH_FLOOR_DB / 10) * totals) & sounding
    pieces: list[Piece] = []
    for start, end, held in zip(edges[:-1] / rate, edges[1:] / rate, present.T, strict=True):
        label = tuple(name for name, is_held in zip(CLASSES, held, strict=True) if is_held)
        if pieces and pieces[-1].label == label:
            start = pieces.pop().start
        pieces.append(Piece(song, given, float(start), float(end), label))
    return pieces


def piece_energies(tracks: AudioSet, part: StemPart, edges: np.ndarray) -> np.ndarray:
    """The energy of a part in each piece between `edges`, `(piece,)`. Each sample at which a gate
    opens or closes is an edge. Fades are not counted: a piece in which only a fade sounds is
    silent."""
    power = np.square(tracks.audio(part.clip), dtype=np.float64).sum(axis=0)
    energies = np.add.reduceat(power, edges[:-1]) * part.gain**2
    for gate in part.gates:
        start, stop = gate.bounds(part.clip.length, tracks.sample_rate)
        inside = (edges[:-1] >= start) & (edges[:-1] < stop)
        energies[inside != gate.inside] = 0.0
    return energies
