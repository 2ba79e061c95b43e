"""Compares our SDR and BSS Eval v4 with museval, in speed and values.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation [--seconds 30] [REFERENCES ESTIMATES]

REFERENCES and ESTIMATES are folders of one song's stems, like REFERENCES/vocals.wav. Without them
four stereo stems and imperfect estimates are made, as multiples of a 16-bit step.

Prints Markdown tables. The first has CPU seconds and their ratio. CPU time is the sum over all
threads: other busy processes matter less than for wall time, but waiting threads count in full,
hence OMP_NUM_THREADS. The second has, over all sources and frames, the worst deviation of each
metric, and how many values only one of the two programs defines.

Expected cost: half a minute for 30 s of audio, all but one second of it in museval. Without museval
or ffmpeg, which `import museval` needs, only our own times are shown.
"""

from __future__ import annotations

import argparse
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy.signal import lfilter

from benchmarks.clock import imported
from selfrefine.app.evaluate_folders import METRICS, song_pairs, streamed_pairs
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, stem_files
from selfrefine.metrics.bss_eval import bss_eval
from selfrefine.metrics.sdr import frame_sdr

SAMPLE_RATE = 44100
SOURCES = 4
ROUNDS = 3

FoundT = TypeVar("FoundT")


def make_stems(samples: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """References and estimates `(source, channel=2, sample)`, float32 multiples of 2**-15.

    A reference is coloured noise with a level that rises and falls. An estimate is the sum of its
    reference through a short filter, of every other stem at a low level and delayed by less than
    300 samples, and of noise.
    """
    references = np.empty((SOURCES, 2, samples))
    swell_hz = generator.uniform(0.2, 2, SOURCES)
    for source in range(SOURCES):
        colour = [1, -generator.uniform(-0.2, 0.95)]
        noise = lfilter([0.03], colour, generator.standard_normal((2, samples)), axis=1)
        noise[1] += generator.uniform(0.2, 2) * noise[0]
        swell = np.abs(np.sin(np.pi * swell_hz[source] * np.arange(samples) / SAMPLE_RATE))
        references[source] = noise * swell
    references = _on_grid(references)
    estimates = 0.003 * generator.standard_normal(references.shape)
    for source in range(SOURCES):
        smear = 0.1 * generator.standard_normal(32) * np.exp(-np.arange(32) / 6)
        smear[0] += 0.9
        estimates[source] += lfilter(smear, 1, references[source], axis=1)
        for other in set(range(SOURCES)) - {source}:
            leak = np.roll(references[other], generator.integers(300), axis=1)
            estimates[source] += generator.uniform(0.03, 0.2) * leak
    return references.astype(np.float32), _on_grid(estimates).astype(np.float32)


def read_stems(references: Path, estimates: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Reads one song's stems and estimates, both `(source, channel, sample)`, and their sample rate
    (Hz). Raises InputError for a folder without stems."""
    song = SongFiles(references.name, tuple(stem_files(references)))
    if not song.files:
        raise InputError(f"{references}: no stems in it; expected files as vocals.wav")
    with streamed_pairs(song_pairs(song, estimates)) as (reference, estimate, rate):
        full_scale = np.float32(2**15 if reference.dtype == np.int16 else 1)
        pair = [
            np.ascontiguousarray(stems[..., :], dtype=np.float32) / full_scale
            for stems in (reference, estimate)
        ]
    return pair[0], pair[1], rate


def main() -> None:
    parser = argparse.ArgumentParser(description="SDR and BSS Eval v4 against museval")
    parser.add_argument("references", type=Path, nargs="?", help="folder of a song's stems")
    parser.add_argument("estimates", type=Path, nargs="?", help="folder of estimates of them")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of audio that is made")
    args = parser.parse_args()
    if args.references and not args.estimates:
        parser.error("give the folder of estimates too")
    if args.references:
        references, estimates, rate = read_stems(args.references, args.estimates)
    else:
        samples = round(args.seconds * SAMPLE_RATE)
        references, estimates = make_stems(samples, np.random.default_rng(0))
        rate = SAMPLE_RATE

    torch.set_num_threads(1)
    sdr_time, sdr = _best_of(ROUNDS, lambda: frame_sdr(references, estimates, rate, rate))
    four_time, four = _best_of(ROUNDS, lambda: bss_eval(references, estimates, rate))
    peer = _museval(references, estimates, rate)

    sources, channels, samples = references.shape
    print(f"{sources} stems of {channels} channels, {samples / rate:g} s at {rate} Hz\n")
    print("| | ours, s | museval, s | ratio |")
    print("|---|---|---|---|")
    for name, ours in (("SDR", sdr_time), (", ".join(METRICS), four_time)):
        if isinstance(peer, str):
            theirs = f"no {peer} | -"
        else:
            theirs = f"{peer[0]:.2f} | {peer[0] / ours:.0f}"
        print(f"| {name} | {ours:.3f} | {theirs} |")
    if isinstance(peer, str):
        return
    print("\n| | frames in both | worst deviation, dB | in one only |")
    print("|---|---|---|---|")
    rows = zip(
        ("SDR alone", *METRICS),
        (sdr, four.sdr, four.isr, four.sir, four.sar),
        peer[1][[0, 0, 1, 2, 3]],
        strict=True,
    )
    for name, found, expected in rows:
        both = np.isfinite(found) & np.isfinite(expected)
        worst = np.abs(found - expected)[both].max(initial=0)
        one_only = np.sum(np.isfinite(found) != np.isfinite(expected))
        print(f"| {name} | {both.sum()} | {worst:.1e} | {one_only} |")


def _museval(
    references: np.ndarray, estimates: np.ndarray, rate: int
) -> tuple[float, np.ndarray] | str:
    """museval's CPU seconds and metrics `(metric, source, frame)`, or the name of the missing
    program."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        return "ffmpeg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        museval = imported("museval")
    if museval is None:
        return "museval"
    pair = [signals.transpose(0, 2, 1).astype(np.float64) for signals in (references, estimates)]
    seconds, metrics = _best_of(1, lambda: museval.evaluate(*pair, win=rate, hop=rate))
    return seconds, np.where(np.isinf(metrics), np.nan, metrics)


def _best_of(rounds: int, work: Callable[[], FoundT]) -> tuple[float, FoundT]:
    """The least CPU time (s) of the rounds, and the result of the work."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def _on_grid(audio: np.ndarray) -> np.ndarray:
    return np.round(np.clip(audio, -1, 1 - 2**-15) * 2**15) / 2**15


if __name__ == "__main__":
    main()
