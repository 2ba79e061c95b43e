"""A few seconds of a test song, to hear what a separator makes of it.

`examples/<song>.mixture.ogg`, `<song>.<source>.ogg` for an estimate and
`<song>.<source>.reference.ogg` in a SeparationScore's folder.
"""

from pathlib import Path

import numpy as np
import soundfile

from selfrefine.classes import CLASSES
from selfrefine.clips.song_signals import fullest_start

FOLDER = "examples"
MIXTURE, REFERENCE = ".mixture.ogg", ".reference.ogg"
"""How the names of files end that are the same for every separator."""
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
    """Writes the excerpt in which the quietest source is loudest. References and estimates are
    `(class, channel, sample)`, the mixture `(channel, sample)`; all get the same gain, so that
    none clips and their levels compare."""
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
