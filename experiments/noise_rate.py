"""The table `noise-rate`: labels and separators by the share of wrong stems, for two mechanisms.

Stems are swapped within their song, or single tracks are filed under another class. The share of
wrong stems is what a set is asked for; a figure shows the share that it has.
"""

from typing import Any

from experiments.method import (
    noisy,
    psi_refined,
    refined,
    score,
    started,
    that_stands,
    truly_labelled,
)
from experiments.robust import BEST
from experiments.rows import Row, Table
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import NOISY, UNCORRUPTED
from experiments.stages.stage import rebuild
from experiments.stages.stem_set import StemSet
from selfrefine.settings import PAPER_XUMX, Corruption

RATES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Shares of wrong stems."""

MOVED_TRACKS = {0.1: 0.05, 0.2: 0.1, 0.35: 0.185, 0.5: 0.28, 0.65: 0.4, 0.8: 0.56}
"""By the share of wrong stems, the chance of a track of the band to be filed under another
class."""

SWAPPED, MOVED = "swapped stems", "moved tracks"

LABELS: dict[str, StemSet] = {
    "noisy": noisy,
    "w/ Psi_refined": refined(psi_refined),
    "w/ Psi_started": that_stands(started(2)),
    BEST[0]: BEST[1],
}
TRUE = "true labels"


def swapped(rate: float) -> Corruption:
    """Songs in which two of the four stems are swapped; above one half, all of them, and in some
    songs the other two as well."""
    return Corruption(
        swapped_songs=min(1.0, 2 * rate),
        moved_tracks=0.0,
        bleeding_stems=0.0,
        swapped_twice=max(0.0, 2 * rate - 1.0),
    )


def moved(rate: float) -> Corruption:
    return Corruption(swapped_songs=0.0, moved_tracks=MOVED_TRACKS[rate], bleeding_stems=0.0)


def with_noise(stage: Any, noise: Corruption) -> Any:
    """The stage with a noisy set that is made from the uncorrupted one by `noise`."""

    def change(value: Any) -> Any:
        return Corrupted(UNCORRUPTED, noise) if value == NOISY else value

    return rebuild(stage, change)


def noise_row(mechanism: str, rate: float, labels: str, train: StemSet, noise: Corruption) -> Row:
    name = f"{mechanism.split()[0]}-{100 * rate:.0f}-{labels.lower().removeprefix('w/ psi_')}"
    return Row(
        name.replace(",", "").replace(" ", "-"),
        (mechanism, f"{rate:.0%}", labels),
        with_noise(score(PAPER_XUMX, train), noise),
        ours=True,
    )


def noise_rows() -> tuple[Row, ...]:
    """Without wrong stems both mechanisms are one set, which also stands for the true labels of
    swapped stems: these are the same stems under the same labels."""
    rows = [
        noise_row(SWAPPED, 0.0, labels, train, swapped(0.0)) for labels, train in LABELS.items()
    ]
    for mechanism, noise_of in ((SWAPPED, swapped), (MOVED, moved)):
        sets = LABELS if mechanism == SWAPPED else LABELS | {TRUE: truly_labelled}
        rows += [
            noise_row(mechanism, rate, labels, train, noise_of(rate))
            for rate in RATES[1:]
            for labels, train in sets.items()
        ]
    return tuple(rows)


NOISE_RATE = Table(
    "noise-rate",
    "SDR (dB) of X-UMX by the share of wrong stems",
    ("mechanism", "wrong stems", "labels"),
    noise_rows(),
)
