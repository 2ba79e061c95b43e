"""How much a comparison can tell, and what it would take to tell more."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

from reports.measures import Measure

MOST = 1000
"""Seeds, or times as many of both, beyond which a number says nothing."""


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


def needed(measure: Measure, margin: float) -> Needed:
    """What brings half the interval over seeds and items below `margin`: more seeds or more items,
    whichever needs the smaller factor; both by one factor where neither does it alone."""
    seeds, items = len(measure.seeds), measure.items

    def factor(width: Callable[[float], float]) -> float:
        """The smallest from 1 to MOST that is enough, in hundredths below 10; infinite for none."""
        steps = [1 + k / 100 for k in range(900)] + [float(k) for k in range(10, MOST + 1)]
        place = bisect.bisect_left(steps, True, key=lambda times: width(times) < margin)
        return steps[place] if place < len(steps) else math.inf

    # Nothing is known of other seeds after a single run.
    by_seeds = (
        math.inf
        if seeds < 2
        else factor(lambda times: measure.half_width(math.ceil(times * seeds), items))
    )
    by_items = factor(lambda times: measure.half_width(seeds, math.ceil(times * items)))
    if math.isfinite(min(by_seeds, by_items)):
        if by_seeds <= by_items:
            return Needed(math.ceil(by_seeds * seeds), None)
        return Needed(None, math.ceil(by_items * items))
    both = (
        math.inf
        if seeds < 2
        else factor(
            lambda times: measure.half_width(math.ceil(times * seeds), math.ceil(times * items))
        )
    )
    if math.isinf(both):
        return Needed(None, None)
    return Needed(math.ceil(both * seeds), math.ceil(both * items))


def hardest(found: list[Needed]) -> Needed:
    """The most seeds and the most items of several; nothing is enough where it is not for one."""
    if any(each == Needed(None, None) for each in found):
        return Needed(None, None)
    return Needed(
        max((each.seeds for each in found if each.seeds), default=None),
        max((each.items for each in found if each.items), default=None),
    )
