"""The share of a gap that a row closes: (row - noisy) / (uncorrupted - noisy), with its intervals.

Across seeds the interval is Fieller's (1954): every share r for which row - noisy - r (uncorrupted
- noisy) may be 0 by Student's t, seeds paired. Over test songs it is the bootstrap's. Where the gap
itself may be 0, neither has an end, and no share is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.registry import Row, Table
from reports.measures import LEVEL, Interval, Measure, Measures, combined, t_quantile


@dataclass(frozen=True)
class Share:
    """A share of a gap, in %, with its intervals over `seeds` and over `items` test songs. `value`
    is None where none can be told, and `reason` says why. At the gap's ends, 0% and 100% by
    definition, there are no intervals."""

    value: float | None
    seeds: int = 0
    items: int = 0
    across_seeds: Interval | None = None
    over_items: Interval | None = None
    reason: str = ""


def gap_shares(table: Table, measures: Measures) -> dict[str, Share]:
    """By row, the shares of those rows that have a gap, of the average SDR."""
    found = {
        row.name: measures.get(f"{table.name}/{row.name}", {}).get("avg") for row in table.rows
    }
    return {row.name: row_share(row, row.gap, found) for row in table.rows if row.gap is not None}


def row_share(row: Row, gap: tuple[str, str], found: Mapping[str, Measure | None]) -> Share:
    """A row's share of a gap between two rows, from the averages by row; None for a row that was
    not run."""
    own, noisy, uncorrupted = found[row.name], found[gap[0]], found[gap[1]]
    if noisy is None or uncorrupted is None:
        return Share(None, reason="the noisy or the uncorrupted row was not run")
    if own is None:
        return Share(None)
    gain = combined(lambda a, b, c: a - b, own, noisy, uncorrupted)
    whole = combined(lambda a, b, c: c - b, own, noisy, uncorrupted)
    if gain is None or whole is None:
        return Share(None, reason="the rows have no seed in common")
    if row.name in gap:
        share = Share(100.0 * gap.index(row.name), len(whole.seeds), whole.items)
        open_end = unbounded(whole)
        return Share(None, reason=open_end) if open_end else share
    return share_of(gain, whole)


def share_of(gain: Measure, gap: Measure) -> Share:
    """`gain` / `gap`, two differences of the same seeds and songs."""
    reason = unbounded(gap)
    if reason:
        return Share(None, reason=reason)
    return Share(
        100 * gain.value / gap.value,
        len(gap.seeds),
        gap.items,
        fieller(gain.values, gap.values),
        over_songs(gain.resampled.mean(axis=0), gap.resampled.mean(axis=0)),
    )


def unbounded(gap: Measure) -> str:
    """Why a share of a gap cannot be told: an interval of it reaches 0; "" where none does."""
    across, over = gap.across_seeds, gap.over_items
    for interval, what in ((across, f"{len(gap.seeds)} seeds"), (over, f"{gap.items} songs")):
        # Not above 0 also where an end is not a number.
        if interval is not None and not interval.low > 0:
            return (
                f"the gap itself, {gap.value:.2f} dB, may be 0: its 95% interval over {what} is "
                f"{interval}"
            ).replace("-", "−")
    return ""


def fieller(numerators: np.ndarray, denominators: np.ndarray) -> Interval | None:
    """Fieller's interval in % of the ratio of two means over seeds, each `(seed,)`, paired; None
    for a single seed. The denominators' t interval must not reach 0."""
    count = len(numerators)
    if count < 2:
        return None
    x, y = float(numerators.mean()), float(denominators.mean())
    covariance = np.cov(numerators, denominators) * (t_quantile(count - 1) ** 2 / count)
    # (x - r y)^2 <= t^2 var(x - r y), as a r^2 - 2 b r + c <= 0.
    a = y * y - covariance[1, 1]
    b = x * y - covariance[0, 1]
    c = x * x - covariance[0, 0]
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(100 * (b - root) / a, 100 * (b + root) / a)


def over_songs(gains: np.ndarray, gaps: np.ndarray) -> Interval:
    """Percentiles in % of the ratio of two bootstrapped means over seeds, each `(draw,)`. A draw
    without a gap says nothing: it stands beyond both ends."""
    finite = np.isfinite(gains) & np.isfinite(gaps)
    gains, gaps = gains[finite], gaps[finite]
    known = gaps > 0
    ratios = 100 * np.divide(gains, gaps, out=np.zeros_like(gaps), where=known)
    tail = 100 * (1 - LEVEL) / 2
    low = np.percentile(np.where(known, ratios, -np.inf), tail, method="higher")
    high = np.percentile(np.where(known, ratios, np.inf), 100 - tail, method="lower")
    return Interval(float(low), float(high))
