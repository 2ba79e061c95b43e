"""Scoring a folder of separated songs against a folder of references.

The protocol is BSS Eval v4 as museval computes it: windows and hops of 1 s, median over frames,
then over songs. SDR alone takes a thousandth of museval's time, all four metrics a thirtieth. Files
are read a frame at a time, so that memory does not grow with a song's length.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text
from selfrefine.files.header import Header, read_header
from selfrefine.files.layouts import SongFiles, StemFile, audio_files, find_songs
from selfrefine.files.streamed_stems import StreamedStems, streamed_stems
from selfrefine.metrics.sdr import frame_sdr, median_over_tracks, silent_sources, track_sdr
from selfrefine.optional import from_extra

METRICS = ("SDR", "ISR", "SIR", "SAR")


@dataclass(frozen=True)
class TrackScore:
    """The scores of a song.

    `frames` has an array `(class, frame)` in dB for each metric's name, NaN where museval has NaN.
    `classes` are those that the song was scored on. `silent` names the signals that are silent
    throughout; with any of these every frame is NaN.
    """

    song: str
    classes: tuple[str, ...]
    frames: dict[str, np.ndarray]
    silent: tuple[str, ...]

    def median(self, metric: str) -> np.ndarray:
        """dB per class, `(class,)`."""
        return track_sdr(self.frames[metric])


def score_folders(
    references: Path, estimates: Path, all_four: bool, with_museval: bool
) -> Iterator[TrackScore]:
    """Checks that every file is there, then scores song by song, in the order of their names.

    Raises InputError for a song without estimates, for files that do not fit together, and when
    museval is asked for and cannot be imported.
    """
    songs = find_songs(references, tracks=False)
    paired = {song.name: song_pairs(song, estimates / song.name) for song in songs}
    for pairs in paired.values():
        fitting_headers(pairs)
    for name, pairs in paired.items():
        yield score_song(name, pairs, all_four, with_museval)


def song_pairs(song: SongFiles, estimates: Path) -> list[tuple[StemFile, StemFile]]:
    """The files of reference and estimate for each class that the song has. Raises InputError for
    an estimate that is missing."""
    stems = {file.label[0]: file for file in song.files if len(file.label) == 1}
    return [
        (stems[name], StemFile(name, (name,), estimate_file(estimates, name)))
        for name in CLASSES
        if name in stems
    ]


def score_song(
    song: str, pairs: list[tuple[StemFile, StemFile]], all_four: bool, with_museval: bool
) -> TrackScore:
    classes = tuple(reference.label[0] for reference, _ in pairs)
    with streamed_pairs(pairs) as (reference, estimate, rate):
        try:
            frames = track_frames(reference, estimate, rate, all_four, with_museval)
        except InputError as error:
            raise InputError(f"{song} ({', '.join(classes)}): {error}") from error
        # A signal that is silent throughout makes every frame NaN. Only then are files read again.
        scored = np.isfinite(frames["SDR"]).any()
        silent = () if scored else silent_names(classes, reference, estimate)
    return TrackScore(song, classes, frames, silent)


def silent_names(
    classes: tuple[str, ...], reference: StreamedStems, estimate: StreamedStems
) -> tuple[str, ...]:
    """The names of the signals that are silent throughout, as in `reference bass`."""
    silent = silent_sources(reference, estimate)
    return tuple(
        f"{kind} {name}"
        for kind, which in zip(("reference", "estimate"), silent, strict=True)
        for name, is_silent in zip(classes, which, strict=True)
        if is_silent
    )


def track_frames(
    reference: StreamedStems,
    estimate: StreamedStems,
    rate: int,
    all_four: bool,
    with_museval: bool,
) -> dict[str, np.ndarray]:
    """For each metric's name, its scores `(class, frame)` in dB.

    All four metrics are computed on the training device. SDR alone is computed on the CPU: it takes
    less time than moving the audio to a GPU.
    """
    if with_museval:
        return museval_frames(reference[..., :], estimate[..., :], rate)
    if not all_four:
        return {"SDR": frame_sdr(reference, estimate, rate, rate)}
    from selfrefine.metrics.bss_eval import bss_eval
    from selfrefine.training.device import training_device

    scores = bss_eval(reference, estimate, rate, training_device())
    return dict(zip(METRICS, (scores.sdr, scores.isr, scores.sir, scores.sar), strict=True))


def estimate_file(folder: Path, name: str) -> Path:
    if folder.is_dir():
        for path in audio_files(folder):
            if path.stem.lower() == name:
                return path
    raise InputError(
        f"{folder}: no estimate of {name}; expected a file {name}.wav (or another audio format) "
        "in a folder of the song's name"
    )


@contextmanager
def streamed_pairs(
    pairs: list[tuple[StemFile, StemFile]],
) -> Iterator[tuple[StreamedStems, StreamedStems, int]]:
    """References and estimates `(class, channel, sample)` and their sample rate in Hz.

    They are read as 16-bit integers where every file holds those, else as floating point. The
    metrics do not depend on the scale.
    """
    headers = fitting_headers(pairs)
    dtype = "int16" if all(header.subtype == "PCM_16" for header in headers) else "float32"
    sides = [
        [(pair[side], header) for pair, header in zip(pairs, headers[side::2], strict=True)]
        for side in range(2)
    ]
    with (
        streamed_stems(sides[0], dtype) as references,
        streamed_stems(sides[1], dtype) as estimates,
    ):
        yield references, estimates, headers[0].sample_rate


def fitting_headers(pairs: list[tuple[StemFile, StemFile]]) -> list[Header]:
    """Headers of all files, pair by pair. Raises InputError where two do not fit together."""
    files = [file for pair in pairs for file in pair]
    headers = [read_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        for what in ("sample_rate", "channels"):
            own, first = getattr(header, what), getattr(headers[0], what)
            if own != first:
                raise InputError(
                    f"{file.path}: {what.replace('_', ' ')} {own}, but {files[0].path} has "
                    f"{first}; convert one of them"
                )
        if header.samples == 0:
            raise InputError(f"{file.path}: holds no samples; render it again")
    return headers


def museval_frames(reference: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """The scores `(class, frame)` in dB as museval itself computes them, by metric. Raises
    InputError where museval cannot be imported, or refuses the song."""
    try:
        with from_extra("musdb", needed_by="--with museval"):
            from museval.metrics import bss_eval
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(
            f"museval cannot be imported ({error}); it needs ffmpeg and ffprobe on the PATH"
        ) from error
    as_float = [
        np.moveaxis(signal, 1, 2).astype(np.float64) / (32768 if signal.dtype == np.int16 else 1)
        for signal in (reference, estimate)
    ]
    length = as_float[0].shape[1]
    fitted = np.zeros_like(as_float[0])
    fitted[:, : min(length, as_float[1].shape[1])] = as_float[1][:, :length]
    try:
        sdr, isr, sir, sar, _ = bss_eval(as_float[0], fitted, window=rate, hop=rate)
    except ValueError as error:
        raise InputError(f"museval refuses this song: {error}") from error
    frames = dict(zip(METRICS, (sdr, isr, sir, sar), strict=True))
    return {name: np.where(np.isinf(values), np.nan, values) for name, values in frames.items()}


def median_scores(scores: list[TrackScore], metric: str) -> dict[str, float]:
    """The median over songs per class, in dB. Songs without the class, or without a scored frame,
    are ignored."""
    table = np.full((len(scores), len(CLASSES)), np.nan)
    for row, score in zip(table, scores, strict=True):
        row[[CLASSES.index(name) for name in score.classes]] = score.median(metric)
    return dict(zip(CLASSES, median_over_tracks(table).tolist(), strict=True))


def write_museval_json(score: TrackScore, folder: Path) -> Path:
    """Writes a song's frames to `folder`/test/<song>.json, in the form of museval's track store.

    museval's `EvalStore` and `MethodStore` read such a folder by `add_eval_dir`. They need all four
    metrics: one that was not computed is NaN in every frame.
    """
    targets = []
    for row, name in enumerate(score.classes):
        frames = [
            {
                "time": float(start),
                "duration": 1.0,
                "metrics": {
                    metric: round(float(score.frames[metric][row, start]), 5)
                    if metric in score.frames
                    else float("nan")
                    for metric in METRICS
                },
            }
            for start in range(score.frames["SDR"].shape[1])
        ]
        targets.append({"name": name, "frames": frames})
    path = folder / "test" / f"{score.song}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"targets": targets}, indent=1))
    return path
