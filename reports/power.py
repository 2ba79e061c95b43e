"""Statistical power: the numbers of seeds and test items that a comparison needs."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

from reports.measures import Measure

MOST = 100
"""Largest factor on the present number of seeds or items; beyond it a number means nothing."""

FACTORS = [*(1 + k / 100 for k in range(900)), *(float(k) for k in range(10, MOST + 1))]


@dataclass(frozen=True)
class Needed:
    """The numbers of seeds and items with which an interval is narrow enough. A number is None if
    no more are needed. Both are None if even the factor `MOST` is not enough."""

    seeds: int | None
    items: int | None

    def text(self, noun: str) -> str:
        """The numbers in words, like "about 11 seeds" or "about 11 seeds and 200 songs"."""
        known = [
            f"{count} {what}"
            for count, what in ((self.seeds, "seeds"), (self.items, noun))
            if count
        ]
        return (
            f"about {' and '.join(known)}"
            if known
            else f"more than {MOST} times the seeds and {noun}"
        )


def enough(measure: Measure, margin: float) -> Needed:
    """The seeds or items that bring half the interval over seeds and items below `margin`.

    This is more seeds or more items, whichever needs the smaller factor. If neither is enough
    alone, it is both, by the same factor.
    """
    seeds, items = len(measure.seeds), measure.items

    def times(count: int, factor: float) -> int:
        return math.ceil(count * factor)

    by_items = smallest(lambda f: measure.half_width(seeds, times(items, f)) < margin)
    by_seeds = by_both = math.inf
    # A single run tells nothing about other seeds.
    if seeds > 1:
        by_seeds = smallest(lambda f: measure.half_width(times(seeds, f), items) < margin)
        by_both = smallest(lambda f: measure.half_width(times(seeds, f), times(items, f)) < margin)
    if math.isfinite(by_seeds) and by_seeds <= by_items:
        return Needed(times(seeds, by_seeds), None)
    if math.isfinite(by_items):
        return Needed(None, times(items, by_items))
    if math.isfinite(by_both):
        return Needed(times(seeds, by_both), times(items, by_both))
    return Needed(None, None)


def smallest(enough: Callable[[float], bool]) -> float:
    """The smallest of `FACTORS` that is enough, if all larger ones are too; infinite if none is."""
    place = bisect.bisect_left(FACTORS, True, key=enough)
    return FACTORS[place] if place < len(FACTORS) else math.inf


def hardest(found: list[Needed]) -> Needed:
    """The most seeds and the most items of several needs. If one need cannot be met, the result
    cannot be met either."""
    if any(each == Needed(None, None) for each in found):
        return Needed(None, None)
    return Needed(
        max((each.seeds for each in found if each.seeds), default=None),
        max((each.items for each in found if each.items), default=None),
    )
