"""A set of decoded clips: 16-bit samples in one memory-mapped file, and an index.

There are two kinds. In a *song set* the clips of a song are its tracks or stems, equally long and
aligned. In a *stem set* each clip is one stem file with its silence removed; training draws from
it.
"""

import dataclasses
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from selfrefine.classes import CLASSES, Labels, LabelSet
from selfrefine.errors import InputError
from selfrefine.files.atomic import on_disk, write_text

FORMAT = 1

QUIET = 1e-3
"""A signal with a lower peak is scaled up to full scale, which is 1. At this peak, -60 dBFS, a sine
still has an SNR of 38 dB in 16 bits. Louder signals are stored as they are."""
QUIETEST = 1e-6
"""Signals are scaled up as if they had at least this peak."""

BYTES_AT_ONCE = 2**24
"""How much is read at once for a checksum."""


@dataclass(frozen=True)
class Clip:
    """One stereo signal of a set. `start` and `length` are in samples.

    `label` is its label set: usually one class as given, and any number after relabelling; a
    mixture has none. The stored samples, read as -1 to 1, are multiplied by `scale`. It is the peak
    of a signal that 16 bits would clip or spoil, and 1 for all others.
    """

    song: str
    name: str
    label: LabelSet
    start: int
    length: int
    scale: float = 1.0


@dataclass(frozen=True)
class AudioSet:
    """Clips and their samples.

    `without_loss` are the songs and names of clips whose labels are doubtful. A separator hears
    them in mixtures, and is not compared with them. `draw_shares` are by song and name too: how
    often a second of a clip is drawn, where that is not 1 as for all others.
    """

    sample_rate: int
    clips: tuple[Clip, ...]
    samples: np.ndarray
    """int16 `(sample, channel=2)`, memory-mapped."""
    without_loss: frozenset[tuple[str, str]] = frozenset()
    draw_shares: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def audio(self, clip: Clip) -> np.ndarray:
        """A clip as float32 `(channel=2, sample)`."""
        stored = self.samples[clip.start : clip.start + clip.length]
        return stored.T.astype(np.float32) * (clip.scale / 32767)

    def seconds(self, clip: Clip) -> float:
        return clip.length / self.sample_rate


def by_song(audio_set: AudioSet) -> dict[str, list[Clip]]:
    """The clips of each song. Songs and clips are in the set's order."""
    songs: dict[str, list[Clip]] = {}
    for clip in audio_set.clips:
        songs.setdefault(clip.song, []).append(clip)
    return songs


def with_labels(audio_set: AudioSet, labels: Labels) -> AudioSet:
    """The same audio under other labels. A clip whose new label set is empty is left out.

    Raises InputError for a clip that `labels` lacks.
    """
    relabelled = []
    for clip in audio_set.clips:
        if (clip.song, clip.name) not in labels:
            raise InputError(f"no label for {clip.song}/{clip.name}; relabel the whole set again")
        label = labels[clip.song, clip.name]
        if label:
            relabelled.append(dataclasses.replace(clip, label=label))
    return dataclasses.replace(audio_set, clips=tuple(relabelled))


class AudioSetWriter:
    """Writes a set into a folder, clip by clip. The index is written last, so that a folder with
    an index is complete."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder = folder
        self.sample_rate = sample_rate
        self.clips: list[Clip] = []
        self.written = 0
        self.checksum = 0
        with self.named_errors():
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / "audio.i16").open("wb")

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Raises InputError, with the folder, for an OSError in the block."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.folder}: the decoded audio cannot be written ({error.strerror}); free "
                "space on the disk, delete what is in the way, or choose another folder"
            ) from error

    def add(self, song: str, name: str, label: LabelSet, audio: np.ndarray) -> Clip:
        """Appends a clip of `audio` `(channel=2, sample)`. Raises InputError where the disk does
        not take it."""
        scale = stored_scale(float(np.abs(audio).max(initial=0.0)))
        stored = np.rint(audio.T * (32767 / scale)).astype("<i2").tobytes()
        self.checksum = zlib.crc32(stored, self.checksum)
        with self.named_errors():
            self.file.write(stored)
        clip = Clip(song, name, label, self.written, audio.shape[1], scale)
        self.clips.append(clip)
        self.written += clip.length
        return clip

    def grow_to(self, samples: int) -> None:
        """Extends the file with zeros to `samples` samples per channel, unless it has as many. The
        zeros take no room on the disk."""
        self.written = max(self.written, samples)
        self.file.truncate(self.written * 4)

    def __enter__(self) -> "AudioSetWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # A full disk can refuse what is left of the samples once more.
            with suppress(OSError):
                self.file.close()
            return
        with self.named_errors():
            self.file.close()
            on_disk(self.folder / "audio.i16")
        index = {
            "format": FORMAT,
            "sample_rate": self.sample_rate,
            "samples": self.written,
            "crc32": self.checksum,
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
        }
        with self.named_errors():
            write_text(self.folder / "index.json", json.dumps(index, indent=1))


def stored_scale(peak: float) -> float:
    """The scale of a signal with this peak."""
    return max(peak, QUIETEST) if 0 < peak < QUIET else max(1.0, peak)


def open_audio_set(folder: Path) -> AudioSet:
    """Opens the set in `folder`. Raises InputError for a folder without a set, of another format,
    with clips that cannot be, or with samples missing."""
    path, audio_path = folder / "index.json", folder / "audio.i16"
    index = read_index(path)
    if index.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {index.get('format')!r:.40}, this version reads {FORMAT}; "
            f"delete {folder} and run again"
        )
    try:
        rate, samples = index["sample_rate"], index["samples"]
        clips = tuple(Clip(**{**row, "label": tuple(row["label"])}) for row in index["clips"])
        refuse_impossible_clips(rate, samples, clips)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete {folder} and run again") from error
    if not audio_path.is_file() or audio_path.stat().st_size != samples * 4:
        raise InputError(f"{audio_path}: samples are missing; delete {folder} and run again")
    stored = (
        np.memmap(audio_path, dtype="<i2", mode="r", shape=(samples, 2))
        if samples
        else np.zeros((0, 2), dtype="<i2")
    )
    return AudioSet(rate, clips, stored)


def read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if not isinstance(index, dict):
            raise ValueError("no JSON object")
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(
            f"{path}: not the index of an audio set ({error}); delete {path.parent} and run again"
        ) from error
    return index


def refuse_impossible_clips(rate: Any, samples: Any, clips: tuple[Clip, ...]) -> None:
    """Raises ValueError or TypeError for clips that no `AudioSetWriter` writes: it places them one
    after another."""
    if type(rate) is not int or type(samples) is not int or rate < 1:
        raise ValueError(f"sample_rate={rate!r:.40}, samples={samples!r:.40}")
    end = 0
    for clip in clips:
        if not isinstance(clip.song, str) or not isinstance(clip.name, str):
            raise ValueError(f"a clip named {clip.song!r:.40}, {clip.name!r:.40}")
        known = all(name in CLASSES for name in clip.label)
        if type(clip.length) is not int or clip.start != end or clip.length < 0 or not known:
            raise ValueError(f"an impossible clip {clip.song}/{clip.name}")
        if not (isinstance(clip.scale, (int, float)) and math.isfinite(clip.scale)):
            raise ValueError(f"the scale of {clip.song}/{clip.name}")
        end += clip.length
    if end > samples:
        raise ValueError("clips past the end of the samples")


def refuse_changed_samples(folder: Path) -> None:
    """Raises InputError where the samples of the set in `folder` are not those that were written.

    All samples of clips are read for it, at the disk's speed. An index of an earlier version has no
    checksum; then nothing is checked. Raises what `open_audio_set` raises.
    """
    expected = read_index(folder / "index.json").get("crc32")
    if expected is None:
        return
    path = folder / "audio.i16"
    found, left = 0, 4 * sum(clip.length for clip in open_audio_set(folder).clips)
    with path.open("rb") as file:
        while piece := file.read(min(left, BYTES_AT_ONCE)):
            found, left = zlib.crc32(piece, found), left - len(piece)
    if found != expected:
        raise InputError(f"{path}: damaged (a checksum is wrong); delete {folder} and run again")


def single_labelled(audio_set: AudioSet) -> AudioSet:
    """Only the clips whose label is one class."""
    return dataclasses.replace(
        audio_set, clips=tuple(clip for clip in audio_set.clips if len(clip.label) == 1)
    )
