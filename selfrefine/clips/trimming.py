"""Making a stem set from files on disk. Silence is removed, and the places of the parts that are
kept are written down.

One stem is in memory at a time. A stem that cannot be used is skipped, with the reason.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from selfrefine.audio.silence import kept_samples
from selfrefine.clips.audibility import INAUDIBLE_DB, loudest_hop_db, loudness_words
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.clips.song_set import read_stem
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json
from selfrefine.files.layouts import SongFiles
from selfrefine.progress import Progress, noted_once
from selfrefine.settings import SilenceRemoval

Key = tuple[str, str]
"""Song and name of a stem."""


@dataclass(frozen=True)
class TrimmedStem:
    """A stem whose silence is removed. `seconds` is the length of the whole file; `stretches` are
    start and end in s of the parts that are kept."""

    song: str
    name: str
    seconds: float
    stretches: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SkippedStem:
    """A stem that cannot be used, and why."""

    song: str
    name: str
    reason: str


@dataclass(frozen=True)
class TrimmedStems:
    stems: AudioSet
    kept: dict[Key, TrimmedStem]
    skipped: dict[Key, SkippedStem]


def trim_stems(
    songs: list[SongFiles],
    folder: Path,
    sample_rate: int,
    progress: Progress,
) -> TrimmedStems:
    """Reads every stem into a stem set in `folder`; mixtures are left out. `progress` counts stems.

    Raises InputError where no stem can be used.
    """
    silence = SilenceRemoval()
    files = [(song.name, file) for song in songs for file in song.files if file.label]
    kept: list[TrimmedStem] = []
    skipped: list[SkippedStem] = []
    with AudioSetWriter(folder, sample_rate) as writer, noted_once(progress.note) as note:
        for number, (song, file) in enumerate(files):
            try:
                audio = read_stem(file, sample_rate, note)
            except InputError as error:
                skipped.append(SkippedStem(song, file.name, str(error)))
                continue
            sounding = kept_samples(audio, sample_rate, silence)
            if not sounding.any():
                skipped.append(SkippedStem(song, file.name, f"{file.path}: silent throughout"))
            elif (loudest := loudest_hop_db(audio, sample_rate)) < INAUDIBLE_DB:
                reason = f"{file.path}: {loudness_words(loudest)}"
                skipped.append(SkippedStem(song, file.name, reason))
            else:
                writer.add(song, file.name, file.label, audio[:, sounding])
                seconds = audio.shape[1] / sample_rate
                places = sounding_stretches(sounding, sample_rate)
                kept.append(TrimmedStem(song, file.name, seconds, places))
            progress.count(number + 1, len(files))
        if not kept:
            first = skipped[0].reason if skipped else "no stem"
            raise InputError(f"none of {len(files)} stems can be used; the first: {first}")
        record = {"kept": [asdict(stem) for stem in kept], "skipped": [asdict(s) for s in skipped]}
        write_json(folder / "stems.json", record)
    return open_trimmed_stems(folder)


def open_trimmed_stems(folder: Path) -> TrimmedStems:
    """Opens what `trim_stems` wrote into `folder`. Raises InputError where that is damaged."""
    stems = open_audio_set(folder)
    path = folder / "stems.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {
            (row["song"], row["name"]): TrimmedStem(
                row["song"],
                row["name"],
                float(row["seconds"]),
                tuple((float(start), float(end)) for start, end in row["stretches"]),
            )
            for row in record["kept"]
        }
        skipped = {(row["song"], row["name"]): SkippedStem(**row) for row in record["skipped"]}
        if [*kept] != [(clip.song, clip.name) for clip in stems.clips]:
            raise ValueError("it is of other stems")
        if not all(stem.stretches for stem in kept.values()):
            raise ValueError("a stem without sound")
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete {folder} and run again") from error
    return TrimmedStems(stems, kept, skipped)


def sounding_stretches(kept: np.ndarray, sample_rate: int) -> tuple[tuple[float, float], ...]:
    """Start and end in s of each run of True in `(sample,)`."""
    edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)) / sample_rate
    return tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def place_in_file(stem: TrimmedStem, trimmed_seconds: np.ndarray) -> np.ndarray:
    """The times in the whole file, `(moment,)`, of moments in the trimmed audio; both in s."""
    starts = np.array([start for start, _ in stem.stretches])
    lengths = np.array([end - start for start, end in stem.stretches])
    joined = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    index = np.clip(np.searchsorted(joined, trimmed_seconds, side="right") - 1, 0, None)
    return starts[index] + np.minimum(trimmed_seconds - joined[index], lengths[index])
