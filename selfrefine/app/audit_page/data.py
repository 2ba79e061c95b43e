"""The waveform and the probabilities that audit.html draws for a stem, in few bytes."""

import base64
from dataclasses import dataclass

import numpy as np

from selfrefine.classes import CLASSES, label_words
from selfrefine.refining.segments import Segment

COLUMNS = 240
"""The most columns of a drawn waveform: about the width of a phone's screen in pixels."""
MOST_POINTS = 120
"""The most points of a drawn curve."""
LEVELS = 255
X_LEVELS = 1000


@dataclass(frozen=True)
class Curve:
    """A stem's probabilities over time: `times` `(window,)` in s of the file, `probabilities`
    `(window, class)`, and start and end in s of the stretches that silence removal kept."""

    times: np.ndarray
    probabilities: np.ndarray
    stretches: tuple[tuple[float, float], ...]


def packed(values: np.ndarray) -> str:
    """Numbers from 0 to 1 as one byte each, in base64."""
    levels = np.nan_to_num(values).clip(0, 1) * LEVELS
    return base64.b64encode(levels.round().astype(np.uint8).tobytes()).decode()


def packed_waveform(peaks: np.ndarray) -> str:
    """The largest of `peaks` in each of at most COLUMNS equal parts, packed. They are scaled to a
    maximum of 1, so that quiet stems are visible."""
    starts = np.linspace(0, len(peaks), min(COLUMNS, len(peaks)), endpoint=False).astype(int)
    highest = peaks.max(initial=0)
    return packed(np.maximum.reduceat(peaks, starts) / highest) if highest > 0 else ""


def segment_rows(segments: tuple[Segment, ...]) -> list[tuple[float, float, str, float]]:
    """Start and end in s, label set and confidence of each segment."""
    return [
        (
            round(part.start, 2),
            round(part.end, 2),
            label_words(part.label),
            round(part.confidence, 2),
        )
        for part in segments
    ]


def curve_record(curve: Curve, seconds: float) -> dict[str, object]:
    """The curve's points `x` in thousandths of the file, a packed line per class, and the stretches
    that silence removal kept, in s."""
    count = len(curve.times)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))
    x = (curve.times[chosen] / seconds * X_LEVELS).round().astype(int).clip(0, X_LEVELS)
    lines = curve.probabilities[chosen].T
    return {
        "x": x.tolist(),
        "lines": {name: packed(line) for name, line in zip(CLASSES, lines, strict=True)},
        "heard": [
            (round(start, 2), round(end, 2))
            for start, end in merged(curve.stretches, seconds / MOST_POINTS)
        ],
    }


def merged(stretches: tuple[tuple[float, float], ...], gap: float) -> list[tuple[float, float]]:
    """The stretches, joined where the gap between them is shorter than `gap`, in s."""
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
