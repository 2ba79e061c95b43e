"""Short excerpts of test songs with a separator's estimates, to listen to.

The folder of a SeparationScore holds `examples/<song>.mixture.ogg`, and next to it
`<song>.<source>.ogg` for an estimate and `<song>.<source>.reference.ogg` for its reference.
"""

from pathlib import Path

import numpy as np
import soundfile

from selfrefine.classes import CLASSES
from selfrefine.clips.song_signals import fullest_start

FOLDER = "examples"
MIXTURE, REFERENCE = ".mixture.ogg", ".reference.ogg"
"""Endings of the files that are the same for every separator."""
SONGS = 2
SECONDS = 6.0
PEAK = 0.9


def write_examples(
    folder: Path,
    song: str,
    references: np.ndarray,
    mixture: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
) -> None:
    """Writes the excerpt of `SECONDS` s in which the quietest source is loudest.

    References and estimates are `(class, channel, sample)`, the mixture is `(channel, sample)`, at
    `sample_rate` Hz. All signals get the same gain, at most 1, so that none clips and their levels
    can be compared.
    """
    length = min(mixture.shape[-1], round(SECONDS * sample_rate))
    start = fullest_start(references, length)
    cut = slice(start, start + length)
    signals = {"mixture": mixture[:, cut]}
    for index, name in enumerate(CLASSES):
        signals[name] = estimates[index, :, cut]
        signals[f"{name}.reference"] = references[index, :, cut]
    peak = max(float(np.abs(signal).max(initial=0.0)) for signal in signals.values())
    gain = min(1.0, PEAK / peak) if peak else 1.0
    (folder / FOLDER).mkdir(exist_ok=True)
    for name, signal in signals.items():
        soundfile.write(
            folder / FOLDER / f"{song}.{name}.ogg",
            (gain * signal).T,
            sample_rate,
            format="OGG",
            subtype="VORBIS",
        )
