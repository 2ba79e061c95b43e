"""A set of decoded clips: 16-bit samples in one memory-mapped file, and an index.

There are two kinds. In a *song set* the clips of a song are its tracks or stems, equally long and
aligned. In a *stem set* each clip is one stem file with its silence removed; training draws from
it.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from selfrefine.classes import Labels, LabelSet
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text

FORMAT = 1


@dataclass(frozen=True)
class Clip:
    """One stereo signal of a set. `start` and `length` are in samples.

    `label` is its label set: usually one class as given, and any number after relabelling; a
    mixture has none. The stored samples, read as -1 to 1, are multiplied by `scale`, which is above
    1 for a signal that 16 bits would clip.
    """

    song: str
    name: str
    label: LabelSet
    start: int
    length: int
    scale: float = 1.0


@dataclass(frozen=True)
class AudioSet:
    """Clips and their samples."""

    sample_rate: int
    clips: tuple[Clip, ...]
    samples: np.ndarray
    """int16 `(sample, channel=2)`, memory-mapped."""

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
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.sample_rate = sample_rate
        self.clips: list[Clip] = []
        self.written = 0
        self.file = (folder / "audio.i16").open("wb")

    def add(self, song: str, name: str, label: LabelSet, audio: np.ndarray) -> Clip:
        """Appends a clip of `audio` `(channel=2, sample)`. Raises InputError where the disk does
        not take it."""
        scale = max(1.0, float(np.abs(audio).max(initial=0.0)))
        stored = np.rint(audio.T * (32767 / scale)).astype("<i2")
        try:
            self.file.write(stored.tobytes())
        except OSError as error:
            raise InputError(
                f"{self.folder}: the decoded audio cannot be written ({error.strerror}); free "
                "space on the disk, or choose another folder"
            ) from error
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
        self.file.close()
        if error is not None:
            return
        index = {
            "format": FORMAT,
            "sample_rate": self.sample_rate,
            "samples": self.written,
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
        }
        write_text(self.folder / "index.json", json.dumps(index, indent=1))


def open_audio_set(folder: Path) -> AudioSet:
    """Opens the set in `folder`. Raises InputError for a folder without a set, of another format,
    or with samples missing."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: not the index of an audio set ({error}); delete {folder} and run again"
        ) from error
    if index.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {index.get('format')}, this version reads {FORMAT}; "
            f"delete {folder} and run again"
        )
    shape = (index["samples"], 2)
    audio_path = folder / "audio.i16"
    if audio_path.stat().st_size != index["samples"] * 4:
        raise InputError(f"{audio_path}: samples are missing; delete {folder} and run again")
    samples = (
        np.memmap(audio_path, dtype="<i2", mode="r", shape=shape)
        if index["samples"]
        else np.zeros(shape, dtype="<i2")
    )
    clips = tuple(Clip(**{**row, "label": tuple(row["label"])}) for row in index["clips"])
    return AudioSet(index["sample_rate"], clips, samples)


def single_labelled(audio_set: AudioSet) -> AudioSet:
    """Only the clips whose label is one class."""
    return dataclasses.replace(
        audio_set, clips=tuple(clip for clip in audio_set.clips if len(clip.label) == 1)
    )
