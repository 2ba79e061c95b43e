"""What stands below the table robust: which rows beat the paper's labels, and what each costs."""

import math
from dataclasses import dataclass
from statistics import fmean

from tabulate import tabulate

from experiments.robust import REFERENCES, ROBUST
from experiments.rows import Row
from reports.claims import HOLDS, NOT_RUN, Claim, Comparison, Numbers
from reports.learned_labels import learned_accuracy
from reports.measures import Measures
from reports.results import Results
from reports.sheets import count_range, number
from reports.writers import interval_text, markdown_escaped

PAPERS = "robust/refined"
"""The row of the paper's own labels, with which the others are compared."""

ONE_RUN = "one run"

TRAINED = ("classifier", "separator")
"""The kinds of stage that train."""

HEAD = (
    "method", "labels", "stems kept", "right of them", "− w/ Psi_refined, dB", "95%", "seeds",
    "better", "training, min",
)  # fmt: skip


def method_words(row: Row) -> str:
    return ", ".join(each for each in row.labels if each != "–")


def claim_text(row: Row) -> str:
    return f"{method_words(row)}: better than w/ Psi_refined"


def is_one_run(claim: Claim) -> bool:
    return any(each.measure and len(each.measure.seeds) == 1 for each in claim.comparisons)


def better_than_the_papers(measures: Measures) -> list[Claim]:
    """For each method of the table that was run, the claim that X-UMX is better by it than on the
    paper's refined labels. It is decided as the paper's claims are."""
    numbers = Numbers(measures)
    claims: list[Claim] = []
    for row in ROBUST.rows:
        label = f"{ROBUST.name}/{row.name}"
        if label == PAPERS or row.labels[1] in REFERENCES:
            continue
        compared = Comparison(
            f"{method_words(row)} − w/ Psi_refined",
            "dB",
            numbers.difference(label, PAPERS),
            math.nan,
            above=0.0,
        )
        claims.append(Claim(len(claims) + 1, claim_text(row), (compared,)))
    return [claim for claim in claims if claim.verdict != NOT_RUN]


def training_minutes(results: Results, label: str) -> float | None:
    """Minutes of all trainings behind a row, as a mean over its seeds. The classifier that others
    start from comes with the package and is left out. None for a row that was not run."""
    runs = results.runs(label)
    if not runs:
        return None
    seconds = [
        each.run["seconds"]
        for run in runs
        for each in results.behind(run)
        if each.kind in TRAINED and each.name != "Psi_band"
    ]
    return sum(seconds) / len(runs) / 60


def label_cells(results: Results, label: str) -> list[str]:
    """Of the labels that a row's separators learned from, as means over seeds: the share of stems
    that have one, and the share of these whose label set is exactly right. The number of seeds is
    given where not all were audited."""
    runs = results.runs(label)
    known = [each for run in runs if (each := learned_accuracy(results, run)) and each["kept"] > 0]
    if not known:
        return ["–", "–"]
    seeds = f" ({count_range([len(known)])} of {len(runs)} seeds)" if len(known) < len(runs) else ""
    return [
        number(fmean(each["kept"] for each in known), 3) + seeds,
        # The band and real songs have no stem that truly holds nothing.
        number(fmean(each["exact"] / each["kept"] for each in known), 3) + seeds,
    ]


@dataclass(frozen=True)
class Compared:
    """The rows of the table against the paper's labels, in cells under `HEAD`, and in words how
    many are better."""

    words: str
    rows: list[list[str]]

    def markdown(self) -> str:
        escaped = [[markdown_escaped(cell) for cell in row] for row in self.rows]
        table = tabulate(escaped, HEAD, tablefmt="github", disable_numparse=True)
        return f"{self.words}\n\n{table}"


def compared_with_the_papers(results: Results, measures: Measures) -> Compared | None:
    """None where no row but the references was run. A single run decides nothing, since it says
    nothing of other seeds."""
    verdicts = {
        claim.text: ONE_RUN if is_one_run(claim) else claim.verdict
        for claim in better_than_the_papers(measures)
    }
    if not verdicts:
        return None
    numbers = Numbers(measures)
    rows = []
    for row in ROBUST.rows:
        label = f"{ROBUST.name}/{row.name}"
        minutes = training_minutes(results, label)
        if minutes is None:
            continue
        cells = ["–", "", ""]
        found = numbers.difference(label, PAPERS)
        if found is not None and label != PAPERS:
            ends = found.over_both
            cells = [
                number(found.value, 2, signed=True),
                interval_text(ends.low, ends.high, 2),
                str(len(found.seeds)),
            ]
        rows.append(
            [
                *row.labels,
                *label_cells(results, label),
                *cells,
                verdicts.get(claim_text(row), ""),
                f"{minutes:.1f}",
            ]
        )
    won = sum(verdict == HOLDS for verdict in verdicts.values())
    return Compared(
        f"{won} of {len(verdicts)} methods are better than the paper's labels by more than the 95% "
        "interval over seeds and songs; a single run decides nothing. Of methods that are no "
        "better, one in forty would seem to be. The minutes are those of the trainings behind a "
        "row, beside whatever else the machine did.",
        rows,
    )
