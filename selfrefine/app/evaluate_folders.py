"""Scoring a folder of separated songs against a folder of references. Songs that cannot be scored
are passed over.

The protocol is BSS Eval v4 as museval computes it: windows and hops of 1 s, median over frames,
then over songs. SDR alone takes a thousandth of museval's time, all four metrics a thirtieth. Files
are read a frame at a time, so that memory does not grow with a song's length.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import EllipsisType

import numpy as np

from selfrefine.classes import CLASSES
from selfrefine.errors import InputError, system_words
from selfrefine.files.atomic import write_text
from selfrefine.files.header import Header, read_header
from selfrefine.files.layouts import (
    SongFiles,
    StemFile,
    audio_files,
    listed_audio,
    refuse_faults,
    survey,
)
from selfrefine.files.names import met_names
from selfrefine.files.streamed_stems import StreamedStems, streamed_stems
from selfrefine.metrics.sdr import frame_sdr, median_over_tracks, silent_sources, track_sdr
from selfrefine.optional import from_extra

UNEQUAL_S = 0.5
"""So much can an encoder and a decoder add to a signal, in s."""

METRICS = ("SDR", "ISR", "SIR", "SAR")

Pair = tuple[StemFile, StemFile]
"""The files of a class' reference and estimate."""


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

    def is_scored(self) -> bool:
        """Whether a frame has an SDR."""
        return bool(np.isfinite(self.frames["SDR"]).any())

    def median(self, metric: str) -> np.ndarray:
        """dB per class, `(class,)`."""
        return track_sdr(self.frames[metric])


class StereoStems:
    """Stems of one or of two channels as audio `(stem, channel=2, sample)`: a mono stem is two
    equal channels. Shorter ones are followed by zeros."""

    def __init__(self, stems: list[StreamedStems]) -> None:
        self.stems = stems
        self.shape = (len(stems), 2, max(stem.shape[2] for stem in stems))
        self.dtype = stems[0].dtype

    def __getitem__(self, stretch: tuple[EllipsisType, slice]) -> np.ndarray:
        """Reads a stretch `(stem, channel=2, sample)`. Raises what `StreamedStems` raises."""
        start, stop, _ = stretch[1].indices(self.shape[2])
        audio = np.zeros((len(self.stems), 2, max(stop - start, 0)), dtype=self.dtype)
        for rows, stem in zip(audio, self.stems, strict=True):
            (found,) = stem[..., start:stop]
            rows[:, : found.shape[1]] = found
        return audio


SongStems = StreamedStems | StereoStems
"""The references or the estimates of a song."""


@dataclass(frozen=True)
class Pairing:
    """The songs of two folders. `pairs` has those that can be scored, by name, and `failures` says
    why others cannot. `passed_over` are songs in which each stem has several classes, `unmatched`
    the folders of estimates that belong to no song. `notes` are sentences on files that are scored
    though they differ from the others."""

    pairs: dict[str, list[Pair]]
    failures: dict[str, str]
    passed_over: list[str]
    unmatched: list[Path]
    notes: list[str]


def paired_songs(references: Path, estimates: Path) -> Pairing:
    """Looks for the estimates of every song, and reads all headers. Folders meet songs whatever the
    Unicode form of their names.

    Raises InputError for references that are no data set, and for a folder that is not there.
    """
    surveyed = survey(references, tracks=False)
    refuse_faults([fault for fault in surveyed.faults if fault.song is None])
    faults = {fault.song: fault for fault in reversed(surveyed.faults) if fault.song is not None}
    songs = surveyed.songs
    if not estimates.is_dir():
        raise InputError(f"{estimates}: no such folder; check the path")
    folders = {path.name: path for path in sorted(estimates.iterdir()) if path.is_dir()}
    met = met_names([*(song.name for song in songs), *faults], folders)
    failed = {name: str(fault) for name, fault in faults.items()}
    found = Pairing({}, failed, [], [], [])
    for song in songs:
        if song.name in failed:
            continue
        if not any(len(file.label) == 1 for file in song.files):
            found.passed_over.append(song.name)
            continue
        try:
            pairs = song_pairs(song, estimates / met.get(song.name, song.name))
            found.notes.extend(length_and_channel_notes(pairs, fitting_headers(pairs)))
            found.pairs[song.name] = pairs
        except InputError as error:
            failed[song.name] = str(error)
        except OSError as error:
            failed[song.name] = system_words(error)
    unmatched = [path for name, path in folders.items() if name not in met.values()]
    found.unmatched.extend(path for path in unmatched if listed_audio(path, []))
    return found


def song_pairs(song: SongFiles, estimates: Path) -> list[Pair]:
    """The files of reference and estimate for each class that the song has. Raises InputError for
    an estimate that is missing, and for two references or estimates of one class."""
    stems: dict[str, StemFile] = {}
    for file in song.files:
        if len(file.label) == 1 and stems.setdefault(file.label[0], file) is not file:
            first = stems[file.label[0]].path
            raise InputError(f"both {first} and {file.path} are {file.label[0]}; keep one of them")
    return [
        (stems[name], StemFile(name, (name,), estimate_file(estimates, name)))
        for name in CLASSES
        if name in stems
    ]


def score_song(song: str, pairs: list[Pair], all_four: bool, with_museval: bool) -> TrackScore:
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
    classes: tuple[str, ...], reference: SongStems, estimate: SongStems
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
    reference: SongStems,
    estimate: SongStems,
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
    """The estimate of a class. Raises InputError where there is none, or more than one."""
    files = audio_files(folder) if folder.is_dir() else []
    found = [path for path in files if path.stem.lower() == name]
    if len(found) > 1:
        raise InputError(f"{folder}: both {found[0].name} and {found[1].name}; keep one of them")
    if found:
        return found[0]
    raise InputError(
        f"{folder}: no estimate of {name}; expected a file {name}.wav (or another audio format) "
        "in a folder of the song's name"
    )


@contextmanager
def streamed_pairs(
    pairs: list[Pair],
) -> Iterator[tuple[SongStems, SongStems, int]]:
    """References and estimates `(class, channel, sample)` and their sample rate in Hz.

    They are read as 16-bit integers where every file holds those, else as floating point. The
    metrics do not depend on the scale. Where some are mono and some are stereo, all become stereo.
    """
    headers = fitting_headers(pairs)
    dtype = "int16" if all(header.subtype == "PCM_16" for header in headers) else "float32"
    sides = [
        [(pair[side], header) for pair, header in zip(pairs, headers[side::2], strict=True)]
        for side in range(2)
    ]
    mixed = len({header.channels for header in headers}) > 1
    with ExitStack() as stack:

        def opened(stems: list[tuple[StemFile, Header]]) -> SongStems:
            if not mixed:
                return stack.enter_context(streamed_stems(stems, dtype))
            alone = (stack.enter_context(streamed_stems([stem], dtype)) for stem in stems)
            return StereoStems(list(alone))

        yield opened(sides[0]), opened(sides[1]), headers[0].sample_rate


def length_and_channel_notes(pairs: list[Pair], headers: list[Header]) -> Iterator[str]:
    """What a user should know of a song's files, whose `headers` stand pair by pair: mono ones
    beside stereo, and estimates that are longer or shorter than their references."""
    mixed = len({header.channels for header in headers}) > 1
    for file, header in zip(chain(*pairs), headers, strict=True):
        if mixed and header.channels == 1:
            yield f"{file.path}: mono beside stereo; scored as two equal channels"
    for (_, estimate), header, own in zip(pairs, headers[::2], headers[1::2], strict=True):
        if abs(own.seconds - header.seconds) >= UNEQUAL_S:
            yield (
                f"{estimate.path}: lasts {own.seconds:.2f} s, its reference {header.seconds:.2f} "
                "s; what is missing counts as silence, what is beyond is left out"
            )


def fitting_headers(pairs: list[Pair]) -> list[Header]:
    """Headers of all files, pair by pair. Mono fits stereo. Raises InputError where two do not fit
    together."""
    files = [file for pair in pairs for file in pair]
    headers = [read_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        for what in ("sample_rate", "channels"):
            own, first = getattr(header, what), getattr(headers[0], what)
            fits = own == first or (what == "channels" and {own, first} == {1, 2})
            if not fits:
                raise InputError(
                    f"{file.path}: {what.replace('_', ' ')} {own}, but {files[0].path} has "
                    f"{first}; convert one of them"
                )
        if header.samples == 0:
            raise InputError(f"{file.path}: holds no samples; render it again")
    return headers


def museval_metric() -> Callable[..., tuple[np.ndarray, ...]]:
    """museval's own function of its four metrics. Raises InputError where it cannot be imported."""
    try:
        with from_extra("musdb", needed_by="--with museval"):
            from museval.metrics import bss_eval
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(
            f"museval cannot be imported ({error}); it needs ffmpeg and ffprobe on the PATH"
        ) from error
    metric: Callable[..., tuple[np.ndarray, ...]] = bss_eval
    return metric


def museval_frames(reference: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """The scores `(class, frame)` in dB as museval itself computes them, by metric. Raises
    InputError where museval cannot be imported, or refuses the song."""
    metric = museval_metric()
    as_float = [
        np.moveaxis(signal, 1, 2).astype(np.float64) / (32768 if signal.dtype == np.int16 else 1)
        for signal in (reference, estimate)
    ]
    length = as_float[0].shape[1]
    fitted = np.zeros_like(as_float[0])
    fitted[:, : min(length, as_float[1].shape[1])] = as_float[1][:, :length]
    try:
        sdr, isr, sir, sar, _ = metric(as_float[0], fitted, window=rate, hop=rate)
    except ValueError as error:
        raise InputError(f"museval refuses this song: {error}") from error
    frames = dict(zip(METRICS, (sdr, isr, sir, sar), strict=True))
    return {name: np.where(np.isinf(values), np.nan, values) for name, values in frames.items()}


def scored_songs(scores: list[TrackScore]) -> int:
    """How many songs have a scored frame."""
    return sum(score.is_scored() for score in scores)


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
