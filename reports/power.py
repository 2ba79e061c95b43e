"""How much a comparison can tell, and what it would take to tell more."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

from reports.measures import Measure

MOST = 100
"""Times the seeds or items there are, beyond which a number says nothing."""

FACTORS = [*(1 + k / 100 for k in range(900)), *(float(k) for k in range(10, MOST + 1))]


@dataclass(frozen=True)
class Needed:
    """Seeds and items that an interval would be narrow enough with, of either where more are
    needed than there are; both None where even MOST would not do."""

    seeds: int | None
    items: int | None

    def text(self, noun: str) -> str:
        """ "about 11 seeds", "about 11 seeds and 200 songs"."""
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
    """What brings half the interval over seeds and items below `margin`: more seeds or more items,
    whichever needs the smaller factor; both by one factor where neither does it alone."""
    seeds, items = len(measure.seeds), measure.items

    def times(count: int, factor: float) -> int:
        return math.ceil(count * factor)

    by_items = smallest(lambda f: measure.half_width(seeds, times(items, f)) < margin)
    by_seeds = by_both = math.inf
    # Nothing is known of other seeds after a single run.
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
    """The smallest factor that is enough, where larger ones are too; infinite for none."""
    place = bisect.bisect_left(FACTORS, True, key=enough)
    return FACTORS[place] if place < len(FACTORS) else math.inf


def hardest(found: list[Needed]) -> Needed:
    """The most seeds and the most items of several; nothing is enough where it is not for one."""
    if any(each == Needed(None, None) for each in found):
        return Needed(None, None)
    return Needed(
        max((each.seeds for each in found if each.seeds), default=None),
        max((each.items for each in found if each.items), default=None),
    )
