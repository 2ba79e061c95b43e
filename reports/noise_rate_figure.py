"""Labels and separators by the share of wrong stems, as one figure."""

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments.noise_rate import LABELS, MOVED, NOISE_RATE, RATES, SWAPPED, TRUE
from experiments.rows import Row
from reports.drawing import INK, MUTED, Drawing, csv_of
from reports.learned_labels import given_accuracy, learned_accuracy
from reports.measures import Interval, Measures
from reports.results import Results
from reports.sheets import count_range

COLOURS = dict(zip((*LABELS, TRUE), (MUTED, "#c2410c", "#15803d", "#1d4ed8", INK), strict=True))
NOISY, REFINED = "noisy", "w/ Psi_refined"
SPREAD = 0.15
"""Difference (dB) of two runs that a seed's spread alone makes at `mini`."""
HEAD = [
    "mechanism", "labels", "asked", "wrong stems", "labels right", "SDR", "low", "high", "seeds",
]  # fmt: skip


@dataclass(frozen=True)
class Point:
    """X-UMX on labels of one kind, at one share of wrong stems.

    `asked` is the share that the set was asked for, `wrong` the one that it has. `right` is the
    share of stems under exactly their true label set. `sdr` is in dB, with its interval `across`
    seeds; all are means over `seeds` seeds.
    """

    mechanism: str
    labels: str
    asked: float
    wrong: float
    right: float
    sdr: float
    across: Interval | None
    seeds: int


def noise_rate(results: Results, measures: Measures) -> Drawing | None:
    """Draws one column per mechanism: the labels above, the separators below."""
    points = [each for row in NOISE_RATE.rows for each in points_of(row, results, measures)]
    if not points:
        return None
    mechanisms = [name for name in (SWAPPED, MOVED) if any(p.mechanism == name for p in points)]
    figure, axes = plt.subplots(
        2, len(mechanisms), figsize=(4.6 * len(mechanisms), 6), squeeze=False, sharex=True
    )
    for mechanism, (above, below) in zip(mechanisms, axes.T, strict=True):
        own = [each for each in points if each.mechanism == mechanism]
        draw_lines(above, own, of_labels=True)
        draw_lines(below, own, of_labels=False)
        above.set(title=mechanism)
        below.set(xlabel="share of wrong stems")
    axes[0, 0].set_ylabel("stems under exactly their label set")
    axes[1, 0].set_ylabel("average SDR (dB)")
    handles, names = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    counts = [each.seeds for each in points]
    means = f"means over {count_range(counts)} seeds, bars: 95% across them"
    if max(counts) == 1:
        means = "one seed"
    caption = (
        f"Label sets that are exactly right, and the average SDR of X-UMX, by the share of wrong "
        f"stems; {means}. "
        f"{' '.join(turning_words(points, mechanism) for mechanism in mechanisms)} The true labels "
        "of swapped stems are those of no wrong stems."
    )
    rows: list[list[object]] = [
        [
            each.mechanism,
            each.labels,
            each.asked,
            each.wrong,
            each.right,
            each.sdr,
            each.across.low if each.across else "",
            each.across.high if each.across else "",
            each.seeds,
        ]
        for each in points
    ]
    return Drawing(figure, csv_of(HEAD, rows), caption)


def points_of(row: Row, results: Results, measures: Measures) -> list[Point]:
    """The points of a row that was run: one, or one for each mechanism without wrong stems."""
    label = f"{NOISE_RATE.name}/{row.name}"
    runs, measure = results.runs(label), measures.get(label, {}).get("avg")
    if not runs or measure is None:
        return []
    mechanism, asked, labels = row.labels
    given = [given_accuracy(results, run) for run in runs]
    learned = [learned_accuracy(results, run) for run in runs]
    if not all(given) or not (labels == TRUE or all(learned)):
        return []  # of an earlier version, which did not audit labels
    wrong = mean(1 - each["exact"] for each in given if each)
    right = 1.0 if labels == TRUE else mean(each["exact"] for each in learned if each)
    share = float(asked.removesuffix("%")) / 100
    found = (share, wrong, right, measure.value, measure.across_seeds, len(runs))
    if share:
        return [Point(mechanism, labels, *found)]
    points = [Point(each, labels, *found) for each in (SWAPPED, MOVED)]
    if labels == NOISY:
        points += [Point(each, TRUE, *found) for each in (SWAPPED, MOVED)]
    return points


def draw_lines(axis: Axes, points: list[Point], of_labels: bool) -> None:
    for labels, colour in COLOURS.items():
        own = sorted((p for p in points if p.labels == labels), key=lambda p: p.wrong)
        if not own:
            continue
        wrong = [each.wrong for each in own]
        values = [each.right if of_labels else each.sdr for each in own]
        if len(own) == 1:
            # Swapped stems have one set of true labels, whatever the share of wrong ones.
            axis.axhline(values[0], color=colour, lw=1, ls="--", label=labels)
            continue
        style = "--" if labels == TRUE else "-"
        axis.plot(wrong, values, style, color=colour, marker="o", ms=3.5, lw=1.5, label=labels)
        if not of_labels:
            for each in own:
                if each.across is not None:
                    axis.plot(
                        [each.wrong] * 2, [each.across.low, each.across.high], color=colour, lw=0.8
                    )
    axis.set_xlim(0, max(RATES) + 0.05)


def turning_words(points: list[Point], mechanism: str) -> str:
    """In words, at which shares of wrong stems the paper's refining helps and where it harms. A
    share at which it does neither by more than the spread of its seeds is passed over."""
    by_share = {(each.asked, each.labels): each for each in points if each.mechanism == mechanism}
    both = [
        (by_share[share, REFINED], by_share[share, NOISY])
        for share in RATES
        if (share, REFINED) in by_share and (share, NOISY) in by_share
    ]
    name = mechanism.capitalize()
    if len(both) < 2:
        return f"{name}: too few shares were run to say where refining helps."
    gains = [
        (refined.wrong, refined.sdr - noisy.sdr)
        for refined, noisy in both
        if abs(refined.sdr - noisy.sdr) >= SPREAD / math.sqrt(min(refined.seeds, noisy.seeds))
    ]
    if not gains:
        return (
            f"{name}: the paper's refining nowhere helps or harms by more than the seeds' spread."
        )
    turns = [
        (after, left + (right - left) * before / (before - after))
        for (left, before), (right, after) in pairwise(gains)
        if (before > 0) != (after > 0)
    ]
    (first, gain), (last, _) = gains[0], gains[-1]
    words = [f"{effect(gain)} at {first:.0%}"]
    if last > first and not turns:
        words = [f"{effect(gain)} from {first:.0%} to {last:.0%}"]
    words += [f"{effect(after)} from {share:.0%}" for after, share in turns]
    return f"{name}: the paper's refining {', '.join(words)} of wrong stems."


def effect(gain: float) -> str:
    return "helps" if gain > 0 else "harms"
