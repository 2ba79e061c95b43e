"""The share of a gap that a row closes: (row - noisy) / (uncorrupted - noisy), with its intervals.

The interval across seeds is Fieller's (1954): it holds every share r for which
row - noisy - r (uncorrupted - noisy) may be 0 by Student's t, with paired seeds. The interval over
test songs is by bootstrap. If the gap itself may be 0, both intervals are unbounded, and no share
is given.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.rows import Row, Table
from reports.measures import LEVEL, Interval, Measure, Measures, combined, t_quantile


@dataclass(frozen=True)
class Share:
    """A share of a gap in %, with its intervals over `seeds` seeds and over `items` test songs.

    `value` is None if no share can be given; `reason` then says why, except for a row that was not
    run. The two rows at the gap's ends have 0% and 100% by definition, without intervals.
    """

    value: float | None
    seeds: int = 0
    items: int = 0
    across_seeds: Interval | None = None
    over_items: Interval | None = None
    reason: str = ""


def gap_shares(table: Table, measures: Measures) -> dict[str, Share]:
    """The shares of the gap in average SDR, by row, for the rows that have a gap."""
    found = {
        row.name: measures.get(f"{table.name}/{row.name}", {}).get("avg") for row in table.rows
    }
    return {row.name: row_share(row, row.gap, found) for row in table.rows if row.gap is not None}


def row_share(row: Row, gap: tuple[str, str], found: Mapping[str, Measure | None]) -> Share:
    """A row's share of the gap between two rows. `found` has the averages by row, None for a row
    that was not run."""
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
    """The share `gain` / `gap`. Both are differences over the same seeds and songs."""
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
    """Why no share of a gap can be given: an interval of the gap reaches 0. "" if none does."""
    across, over = gap.across_seeds, gap.over_items
    for interval, what in ((across, f"{len(gap.seeds)} seeds"), (over, f"{gap.items} songs")):
        # `not ... > 0` is also true for NaN.
        if interval is not None and not interval.low > 0:
            return (
                f"the gap itself, {gap.value:.2f} dB, may be 0: its 95% interval over {what} is "
                f"{interval}"
            ).replace("-", "−")
    return ""


def fieller(numerators: np.ndarray, denominators: np.ndarray) -> Interval | None:
    """Fieller's interval in % of the ratio of two paired means over seeds, each `(seed,)`. None for
    a single seed. The t interval of the denominators must not reach 0."""
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
    """Percentile interval in % of the ratio of two bootstrapped means over seeds, each `(draw,)`. A
    draw whose gap is not above 0 counts as lying beyond both ends."""
    finite = np.isfinite(gains) & np.isfinite(gaps)
    gains, gaps = gains[finite], gaps[finite]
    known = gaps > 0
    ratios = 100 * np.divide(gains, gaps, out=np.zeros_like(gaps), where=known)
    tail = 100 * (1 - LEVEL) / 2
    low = np.percentile(np.where(known, ratios, -np.inf), tail, method="higher")
    high = np.percentile(np.where(known, ratios, np.inf), 100 - tail, method="lower")
    return Interval(float(low), float(high))
