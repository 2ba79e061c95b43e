"""Folding audio of more than two channels down to stereo, as ITU-R BS.775 does: the centre goes to
both sides and each surround to its own, 3 dB lower; the low-frequency channel is left out."""

from pathlib import Path

import numpy as np

from selfrefine.errors import InputError
from selfrefine.files.wav_header import wav_header

HALF = 0.5**0.5
GAINS = {
    "L": (1.0, 0.0),
    "R": (0.0, 1.0),
    "C": (HALF, HALF),
    "LFE": (0.0, 0.0),
    "Lb": (HALF, 0.0),
    "Rb": (0.0, HALF),
    "Lc": (1.0, 0.0),
    "Rc": (0.0, 1.0),
    "Cb": (0.5, 0.5),
    "Ls": (HALF, 0.0),
    "Rs": (0.0, HALF),
}
"""What a loudspeaker gives to the left and to the right channel, in the order of the bits of a WAV
file's channel mask."""

WAV_ORDERS = {
    3: "L R C",
    4: "L R Ls Rs",
    5: "L R C Ls Rs",
    6: "L R C LFE Ls Rs",
    7: "L R C LFE Cb Ls Rs",
    8: "L R C LFE Lb Rb Ls Rs",
}
"""The usual order by the number of channels, in WAV, FLAC, AIFF and CAF."""

VORBIS_ORDERS = {
    3: "L C R",
    4: "L R Ls Rs",
    5: "L C R Ls Rs",
    6: "L C R Ls Rs LFE",
    7: "L C R Ls Rs Cb LFE",
    8: "L C R Ls Rs Lb Rb LFE",
}
"""The order in Ogg files, by Vorbis' definition."""


def folded_down(path: Path, audio: np.ndarray) -> np.ndarray:
    """`(channel, sample)` of the file `path`, with more than two channels, as float32 `(channel=2,
    sample)`. Raises InputError where the loudspeakers of the channels are not known."""
    return stereo_gains(path, len(audio)) @ audio


def stereo_gains(path: Path, channels: int) -> np.ndarray:
    """float32 `(channel=2, channel)`: what each of more than two channels gives to left and right.
    Raises what `folded_down` raises."""
    speakers = speakers_of(path, channels)
    return np.array([GAINS[name] for name in speakers], dtype=np.float32).T


def speakers_of(path: Path, channels: int) -> tuple[str, ...]:
    """The loudspeaker of each channel: by the channel mask of a WAV file, else in the usual
    order."""
    with path.open("rb") as file:
        head = file.read(12)
        header = wav_header(file, 0, path.stat().st_size) if head[8:] == b"WAVE" else None
    mask = header.mask if header else 0
    if mask:
        names = tuple(name for bit, name in enumerate(GAINS) if mask >> bit & 1)
        if len(names) == channels and not mask >> len(GAINS):
            return names
        raise InputError(
            f"{path}: its channel mask {mask:#x} does not say where its {channels} channels are "
            "heard; convert it to stereo"
        )
    orders = VORBIS_ORDERS if head[:4] == b"OggS" else WAV_ORDERS
    if channels not in orders:
        raise InputError(
            f"{path}: {channels} channels have no usual order of loudspeakers; convert it to stereo"
        )
    return tuple(orders[channels].split())
