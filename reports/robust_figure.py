"""The table robust as a figure: how far each method lies from the paper's labels."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments.robust import ROBUST
from experiments.rows import Row
from reports.claims import HOLDS, Numbers
from reports.drawing import INK, MUTED, Drawing, csv_of
from reports.measures import Measure, Measures, all_measures
from reports.results import Results
from reports.robust import PAPERS, better_than_the_papers, claim_text, is_one_run, method_words
from reports.sheets import count_range

BETTER, OTHER = "#15803d", "#1d4ed8"
FARTHEST = 0.6
"""How far beyond the outermost values (dB) a panel reaches."""
HEAD = ["tested on", "method", "labels", "difference", "low", "high", "seeds", "better"]


@dataclass(frozen=True)
class Column:
    """One test: its name, the difference of each row from the paper's labels in dB, and the rows
    that are better by more than the interval."""

    name: str
    differences: dict[str, Measure]
    better: frozenset[str]


def robust(results: Results, measures: Measures) -> Drawing | None:
    """Draws a line per method, the highest on top; with a column for the data's own songs beside
    that for a user's songs where both were tested."""
    columns = [column(results.test_songs, measures)]
    if results.on_folder:
        on_data = results.on_data()
        columns = [column(on_data.test_songs, all_measures(on_data)), *columns]
    columns = [each for each in columns if each.differences]
    if not columns:
        return None
    by_value = columns[0].differences
    names = {row.name: row for row in ROBUST.rows}
    shown = sorted(
        (name for name in names if any(name in each.differences for each in columns)),
        key=lambda name: -by_value[name].value if name in by_value else float("inf"),
    )
    figure, axes = plt.subplots(
        1,
        len(columns),
        figsize=(4.2 + 3.2 * len(columns), 1.0 + 0.2 * len(shown)),
        squeeze=False,
        sharey=True,
    )
    for axis, each in zip(axes[0], columns, strict=True):
        draw_column(axis, each, shown)
    axes[0, 0].set_yticks(range(len(shown)), [method_words(names[name]) for name in shown])
    axes[0, 0].set_ylim(len(shown) - 0.5, -0.5)
    every = [measure for each in columns for measure in each.differences.values()]
    caption = (
        "Average SDR of X-UMX minus that on the paper's labels (w/ Psi_refined), with the 95% "
        f"interval over {count_range([len(each.seeds) for each in every])} seeds and the test "
        "songs (the longest are cut); green where a method is better by more than it, hollow where "
        "a single run decides nothing."
    )
    rows = [
        difference_row(each, names[name], each.differences[name])
        for each in columns
        for name in shown
        if name in each.differences
    ]
    return Drawing(figure, csv_of(HEAD, rows), caption)


def column(name: str, measures: Measures) -> Column:
    numbers = Numbers(measures)
    differences = {}
    for row in ROBUST.rows:
        label = f"{ROBUST.name}/{row.name}"
        found = numbers.difference(label, PAPERS)
        if label != PAPERS and found is not None:
            differences[row.name] = found
    decided = {
        claim.text
        for claim in better_than_the_papers(measures)
        if claim.verdict == HOLDS and not is_one_run(claim)
    }
    better = frozenset(row.name for row in ROBUST.rows if claim_text(row) in decided)
    return Column(name, differences, better)


def draw_column(axis: Axes, column: Column, shown: list[str]) -> None:
    axis.axvline(0.0, color=INK, lw=0.8)
    for place, name in enumerate(shown):
        measure = column.differences.get(name)
        if measure is None:
            continue
        single = len(measure.seeds) == 1
        colour = BETTER if name in column.better else MUTED if single else OTHER
        both = measure.over_both
        axis.plot([both.low, both.high], [place, place], color=colour, lw=0.8 if single else 1.6)
        axis.plot(measure.value, place, "o", ms=4, color=colour, mfc="white" if single else colour)
    values = [measure.value for measure in column.differences.values()]
    ends = [measure.over_both for measure in column.differences.values()]
    # An interval of two seeds may be many times as wide as all others, and runs off the panel.
    axis.set_xlim(
        max(min(each.low for each in ends), min(values) - FARTHEST),
        min(max(each.high for each in ends), max(values) + FARTHEST),
    )
    axis.set_title(column.name, loc="left")
    axis.set_xlabel("dB above the paper's labels")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def difference_row(column: Column, row: Row, measure: Measure) -> list[object]:
    ends = measure.over_both
    better = "yes" if row.name in column.better else ""
    return [
        column.name,
        *row.labels,
        measure.value,
        ends.low,
        ends.high,
        len(measure.seeds),
        better,
    ]
