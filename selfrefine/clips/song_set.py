"""Reading songs from disk into a song set: aligned clips, decoded once."""

from pathlib import Path

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSetWriter
from selfrefine.files.audio_file import as_stereo, read_stereo
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.progress import Note, Progress, noted_once

MIXTURE_RESIDUAL_DB = -20.0
"""Above this, the energy of mixture minus stems over that of the mixture is noted."""


def read_stem(file: StemFile, sample_rate: int, note: Note) -> np.ndarray:
    """A stem's audio, `(channel=2, sample)` at `sample_rate` Hz, from a file of any layout."""
    if file.stream is None:
        return read_stereo(file.path, sample_rate, note)
    return as_stereo(*decode_stream(file.path, file.stream), sample_rate, note)


def read_songs(
    songs: list[SongFiles],
    folder: Path,
    sample_rate: int,
    progress: Progress,
) -> int:
    """Decodes the songs into a song set in `folder`. Returns its samples per channel.

    Stems of unequal length are padded to the song's longest. This is noted, and so is a mixture
    that is not the sum of its stems. Each kind of conversion is noted once. `progress` counts
    songs. Raises InputError for a file that cannot be used, with its name.
    """
    with AudioSetWriter(folder, sample_rate) as writer, noted_once(progress.note) as note:
        for number, song in enumerate(songs):
            signals = [read_stem(file, sample_rate, note) for file in song.files]
            longest = max(audio.shape[1] for audio in signals)
            for index, file in enumerate(song.files):
                missing = longest - signals[index].shape[1]
                if missing:
                    progress.note(
                        f"{song.name}/{file.name} is {missing / sample_rate:.2f} s shorter than "
                        "the song's longest file and is padded with silence"
                    )
                    signals[index] = np.pad(signals[index], ((0, 0), (0, missing)))
                writer.add(song.name, file.name, file.label, signals[index])
            residual = mixture_residual(song, signals)
            if residual is not None and residual > MIXTURE_RESIDUAL_DB:
                progress.note(
                    f"{song.name}: the stems do not sum to the mixture (what is left is "
                    f"{residual:.0f} dB of it); training uses the stems, scoring the mixture as "
                    "it is, as published numbers do"
                )
            progress.count(number + 1, len(songs))
    return writer.written


def mixture_residual(song: SongFiles, signals: list[np.ndarray]) -> float | None:
    """The energy of mixture minus stems over that of the mixture, in dB. None where the song lacks
    its mixture or a stem. It is known to be high in MUSDB18's test song "PR - Oh No"."""
    labels = [file.label for file in song.files]
    if () not in labels or {label for label in labels if label} != {(name,) for name in CLASSES}:
        return None
    mixture = signals[labels.index(())]
    left = mixture.copy()
    for label, audio in zip(labels, signals, strict=True):
        if label:
            left -= audio
    energies = [float(np.vdot(audio, audio)) for audio in (left, mixture)]
    return 10 * float(np.log10(max(energies[0], 1e-12) / max(energies[1], 1e-12)))
