"""Statistics of songs: pure functions of songs and their four stems.

All signals are float32 `(channel=2, sample)` at SAMPLE_RATE (Hz). A song may lack classes; it
contributes the others. Windows are 3 s long; windows more than 30 dB below the stem's loudest one
are left out. A summary has values by class, or by pair of classes. A value is NaN if no song has
it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.metrics import recall_score  # type: ignore[import-untyped]
from sklearn.model_selection import GroupKFold, cross_val_predict  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline, make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from selfrefine.classes import CLASSES
from selfrefine.metrics.sdr import frame_sdr, median_over_tracks, track_sdr

SAMPLE_RATE = 16000
WINDOW = 3 * SAMPLE_RATE
FRAME = SAMPLE_RATE // 10
ACTIVE_DB = -30.0
MONO_DB = -40.0
"""Side to mid (dB) below which a window counts as mono. Width is limited to at least this, and pan
to this on either side, so that a window with a silent channel or side does not outweigh all
others."""

PAUSE_FRAMES = 5
"""Number of consecutive quiet frames that make a pause: half a second."""

FFT, HOP = 1024, 256
BAND_EDGES_HZ = (30.0, 150.0, 500.0, 1500.0, 4000.0, 8000.0)
WIDTH, FLATNESS, CENTROID = 2, 8, 9
"""Columns of `window_features`."""

FEATURE_SETS = {
    "(i) level, pan, width": slice(0, 3),
    "(ii) five bands": slice(3, 8),
    "(iii) bands, flatness, centroid, crossings, onsets": slice(3, 12),
}
FOLDS = 5

REGISTER_FFT = 4096
REGISTER_HZ = np.fft.rfftfreq(REGISTER_FFT, 1 / SAMPLE_RATE)
THIRD_OCTAVES_HZ = 1000.0 * 2.0 ** (np.arange(-15, 9) / 3)
"""Centres of third-octave bands, from 31 Hz to 6.3 kHz."""

LOW_REGISTERS_HZ = {"under 150 Hz": (0.0, 150.0), "150-300 Hz": (150.0, 300.0)}
MASK_FFT, MASK_HOP = 2048, 512

WIDTH_WORDS = "width, side to mid (dB)"

Summary = dict[str, float]


@dataclass(frozen=True, eq=False)
class DecodedSong:
    """A song. `stems` are by class, each `(channel=2, sample)`. They have the same length, at least
    one window, and none is completely silent."""

    name: str
    stems: dict[str, np.ndarray]

    @property
    def mixture(self) -> np.ndarray:
        """The sum of the stems."""
        return np.sum(list(self.stems.values()), axis=0)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of windows: `rows` `(window, 12)`, `labels` `(window,)` as indices into CLASSES, and
    `songs` `(window,)` as numbers."""

    rows: np.ndarray
    labels: np.ndarray
    songs: np.ndarray


def sounding_windows(stem: np.ndarray) -> list[slice]:
    """The windows that are within 30 dB of the stem's loudest one."""
    starts = range(0, stem.shape[1] - WINDOW + 1, WINDOW)
    pieces = [slice(start, start + WINDOW) for start in starts]
    powers = np.array([_power(stem[:, piece]) for piece in pieces])
    floor = powers.max() * 10 ** (ACTIVE_DB / 10)
    return [piece for piece, power in zip(pieces, powers, strict=True) if power >= floor]


def window_features(window: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """The twelve features `(12,)` of a window of a stem; `mixture` is the same window of its song.

    They are: level relative to the mixture, pan (left to right) and width (side to mid) in dB; the
    energies of five bands relative to their sum in dB; spectral flatness in dB and centroid in
    octaves above 1 Hz, both of the mean power spectrum; zero crossings per sample; onsets per
    second.
    """
    mid = window.mean(axis=0)
    frames = _frames(mid, FFT, HOP)
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-12
    mean = spectrum.mean(axis=0)
    hz = np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE)
    energies = np.array(
        [mean[(hz >= low) & (hz < high)].sum() for low, high in itertools.pairwise(BAND_EDGES_HZ)]
    )
    flux = np.maximum(np.diff(np.log(spectrum), axis=0), 0).mean(axis=1)
    peaks = (flux[1:-1] > flux[:-2]) & (flux[1:-1] > flux[2:]) & (flux[1:-1] > 1.4 * flux.mean())
    left, right = np.mean(np.square(window, dtype=np.float64), axis=1)
    return np.array(
        [
            _db(_power(window)) - _db(_power(mixture)),
            np.clip(_db(left) - _db(right), MONO_DB, -MONO_DB),
            max(width_db(window), MONO_DB),
            *(_db(energies) - _db(energies.sum())),
            _db(np.exp(np.mean(np.log(mean)))) - _db(mean.mean()),
            np.log2((hz * mean).sum() / mean.sum()),
            np.mean(np.diff(np.signbit(mid))),
            peaks.sum() * SAMPLE_RATE / window.shape[1],
        ]
    )


def width_db(audio: np.ndarray) -> float:
    """Energy of the side signal relative to that of the mid signal, in dB."""
    side = (audio[0] - audio[1]) / 2
    return float(_db(_power(side)) - _db(_power(audio.mean(axis=0))))


def feature_table(songs: Sequence[DecodedSong]) -> FeatureTable:
    """The features of all windows that sound, of all stems."""
    rows, labels, numbers = [], [], []
    for number, song in enumerate(songs):
        mixture = song.mixture
        for name, stem in song.stems.items():
            for piece in sounding_windows(stem):
                rows.append(window_features(stem[:, piece], mixture[:, piece]))
                labels.append(CLASSES.index(name))
                numbers.append(number)
    return FeatureTable(np.array(rows), np.array(labels), np.array(numbers))


def own_accuracy(table: FeatureTable, columns: slice) -> float:
    """Balanced accuracy of a linear classifier on the windows of held-out songs, by
    cross-validation with up to five folds."""
    folds = GroupKFold(min(FOLDS, len(np.unique(table.songs))))
    x = table.rows[:, columns]
    found = cross_val_predict(_classifier(), x, table.labels, groups=table.songs, cv=folds)
    return _balanced_accuracy(table.labels, found)


def accuracy_across(trained: FeatureTable, tested: FeatureTable, columns: slice) -> float:
    """Balanced accuracy, on the windows of `tested`, of a linear classifier trained on those of
    `trained`."""
    model = _classifier().fit(trained.rows[:, columns], trained.labels)
    return _balanced_accuracy(tested.labels, model.predict(tested.rows[:, columns]))


def timbre(table: FeatureTable) -> dict[str, Summary]:
    """Centroid (power-weighted mean frequency), width, share of mono windows, and flatness.

    Each is a mean over a song's windows, geometric for the centroid, and then a median over songs;
    the share of mono windows is a mean over songs.
    """
    centroids = _by_class(table, CENTROID, np.median)
    mono = replace(table, rows=table.rows <= MONO_DB)
    return {
        "centroid (Hz)": {name: 2**octaves for name, octaves in centroids.items()},
        WIDTH_WORDS: _by_class(table, WIDTH, np.median),
        "share of windows that are mono": _by_class(mono, WIDTH, np.mean),
        "flatness (dB)": _by_class(table, FLATNESS, np.median),
    }


def levels(songs: Sequence[DecodedSong]) -> dict[str, Summary]:
    """Energy of the whole stem relative to that of the mixture in dB: mean and standard deviation
    over songs."""
    of_class: dict[str, list[float]] = {name: [] for name in CLASSES}
    for song in songs:
        whole = _db(_power(song.mixture))
        for name, stem in song.stems.items():
            of_class[name].append(float(_db(_power(stem)) - whole))
    return {
        "level to the mixture, mean (dB)": {
            name: _summed_up(found, np.mean) for name, found in of_class.items()
        },
        "level to the mixture, deviation (dB)": {
            name: _summed_up(found, np.std) for name, found in of_class.items()
        },
    }


def sounding_frames(audio: np.ndarray) -> np.ndarray:
    """Whether each frame of 0.1 s is within 30 dB of the loudest frame, bool `(frame,)`."""
    count = audio.shape[1] // FRAME
    frames = audio[:, : count * FRAME].reshape(len(audio), count, FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=(0, 2))
    return power >= power.max() * 10 ** (ACTIVE_DB / 10)


def pauses(sounding: np.ndarray) -> np.ndarray:
    """Lengths (s) of the pauses of half a second or more, `(pause,)`. `sounding` `(frame,)` says
    which frames of 0.1 s sound."""
    edges = np.flatnonzero(np.diff(~sounding, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    return lengths[lengths >= PAUSE_FRAMES] * FRAME / SAMPLE_RATE


def activity(songs: Sequence[DecodedSong]) -> dict[str, Summary]:
    """Share of 0.1 s frames that sound and pauses per minute, both as means over songs, and the
    median length (s) of all pauses."""
    shares, rates, lengths = {}, {}, {}
    for name in CLASSES:
        sounding = [sounding_frames(song.stems[name]) for song in songs if name in song.stems]
        found = [pauses(frames) for frames in sounding]
        minutes = [len(frames) * FRAME / SAMPLE_RATE / 60 for frames in sounding]
        shares[name] = _summed_up([frames.mean() for frames in sounding], np.mean)
        counts = [len(each) / time for each, time in zip(found, minutes, strict=True)]
        rates[name] = _summed_up(counts, np.mean)
        lengths[name] = _summed_up(list(itertools.chain(*found)), np.median)
    return {
        "sounding share": shares,
        "pauses of .5 s and more, a minute": rates,
        "length of such a pause (s)": lengths,
    }


def mean_power(audio: np.ndarray) -> np.ndarray:
    """Power spectrum `(bin,)` at the frequencies REGISTER_HZ: mean over frames, sum over
    channels."""
    channels = [_frames(channel, REGISTER_FFT, REGISTER_FFT // 2) for channel in audio]
    powers = [(np.abs(np.fft.rfft(frames, axis=1)) ** 2).mean(axis=0) for frames in channels]
    return np.sum(powers, axis=0) + 1e-12


def third_octaves(audio: np.ndarray) -> np.ndarray:
    """Power `(band,)` in the third-octave bands around THIRD_OCTAVES_HZ."""
    power = mean_power(audio)
    edges = THIRD_OCTAVES_HZ[:, None] * 2.0 ** (np.array([-1, 1]) / 6)
    return np.array([power_between(power, low, high) for low, high in edges])


def power_between(power: np.ndarray, low: float, high: float) -> np.ndarray:
    """Sum `(...,)` of spectra `(..., bin)` from `low` Hz up to, but not including, `high` Hz."""
    inside = (low <= REGISTER_HZ) & (high > REGISTER_HZ)
    return power[..., inside].sum(axis=-1)


def shared_area(one: np.ndarray, other: np.ndarray) -> float:
    """Bhattacharyya coefficient of two power spectra: 1 for equal shapes, 0 for disjoint ones."""
    return float(np.sqrt(one * other).sum() / np.sqrt(one.sum() * other.sum()))


def register_overlap(songs: Sequence[DecodedSong]) -> Summary:
    """Overlap of two classes' third-octave spectra, as a mean over all windows in which both
    sound."""
    pairs: dict[tuple[str, str], list[float]] = {p: [] for p in itertools.combinations(CLASSES, 2)}
    for song in songs:
        spectra = {
            name: {piece.start: third_octaves(stem[:, piece]) for piece in sounding_windows(stem)}
            for name, stem in song.stems.items()
        }
        for (one, other), found in pairs.items():
            first, second = spectra.get(one, {}), spectra.get(other, {})
            found += [shared_area(first[start], second[start]) for start in first.keys() & second]
    return {
        f"{one} and {other}": _summed_up(found, np.mean) for (one, other), found in pairs.items()
    }


def low_register_shares(songs: Sequence[DecodedSong]) -> dict[str, Summary]:
    """Each class' share of the stems' energy in a low register, as a mean over the songs that have
    all four classes."""
    spectra = [
        np.stack([mean_power(song.stems[name]) for name in CLASSES])
        for song in songs
        if len(song.stems) == len(CLASSES)
    ]
    values = {}
    for words, (low, high) in LOW_REGISTERS_HZ.items():
        energies = [power_between(power, low, high) for power in spectra]
        shares = [energy / energy.sum() for energy in energies]
        values[f"share of the energy {words}"] = {
            name: _summed_up([share[label] for share in shares], np.mean)
            for label, name in enumerate(CLASSES)
        }
    return values


def ideal_mask(song: DecodedSong) -> dict[str, np.ndarray]:
    """Estimates `(channel=2, sample)` by class from the ideal ratio mask of magnitudes, which is
    applied to each channel of the mixture."""
    import torch

    from selfrefine.audio.spectrogram import spectrogram, waveform

    stems = torch.from_numpy(np.stack(list(song.stems.values())))
    spectra = spectrogram(stems, MASK_FFT, MASK_HOP, centred=True)
    mask = spectra.abs()
    mask /= mask.sum(dim=0) + 1e-12
    found = waveform(mask * spectra.sum(dim=0), MASK_FFT, MASK_HOP, stems.shape[-1])
    return dict(zip(song.stems, found.numpy(), strict=True))


def song_sdr(song: DecodedSong, estimates: dict[str, np.ndarray]) -> np.ndarray:
    """SDR (dB) `(class,)` of estimates `(channel=2, sample)`, as a median over frames of 1 s.

    A class that the song lacks is NaN and does not exclude any frame of the others.
    """
    references = np.stack(list(song.stems.values()))
    found = np.stack([estimates[name] for name in song.stems])
    frames = frame_sdr(references, found, SAMPLE_RATE, SAMPLE_RATE)
    of_class = dict(zip(song.stems, track_sdr(frames), strict=True))
    return np.array([of_class.get(name, np.nan) for name in CLASSES])


def sdr_summary(scores: Sequence[np.ndarray]) -> Summary:
    """Medians over songs of the SDR (dB) `(class,)`, and the mean of these medians."""
    medians = median_over_tracks(np.array(scores))
    return dict(zip((*CLASSES, "avg"), [*medians.tolist(), float(np.mean(medians))], strict=True))


def separability(songs: Sequence[DecodedSong]) -> dict[str, Summary]:
    """SDR (dB) of the ideal ratio mask, and of a quarter of the mixture as every estimate."""
    quarter = [song_sdr(song, dict.fromkeys(CLASSES, song.mixture / 4)) for song in songs]
    return {
        "ideal ratio mask, SDR (dB)": sdr_summary([song_sdr(s, ideal_mask(s)) for s in songs]),
        "mixture / 4, SDR (dB)": sdr_summary(quarter),
    }


def _classifier() -> Pipeline:
    return make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
    )


def _balanced_accuracy(labels: np.ndarray, found: np.ndarray) -> float:
    """Mean recall over the classes that occur in `labels`."""
    return float(recall_score(labels, found, labels=np.unique(labels), average="macro"))


def _by_class(
    table: FeatureTable, column: int, over_songs: Callable[[list[float]], Any]
) -> Summary:
    values = {}
    for label, name in enumerate(CLASSES):
        of_class = table.labels == label
        songs = np.unique(table.songs[of_class])
        column_values = table.rows[:, column]
        means = [column_values[of_class & (table.songs == song)].mean() for song in songs]
        values[name] = _summed_up(means, over_songs)
    return values


def _summed_up(values: list[float], by: Callable[[list[float]], Any]) -> float:
    return float(by(values)) if values else math.nan


def _frames(signal: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Frames `(frame, sample)` of a signal `(sample,)`, with a Hann window."""
    return np.lib.stride_tricks.sliding_window_view(signal, size)[::hop] * np.hanning(size)


def _power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64)))


def _db(power: Any) -> Any:
    """The power in dB, for a number or an array."""
    return 10 * np.log10(power + 1e-12)
