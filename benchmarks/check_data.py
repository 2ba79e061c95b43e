"""Compares the speed of `selfrefine check-data` with that of reading the same files.

    OMP_NUM_THREADS=1 python -m benchmarks.check_data [--songs 6] [--minutes 3] [--folder DIR]

Writes 16-bit stereo WAV songs (mixture and four stems; 160 MB per song of 3 minutes). Prints MB/s
of three ways on the same number of threads: reading the files' bytes (the speed of the disk or of
the page cache), decoding them with soundfile, and the whole check. The ways take turns, and the
best of three rounds counts. Expected cost: half a minute, 1 GB of disk.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from selfrefine.app.inspection import inspect
from selfrefine.classes import CLASSES

RATE = 44100
ROUNDS = 3
READ_BYTES = 1 << 20
DECODE_SAMPLES = 1 << 17


def main() -> None:
    parser = argparse.ArgumentParser(description="check-data against only reading")
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=3.0, help="length of a song")
    parser.add_argument("--folder", type=Path, help="where to write the songs (a disk to measure)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        root = Path(temporary)
        write_clean_songs(root, args.songs, round(args.minutes * 60 * RATE))
        paths = sorted(root.glob("*/*.wav"))
        size = sum(path.stat().st_size for path in paths)
        ways: dict[str, Callable[[], object]] = {
            "read the bytes": lambda: in_threads(read_bytes, paths),
            "decode with soundfile": lambda: in_threads(decode_all, paths),
            "check-data": lambda: inspect(root, lambda done, total: None),
        }
        inspect(root, lambda done, total: None)  # compiles
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                best[name] = min(best[name], time.perf_counter() - began)
    print(f"{len(paths)} files, {size / 1e6:.0f} MB, {os.cpu_count()} threads\n")
    print("| | s | MB/s | of reading's speed |")
    print("|---|---|---|---|")
    for name, seconds in best.items():
        share = best["read the bytes"] / seconds
        print(f"| {name} | {seconds:.2f} | {size / 1e6 / seconds:.0f} | {share:.2f} |")


def write_clean_songs(root: Path, songs: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    for song in range(songs):
        folder = root / f"song{song}"
        folder.mkdir()
        stems = rng.integers(-8000, 8000, (len(CLASSES), samples, 2), dtype=np.int16)
        for name, audio in zip((*CLASSES, "mixture"), (*stems, sum(stems)), strict=True):
            soundfile.write(folder / f"{name}.wav", audio, RATE)


def in_threads(work: Callable[[Path], None], paths: list[Path]) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(work, paths))


def read_bytes(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


def decode_all(path: Path) -> None:
    buffer = np.empty((DECODE_SAMPLES, 2), dtype=np.int16)
    with soundfile.SoundFile(path) as file:
        while len(file.read(out=buffer)):
            pass


if __name__ == "__main__":
    main()
