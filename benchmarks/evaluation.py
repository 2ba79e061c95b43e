"""SDR and BSS Eval v4 against museval, side by side.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation [--seconds 30]

Makes four stereo stems and flawed estimates of them on the grid of 16-bit samples, and prints a
Markdown table: CPU seconds (of all threads: busy neighbours count less than in wall time, waiting
threads count in full, hence OMP_NUM_THREADS), their ratio, and the worst deviation over all
sources, frames and metrics.
Expected cost: half a minute for 30 s of audio, all but one second of it in museval. Without ffmpeg,
which `import museval` asks for, only our own times are shown.
"""

from __future__ import annotations

import argparse
import shutil
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from scipy.signal import lfilter

from selfrefine.metrics.bss_eval import bss_eval
from selfrefine.metrics.sdr import frame_sdr

SAMPLE_RATE = 44100
SOURCES = 4
ROUNDS = 3

Result = TypeVar("Result")


def make_stems(samples: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """References and estimates `(source, channel=2, sample)`, float32 multiples of 2**-15.

    A reference is coloured noise that comes and goes; an estimate is its reference through a
    short filter, with some of every other stem, later by up to 300 samples, and noise.
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


def main() -> None:
    parser = argparse.ArgumentParser(description="SDR and BSS Eval v4 against museval")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the audio")
    seconds = parser.parse_args().seconds
    samples = round(seconds * SAMPLE_RATE)
    references, estimates = make_stems(samples, np.random.default_rng(0))

    torch.set_num_threads(1)
    window = SAMPLE_RATE
    sdr_time, sdr = _best_of(ROUNDS, lambda: frame_sdr(references, estimates, window, window))
    four_time, four = _best_of(ROUNDS, lambda: bss_eval(references, estimates, window))
    peer = _museval(references, estimates)

    print(f"{SOURCES} stereo stems of {seconds:g} s at {SAMPLE_RATE} Hz\n")
    print("| | ours, s | museval, s | ratio | worst deviation, dB |")
    print("|---|---|---|---|---|")
    rows = (
        ("SDR", sdr_time, sdr[None], 1),
        ("SDR, ISR, SIR, SAR", four_time, np.stack([four.sdr, four.isr, four.sir, four.sar]), 4),
    )
    for name, ours, values, metrics in rows:
        if peer is None:
            print(f"| {name} | {ours:.3f} | no ffmpeg | - | - |")
            continue
        peer_time, expected = peer
        deviation = np.nanmax(np.abs(values - expected[:metrics]))
        ratio = peer_time / ours
        print(f"| {name} | {ours:.3f} | {peer_time:.2f} | {ratio:.0f} | {deviation:.1e} |")


def _museval(references: np.ndarray, estimates: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Seconds and `(metric, source, frame)` of museval; None where it cannot be imported."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval

    pair = [signals.transpose(0, 2, 1).astype(np.float64) for signals in (references, estimates)]
    seconds, metrics = _best_of(
        1, lambda: museval.evaluate(*pair, win=SAMPLE_RATE, hop=SAMPLE_RATE)
    )
    return seconds, np.where(np.isinf(metrics), np.nan, metrics)


def _best_of(rounds: int, work: Callable[[], Result]) -> tuple[float, Result]:
    """Least CPU time of the rounds, and the result."""
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
