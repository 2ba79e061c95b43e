"""Audio made of a song's clips: sums, references and mixtures."""

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, Clip


def sum_clips(songs: AudioSet, clips: list[Clip]) -> np.ndarray:
    """The sum of a song's clips, `(channel, sample)`."""
    audio = songs.audio(clips[0])
    for clip in clips[1:]:
        audio += songs.audio(clip)
    return audio


def references_and_mixture(songs: AudioSet, clips: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """References `(class, channel, sample)` and mixture `(channel, sample)` of a song.

    The mixture is the song's own where it has one, else the sum of the stems. A class that the
    song lacks is silent.
    """
    references = np.zeros((len(CLASSES), 2, clips[0].length), dtype=np.float32)
    for clip in clips:
        if clip.label:
            references[CLASSES.index(clip.label[0])] += songs.audio(clip)
    mixtures = [clip for clip in clips if not clip.label]
    mixture = songs.audio(mixtures[0]) if mixtures else references.sum(axis=0)
    return references, mixture


def fullest_start(references: np.ndarray, length: int) -> int:
    """The first sample of the window of `length` samples whose weakest source has the most power.

    `references` are `(source, channel, sample)`. Windows begin in steps of a quarter of `length`. A
    source that is silent throughout is ignored.
    """
    sounding = references[np.abs(references).max(axis=(1, 2)) > 0]
    starts = range(0, references.shape[-1] - length + 1, max(1, length // 4))
    if not len(sounding):
        return 0
    power = [np.square(sounding[..., s : s + length]).mean(axis=(1, 2)).min() for s in starts]
    return starts[int(np.argmax(power))]
