"""Label noise with a known truth: what happened to the label-noise set, done to a clean one.

A song's instrument tracks are filed under four stems. Three things go wrong, each with its rate:
two whole stems of a song are swapped (a stem uploaded under another's name), a single track is
filed under another class (a melodic kick drum taken for a bass), and a stem bleeds faintly into
another. Each moves sound between the stems of a song and makes none: the stems still sum to the
mixture.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.data.audio_set import AudioSet, Clip
from selfrefine.settings import Corruption


@dataclass(frozen=True)
class Part:
    """A share of a track inside a stem: `gain` times the clip."""

    clip: Clip
    gain: float


def draw_parts(
    tracks: list[Clip], corruption: Corruption, rng: np.random.Generator
) -> dict[str, list[Part]]:
    """What each given stem of one song really holds. Clips carry their true class as label.

    A class in which nothing is left has no entry.
    """
    filed = {clip: clip.label[0] for clip in tracks}
    for clip in tracks:
        if rng.random() < corruption.moved_tracks:
            others = [name for name in CLASSES if name != filed[clip]]
            filed[clip] = others[rng.integers(len(others))]
    if rng.random() < corruption.swapped_songs:
        first, second = (CLASSES[i] for i in rng.choice(len(CLASSES), 2, replace=False))
        renamed = {first: second, second: first}
        filed = {clip: renamed.get(name, name) for clip, name in filed.items()}
    stems: dict[str, list[Part]] = {name: [] for name in CLASSES}
    for clip, name in filed.items():
        stems[name].append(Part(clip, 1.0))
    held = [name for name in CLASSES if stems[name]]
    for source in [name for name in held if rng.random() < corruption.bleeding_stems]:
        others = [name for name in held if name != source]
        if not others:
            continue
        sink = others[rng.integers(len(others))]
        leak = 10 ** (rng.uniform(*corruption.bleed_db) / 20)
        own = stems[source]
        stems[source] = [Part(part.clip, part.gain * (1 - leak)) for part in own]
        stems[sink] = stems[sink] + [Part(part.clip, part.gain * leak) for part in own]
    return {name: stems[name] for name in held}


def sum_parts(tracks: AudioSet, parts: list[Part]) -> np.ndarray:
    """The stem's audio, `(channel=2, sample)`."""
    audio = tracks.audio(parts[0].clip) * parts[0].gain
    for part in parts[1:]:
        audio += tracks.audio(part.clip) * part.gain
    return audio


@dataclass(frozen=True)
class StemTruth:
    """What a stem file really holds.

    `energy_share` is per class, in CLASSES' order, the energy of its tracks over the sum of all
    tracks' energies; `tracks` says each track's name, class and own share.
    """

    song: str
    given: str
    tracks: tuple[tuple[str, str, float], ...]
    energy_share: tuple[float, ...]

    def label(self, floor_db: float) -> tuple[str, ...]:
        """The classes at `floor_db` or more, relative to the whole stem's energy."""
        floor = 10 ** (floor_db / 10)
        shares = zip(CLASSES, self.energy_share, strict=True)
        return tuple(name for name, share in shares if share >= floor)


TRUTH_FLOOR_DB = -20.0
"""Where a class counts as present in a stem: above bleed, below a track that is filed wrongly."""


def stem_truth(tracks: AudioSet, song: str, given: str, parts: list[Part]) -> StemTruth:
    """Measures what `parts` make of a stem."""
    energies = [
        float(np.square(tracks.audio(part.clip), dtype=np.float64).sum()) * part.gain**2
        for part in parts
    ]
    total = sum(energies) or 1.0
    shares = dict.fromkeys(CLASSES, 0.0)
    rows = []
    for part, energy in zip(parts, energies, strict=True):
        name = part.clip.label[0]
        shares[name] += energy / total
        rows.append((part.clip.name, name, energy / total))
    rows.sort(key=lambda row: -row[2])
    return StemTruth(song, given, tuple(rows), tuple(shares.values()))


def write_truth(path: Path, truths: list[StemTruth]) -> None:
    """The manifest beside a corrupted set: one row per stem file."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["song", "given", "true_label", *[f"{c}_energy" for c in CLASSES], "tracks"])
        for truth in truths:
            tracks = "; ".join(f"{name} [{stem}] {share:.4f}" for name, stem, share in truth.tracks)
            label = "+".join(truth.label(TRUTH_FLOOR_DB))
            shares = [f"{share:.6f}" for share in truth.energy_share]
            rows.writerow([truth.song, truth.given, label, *shares, tracks])
    os.replace(partial, path)


def read_truth(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """True label set by (song, given label), from `write_truth`'s file."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {
            (row["song"], row["given"]): tuple(row["true_label"].split("+"))
            for row in csv.DictReader(file)
        }
