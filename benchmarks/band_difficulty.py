"""How hard the embedded band is for features that should not solve it.

    python -m benchmarks.band_difficulty [--train 48] [--test 24] [--seconds 30]

Prints, for each pair of domains (trained on, tested on), the accuracy of a linear classifier that
tells the four stems apart from 3 s windows, by (i) level, pan and width; (ii) the energies of five
bands; (iii) both, with spectral flatness, centroid, zero crossings and onset rate. Chance is .25.
Aims: (i) at most .4, (ii) at most .65, (iii) at most .8, and less across domains than within.
Then how much of the time stems and tracks sound, and what a song costs.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from selfrefine.classes import CLASSES
from selfrefine.data.band import DOMAINS, play_song

SAMPLE_RATE = 16000
WINDOW_S = 3.0
FRAME_S = 0.1
ACTIVE_DB = -30.0
BAND_EDGES_HZ = (30.0, 150.0, 500.0, 1500.0, 4000.0, 8000.0)
TEST_SEED_OFFSET = 1000
FEATURE_SETS = {
    "(i) level, pan, width": slice(0, 3),
    "(ii) five bands": slice(3, 8),
    "(iii) all": slice(0, 12),
}


def features(window: np.ndarray) -> np.ndarray:
    """The twelve features of one window (channel=2, sample) at SAMPLE_RATE."""
    power = np.mean(np.square(window, dtype=np.float64), axis=1) + 1e-12
    mid, side = (window[0] + window[1]) / 2, (window[0] - window[1]) / 2
    width = _db(np.mean(side**2)) - _db(np.mean(mid**2))
    hop, size = 256, 1024
    frames = np.lib.stride_tricks.sliding_window_view(mid, size)[::hop] * np.hanning(size)
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-12
    mean = spectrum.mean(axis=0)
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    bands = [
        _db(mean[(hz >= low) & (hz < high)].sum())
        for low, high in itertools.pairwise(BAND_EDGES_HZ)
    ]
    flatness = _db(np.exp(np.mean(np.log(mean)))) - _db(mean.mean())
    centroid = np.log2((hz * mean).sum() / mean.sum() + 1)
    crossings = np.mean(np.diff(np.signbit(mid)))
    flux = np.maximum(np.diff(np.log(spectrum.reshape(len(spectrum), -1)), axis=0), 0).mean(axis=1)
    peaks = (flux[1:-1] > flux[:-2]) & (flux[1:-1] > flux[2:]) & (flux[1:-1] > 1.4 * flux.mean())
    level, balance = _db(power.mean()), _db(power[0]) - _db(power[1])
    onsets = peaks.sum() / WINDOW_S
    return np.array([level, balance, width, *bands, flatness, centroid, crossings, onsets])


def activity(audio: np.ndarray, sample_rate: int) -> float:
    """Share of 0.1 s frames of (channel, sample) audio within 30 dB of the loudest frame."""
    size = round(FRAME_S * sample_rate)
    frames = audio[:, : audio.shape[1] // size * size].reshape(len(audio), -1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=(0, 2))
    return float(np.mean(power >= power.max() * 10 ** (ACTIVE_DB / 10)))


def windows_of(stem: np.ndarray) -> list[np.ndarray]:
    """Features of a stem's 3 s windows, those 30 dB under the loudest left out."""
    size = round(WINDOW_S * SAMPLE_RATE)
    pieces = [stem[:, k : k + size] for k in range(0, stem.shape[1] - size + 1, size)]
    powers = [float(np.mean(p**2)) for p in pieces]
    floor = max(powers) * 10 ** (ACTIVE_DB / 10)
    return [features(p) for p, power in zip(pieces, powers, strict=True) if power >= floor]


def main() -> None:
    parser = argparse.ArgumentParser(description="How hard the embedded band is.")
    parser.add_argument("--train", type=int, default=48, help="training songs per domain")
    parser.add_argument("--test", type=int, default=24, help="test songs per domain")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a song")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sets: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    stem_activity: dict[str, list[float]] = {c: [] for c in CLASSES}
    track_activity: dict[str, list[float]] = {c: [] for c in CLASSES}
    began = time.process_time()
    playing = 0.0
    for domain in DOMAINS:
        for split, songs, seed in (
            ("train", args.train, args.seed),
            ("test", args.test, args.seed + TEST_SEED_OFFSET),
        ):
            rows, labels = [], []
            for index in range(songs):
                began = time.process_time()
                tracks = play_song(domain, seed, index, args.seconds, SAMPLE_RATE)
                playing += time.process_time() - began
                for label, stem in enumerate(CLASSES):
                    audio = [t.audio for t in tracks if t.stem == stem]
                    track_activity[stem] += [activity(a, SAMPLE_RATE) for a in audio]
                    total = np.sum(audio, axis=0)
                    stem_activity[stem].append(activity(total, SAMPLE_RATE))
                    found = windows_of(total)
                    rows += found
                    labels += [label] * len(found)
            sets[domain, split] = np.array(rows), np.array(labels)

    pairs = [(a, b) for a in DOMAINS for b in DOMAINS]
    print("features".ljust(26) + "".join(f"{a} -> {b}".rjust(10) for a, b in pairs))
    for name, columns in FEATURE_SETS.items():
        cells = []
        for trained, tested in pairs:
            x, y = sets[trained, "train"]
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            model.fit(x[:, columns], y)
            x, y = sets[tested, "test"]
            cells.append(model.score(x[:, columns], y))
        print(name.ljust(26) + "".join(f"{c:10.2f}" for c in cells))
    for what, shares in (("stem", stem_activity), ("track", track_activity)):
        print(
            f"active share of a {what}, mean (lowest): "
            + ", ".join(f"{c} {np.mean(s):.2f} ({min(s):.2f})" for c, s in shares.items())
        )
    songs = len(DOMAINS) * (args.train + args.test)
    print(f"CPU time of a song of {args.seconds:g} s: {playing / songs:.2f} s")


def _db(power: float) -> float:
    return float(10 * np.log10(power + 1e-12))


if __name__ == "__main__":
    main()
