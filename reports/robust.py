"""What stands below the table robust: which rows beat the paper's labels, and what each costs."""

import math

from tabulate import tabulate

from experiments.robust import REFERENCES, ROBUST
from reports.claims import HOLDS, NOT_RUN, Claim, Comparison, Numbers
from reports.measures import Measures
from reports.results import Results
from reports.sheets import number
from reports.writers import interval_text, markdown_escaped

PAPERS = "robust/refined"
"""The row of the paper's own labels, with which the others are compared."""

TRAINED = ("classifier", "separator")
"""The kinds of stage that train."""

HEAD = ("method", "labels", "− w/ Psi_refined, dB", "95%", "seeds", "better", "training, min")


def better_than_the_papers(measures: Measures) -> list[Claim]:
    """For each method of the table that was run, the claim that X-UMX is better by it than on the
    paper's refined labels. It is decided as the paper's claims are."""
    numbers = Numbers(measures)
    claims: list[Claim] = []
    for row in ROBUST.rows:
        label = f"{ROBUST.name}/{row.name}"
        if label == PAPERS or row.labels[1] in REFERENCES:
            continue
        method = ", ".join(each for each in row.labels if each != "–")
        compared = Comparison(
            f"{method} − w/ Psi_refined",
            "dB",
            numbers.difference(label, PAPERS),
            math.nan,
            above=0.0,
        )
        claims.append(Claim(len(claims) + 1, f"{method}: better than w/ Psi_refined", (compared,)))
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


def robust_markdown(results: Results, measures: Measures) -> str:
    """The verdicts and the minutes as Markdown; "" where no row but the references was run."""
    numbers = Numbers(measures)
    verdicts = {claim.text: claim.verdict for claim in better_than_the_papers(measures)}
    rows = []
    for row in ROBUST.rows:
        label = f"{ROBUST.name}/{row.name}"
        minutes = training_minutes(results, label)
        if minutes is None:
            continue
        found = numbers.difference(label, PAPERS)
        method = ", ".join(each for each in row.labels if each != "–")
        verdict = verdicts.get(f"{method}: better than w/ Psi_refined", "")
        cells = ["–", "", ""]
        if found is not None and label != PAPERS:
            ends = found.over_both
            cells = [
                number(found.value, 2, signed=True),
                interval_text(ends.low, ends.high, 2),
                str(len(found.seeds)),
            ]
        rows.append([*map(markdown_escaped, row.labels), *cells, verdict, f"{minutes:.1f}"])
    if not verdicts:
        return ""
    won = [text for text, verdict in verdicts.items() if verdict == HOLDS]
    told = (
        f"{len(won)} of {len(verdicts)} methods are better than the paper's labels by more than "
        "the 95% interval over seeds and songs. With so many comparisons, about one in forty that "
        "are no better would seem to be."
    )
    table = tabulate(rows, HEAD, tablefmt="github", disable_numparse=True)
    return f"{told}\n\n{table}"
