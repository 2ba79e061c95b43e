"""The paper's ten claims, each a small function from the results to the numbers that decide it.

A claim has one or more comparisons. A comparison is a difference, paired over seeds and test items,
that lies on one side of a bound if the claim is true. Its 95% interval over seeds and items
decides: an interval wholly on that side supports the claim, one wholly on the other side refutes
it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from experiments.registry import TARGETS
from reports.measures import Interval, Measure, Measures, combined
from reports.power import Needed, enough, hardest
from reports.sheets import number
from reports.writers import interval_text

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
NOT_RUN = "not run"

ABOUT_A_POINT = 1.5
"""Difference in accuracy (points) that still counts as "about 1"; the paper's own is 1.0."""
NOTICEABLE = 0.1
"""Smallest noticeable difference (dB). The smallest one that the paper calls a degradation is
0.16 dB."""
NETWORKS = ("demucs", "x-umx")


@dataclass(frozen=True)
class Comparison:
    """A difference that lies above `above` and below `below` if the claim is true.

    `measure` is our difference, or None if a row that it needs was not run. `paper` is the same
    difference of the paper's values, NaN if it has none. `noun` names the test items.
    """

    name: str
    unit: str
    measure: Measure | None
    paper: float
    above: float = -np.inf
    below: float = np.inf
    noun: str = "songs"

    @property
    def verdict(self) -> str:
        if self.measure is None:
            return NOT_RUN
        interval = self.measure.over_both
        if interval.low > self.above and interval.high < self.below:
            return HOLDS
        if interval.high <= self.above or interval.low >= self.below:
            return FAILS
        return UNDECIDED

    def margin(self, effect: float) -> float:
        """Distance of an effect from the nearest bound."""
        return min(abs(effect - self.above), abs(effect - self.below))

    @property
    def needed(self) -> Needed:
        """The seeds and items that would decide the comparison if the true effect were ours."""
        assert self.measure is not None
        return enough(self.measure, self.margin(self.measure.value))

    @property
    def power(self) -> str:
        """The power in words: half the deciding interval against the paper's effect, the seeds and
        items needed to see that effect, and, if undecided, those needed to decide."""
        if self.measure is None or np.isnan(self.paper):
            return ""
        unit = f" {self.unit}" if self.unit else ""
        half = self.measure.half_width(len(self.measure.seeds), self.measure.items)
        margin = self.margin(self.paper)
        from_bound = "" if self.margin(0.0) == 0 else " (counted from the bound)"
        words = [
            f"±{number(half, 2)}{unit} against the paper's {number(margin, 2)}{unit}{from_bound}"
        ]
        if half < margin:
            words.append("enough")
        else:
            words.append(f"too wide, it takes {enough(self.measure, margin).text(self.noun)}")
        if self.verdict == UNDECIDED:
            ours = number(self.margin(self.measure.value), 2)
            words.append(f"to decide ours, {ours}{unit}, takes {self.needed.text(self.noun)}")
        if len(self.measure.seeds) == 1:
            words.append("one run, other seeds not counted")
        return "; ".join(words)

    @property
    def bound(self) -> str:
        """The claimed range as text, like "> 0" or "−0.1 to 0.1"."""
        if np.isfinite(self.above) and np.isfinite(self.below):
            return interval_text(self.above, self.below, 1)
        if np.isfinite(self.above):
            return f"> {number(self.above, 1) if self.above else 0}"
        return f"< {number(self.below, 1) if self.below else 0}"


@dataclass(frozen=True)
class Claim:
    """A claim with its comparisons. It holds if all of them hold, and fails if one fails."""

    number: int
    text: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        verdicts = [each.verdict for each in self.comparisons]
        for decisive in (FAILS, NOT_RUN, UNDECIDED):
            if decisive in verdicts:
                return decisive
        return HOLDS

    @property
    def lacking(self) -> str:
        """The seeds and items needed to decide an undecided claim, which are those of its hardest
        comparison. "" for other claims."""
        if self.verdict != UNDECIDED:
            return ""
        found = [each for each in self.comparisons if each.verdict == UNDECIDED]
        return hardest([each.needed for each in found]).text(found[0].noun)


@dataclass(frozen=True)
class Numbers:
    """Our values and the paper's, by `table/row` and cell."""

    measures: Measures

    def ours(self, row: str, cell: str = "avg") -> Measure | None:
        return self.measures.get(row, {}).get(cell)

    def paper(self, row: str, cell: str = "avg") -> float:
        table, name = row.split("/")
        return TARGETS[table].row(name).paper[cell]

    def difference(self, row: str, other: str, cell: str = "avg") -> Measure | None:
        ours, theirs = self.ours(row, cell), self.ours(other, cell)
        return None if ours is None or theirs is None else combined(np.subtract, ours, theirs)

    def sdr_gain(
        self, name: str, row: str, other: str, above: float = -np.inf, below: float = np.inf
    ) -> Comparison:
        """The comparison of the average SDR (dB) of `row` minus that of `other`."""
        paper = self.paper(row) - self.paper(other)
        return Comparison(name, "dB", self.difference(row, other), paper, above, below)


def refined_classifier_nears_clean(numbers: Numbers) -> tuple[Comparison, ...]:
    cell = "multi avg accuracy"
    rows = ("table1/refined", "table1/clean")
    paper = numbers.paper(rows[0], cell) - numbers.paper(rows[1], cell)
    measure = numbers.difference(*rows, cell)
    name = "accuracy on mixtures, Psi_refined − Psi_clean"
    return (Comparison(name, "points", measure, paper, above=-ABOUT_A_POINT, noun="mixtures"),)


def refined_rows_beat_noisy(numbers: Numbers) -> tuple[Comparison, ...]:
    return tuple(
        numbers.sdr_gain(
            f"{network}: w/ {psi} − noisy",
            f"table2/{network}-{psi.lower().replace('_', '-')}",
            f"table2/{network}-noisy",
            above=0.0,
        )
        for network in NETWORKS
        for psi in ("Psi_clean", "Psi_noisy", "Psi_refined")
    )


def refined_refiner_beats_noisy_one(numbers: Numbers) -> tuple[Comparison, ...]:
    return tuple(
        numbers.sdr_gain(
            f"{network}: w/ Psi_refined − w/ Psi_noisy",
            f"table2/{network}-psi-refined",
            f"table2/{network}-psi-noisy",
            above=0.0,
        )
        for network in NETWORKS
    )


def self_refining_beats_clean_refiner(numbers: Numbers) -> tuple[Comparison, ...]:
    return tuple(
        numbers.sdr_gain(
            f"{network}: w/ Psi_refined − w/ Psi_clean",
            f"table2/{network}-psi-refined",
            f"table2/{network}-psi-clean",
            above=0.0,
        )
        for network in NETWORKS
    )


def threshold_makes_no_difference(numbers: Numbers) -> tuple[Comparison, ...]:
    return (
        numbers.sdr_gain(
            "threshold 0.5 − proposed",
            "table3/threshold-half",
            "table3/proposed",
            above=-NOTICEABLE,
            below=NOTICEABLE,
        ),
    )


def worse_than_proposed(row: str) -> Callable[[Numbers], tuple[Comparison, ...]]:
    """The claim that a row of Table 3 has a lower average SDR than the proposed method."""

    def compare(numbers: Numbers) -> tuple[Comparison, ...]:
        label = TARGETS["table3"].row(row).labels[0]
        gain = numbers.sdr_gain(
            f"{label} − proposed", f"table3/{row}", "table3/proposed", below=0.0
        )
        return (gain,)

    return compare


def more_iterations_gain_nothing(numbers: Numbers) -> tuple[Comparison, ...]:
    return tuple(
        numbers.sdr_gain(
            f"{count} refinements − 2",
            f"table5/refined-{count}",
            "table5/refined-2",
            below=NOTICEABLE,
        )
        for count in (3, 4, 5)
    )


def recall_matters_more(numbers: Numbers) -> tuple[Comparison, ...]:
    """Compares two correlations over the refiners: that of the separator's SDR with the refiner's
    recall on random mixtures, minus that with its precision."""
    refiners = {
        "table4/clean": "table2/x-umx-psi-clean",
        **{f"table4/iteration-{k}": f"table5/refined-{k}" for k in range(1, 6)},
    }
    columns = [
        [numbers.ours(row, cell) for row in rows]
        for rows, cell in (
            (refiners.values(), "avg"),
            (refiners.keys(), "multi avg recall"),
            (refiners.keys(), "multi avg precision"),
        )
    ]
    measures = [each for column in columns for each in column if each is not None]
    whole = len(measures) == 3 * len(refiners)
    return (
        Comparison(
            "correlation of SDR with recall − with precision, over six refiners",
            "",
            combined(recall_over_precision, *measures) if whole else None,
            # The refiners whose recall and precision on mixtures are in the paper's text.
            recall_over_precision(
                *map(np.array, (3.53, 3.74, 4.28, 0.896, 0.913, 0.921, 0.918, 0.862, 0.882))
            ).item(),
            above=0.0,
        ),
    )


def recall_over_precision(*values: np.ndarray) -> np.ndarray:
    """Correlation of SDR with recall, minus that of SDR with precision.

    `values` are all SDRs, then all recalls, then all precisions. A correlation with a constant
    counts as 0.
    """
    sdr, recall, precision = np.array(values).reshape(3, -1, *np.shape(values[0]))
    return correlation(sdr, recall) - correlation(sdr, precision)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the first axis; 0 if one of the two is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)


CLAIMS: dict[str, Callable[[Numbers], tuple[Comparison, ...]]] = {
    "A classifier trained on self-refined labels is within about 1 point of accuracy of the clean "
    "one on mixtures": refined_classifier_nears_clean,
    "Every refined row beats noisy in average SDR, for both networks": refined_rows_beat_noisy,
    "Psi_refined is at least as good a refiner as Psi_noisy, for both networks": (
        refined_refiner_beats_noisy_one
    ),
    "With only a noisy set, self-refining beats refining with a classifier trained on another, "
    "smaller clean set": self_refining_beats_clean_refiner,
    "Threshold 0.5 instead of 0.9 makes no noticeable difference": threshold_makes_no_difference,
    "Adaptive (highest F1) thresholds are worse": worse_than_proposed("adaptive-thresholds"),
    "Training only with single-labelled stems is a little worse": (
        worse_than_proposed("single-only")
    ),
    "Single-labelled first, then finetuning with multi-labelled stems, is a little worse": (
        worse_than_proposed("finetune")
    ),
    "More than two refinements bring no further gain": more_iterations_gain_nothing,
    "Recall of the refiner matters more to the separator than precision": recall_matters_more,
}


def decide(measures: Measures) -> list[Claim]:
    """All ten claims in the paper's order."""
    numbers = Numbers(measures)
    return [
        Claim(place, text, compare(numbers))
        for place, (text, compare) in enumerate(CLAIMS.items(), start=1)
    ]


HOW = (
    "A difference is paired over seeds, songs and mixtures. Its 95% interval over both seeds and "
    "test items decides: the claim holds when the interval lies on the claim's side of the bound, "
    "does not hold when it lies on the other side, and is undecided otherwise. The interval's "
    "variance is that across seeds plus that of the bootstrap over items, with Student's t. On "
    "made-up results with 3 to 5 seeds and 48 songs it covers the truth in 94 to 98% of draws. "
    "Asking both intervals, across seeds and over items, to lie on one side covers 92 to 98%: too "
    "little where seeds and songs vary the mean alike. A single run says nothing of other seeds: "
    "there the items alone decide. No noticeable difference means less than "
    f"{NOTICEABLE} dB, about 1 point less than {ABOUT_A_POINT}. Power compares half the deciding "
    "interval with the paper's effect. What it would take supposes that the effect and the "
    "variances stay as they are here."
)


def comparison_rows(claim: Claim) -> list[list[str]]:
    """One row per comparison: its name, the claimed range, our difference, the intervals, the
    paper's difference, and the verdict."""
    rows = []
    for each in claim.comparisons:
        cells = [NOT_RUN, "", "", ""]
        if each.measure is not None:
            found = each.measure
            across, items, both = found.across_seeds, found.over_items, found.over_both
            cells = [
                number(found.value, 2, signed=True),
                f"{words(across)} ({len(found.seeds)} seeds)" if across else "none (one run)",
                f"{words(items)} ({found.items} {each.noun})",
                words(both),
            ]
        unit = f" ({each.unit})" if each.unit else ""
        paper = number(each.paper, 2, signed=True)
        rows.append([each.name + unit, each.bound, *cells, paper, each.verdict])
    return rows


def words(interval: Interval) -> str:
    return interval_text(interval.low, interval.high, 2)


COMPARISON_HEAD = (
    "comparison",
    "claimed",
    "ours",
    "across seeds (95%)",
    "over test items (95%)",
    "over both (95%)",
    "the paper's",
    "verdict",
)


def claims_markdown(claims: list[Claim], where: str) -> str:
    """The claims as Markdown: a table of the verdicts, then the numbers of each claim."""
    glance = [[str(each.number), each.text, each.verdict, each.lacking] for each in claims]
    head = ["", "claim", "here", "to decide"]
    lines = [
        "# The paper's claims",
        "",
        where,
        "",
        tabulate(glance, head, tablefmt="github", disable_numparse=True),
        "",
        HOW,
        "",
    ]
    for claim in claims:
        table = tabulate(
            comparison_rows(claim), COMPARISON_HEAD, tablefmt="github", disable_numparse=True
        )
        power = [f"- Power, {each.name}: {each.power}." for each in claim.comparisons if each.power]
        lines += [f"## {claim.number}. {claim.text}: {claim.verdict}", "", table, ""]
        lines += [*power, ""] if power else []
    return "\n".join(lines)
