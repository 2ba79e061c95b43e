"""The figures: the paper's Figure 4, its tables as figures, and the course of trainings.

A figure is a function from the results to a drawing with its numbers. It returns None if the stages
that it needs were not run.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

from experiments.registry import TABLE2, TABLE3, TABLE4, TABLE5
from experiments.stages.recognition_outputs import MULTI, SINGLE
from experiments.trainings.validation import STEP
from reports.drawing import CLASS_COLOURS, INK, MUTED, PAPER_COLOUR, STYLE, Drawing, csv_of
from reports.gap_figure import gap
from reports.measures import Measures, track_table
from reports.noise_rate_figure import noise_rate
from reports.results import Record, Results
from reports.robust_figure import robust
from reports.sheets import MARK, MARK_NOTE, TESTS, count_range
from selfrefine.classes import CLASSES
from selfrefine.metrics.recognition import curves, unsure_share

LINE_COLOURS = ("#15803d", "#a16207", "#0f766e", MUTED, "#7dd3fc", "#1d4ed8", "#c2410c")
"""Colours of a panel's rows, in their order."""
PAPER_THRESHOLD = 0.9


def figure4(results: Results, measures: Measures) -> Drawing | None:
    """Draws precision and recall against the threshold, one panel per class."""
    record = results.first("figure4/outputs")
    if record is None:
        return None
    tests = results.outputs[record.id]
    if not all(len(truth) for truth, _ in tests.values()):
        return None
    score = results.first("table1/refined")
    threshold = score.result["thresholds"][0] if score else PAPER_THRESHOLD
    chosen = results.first("figure4/thresholds")
    thresholds = np.arange(1, 100) / 100
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), sharey=True)
    rows: list[list[object]] = []
    for test, width in ((MULTI, 1.8), (SINGLE, 0.9)):
        points = curves(*tests[test], thresholds)
        # Precision is undefined where nothing is found.
        precision = np.where(points.recall > 0, points.precision, np.nan)
        for c, (name, axis) in enumerate(zip(CLASSES, axes, strict=True)):
            colour, style = CLASS_COLOURS[name], "-" if test == MULTI else ":"
            for measure, values, shade in (
                ("precision", precision[:, c], colour),
                ("recall", points.recall[:, c], INK),
            ):
                label = f"{measure}, {TESTS[test]}"
                axis.plot(thresholds, values, style, color=shade, lw=width, label=label)
            rows += [
                [test, name, float(t), float(p), float(r), float(f)]
                for t, p, r, f in zip(
                    thresholds,
                    points.precision[:, c],
                    points.recall[:, c],
                    points.f1[:, c],
                    strict=True,
                )
            ]
    for name, axis in zip(CLASSES, axes, strict=True):
        axis.axvline(threshold, color=MUTED, lw=0.8, ls="--")
        axis.set(title=name, xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
        if chosen is not None:
            adaptive = chosen.result["thresholds"][name]
            axis.axvline(adaptive, color=CLASS_COLOURS[name], lw=0.8, ls="-.")
            axis.annotate(
                f"highest F1: {adaptive:.2f}",
                (adaptive, 0.04),
                xytext=(4 if adaptive < 0.5 else -4, 0),
                textcoords="offset points",
                ha="left" if adaptive < 0.5 else "right",
                fontsize=7,
                color=CLASS_COLOURS[name],
            )
    axes[0].set_ylabel("precision (coloured), recall (black)")
    handles = [
        plt.Line2D([], [], color=MUTED, ls="-", lw=1.8, label="random mixtures"),
        plt.Line2D([], [], color=MUTED, ls=":", lw=0.9, label="single-labelled stems"),
        plt.Line2D(
            [], [], color=MUTED, ls="--", lw=0.8, label=f"threshold of the proposal, {threshold:g}"
        ),
        plt.Line2D([], [], color=MUTED, ls="-.", lw=0.8, label="highest F1 on validation songs"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    unsure = {test: unsure_share(outputs) for test, (_, outputs) in tests.items()}
    caption = (
        f"Precision (coloured) and recall (black) of Psi_refined on the test songs. "
        f"{unsure[SINGLE]:.0%} of its outputs on stems and {unsure[MULTI]:.0%} on random mixtures "
        "lie within [0.1, 0.9] (the paper: 8%)."
    )
    head = ["test", "class", "threshold", "precision", "recall", "F1"]
    return Drawing(figure, csv_of(head, rows), caption)


def refining(results: Results, measures: Measures) -> Drawing | None:
    """Draws Table 5 as curves: SDR, averaged and per class, against the number of refinements."""
    names = [f"table5/refined-{count}" for count in range(6)]
    found = {k: measures[name] for k, name in enumerate(names) if measures.get(name)}
    if not found:
        return None
    printed = [TABLE5.row(f"refined-{k}").paper["avg"] for k in range(6)]
    counts = list(found)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    means = [found[k]["avg"].value for k in counts]
    spreads = [found[k]["avg"].across_seeds or found[k]["avg"].over_items for k in counts]
    seeded = [found[k]["avg"].across_seeds is not None for k in counts]
    errors = np.array(
        [[m - s.low, s.high - m] for m, s in zip(means, spreads, strict=True)]
    ).T.clip(min=0)
    left.errorbar(counts, means, errors, color=INK, marker="o", ms=5, capsize=3, label="here")
    left.plot(range(6), printed, color=PAPER_COLOUR, marker="s", ms=4, ls="--", label="the paper")
    clean = measures.get("table5/clean", {}).get("avg")
    if clean is not None:
        left.axhline(clean.value, color="#15803d", lw=1, ls=":", label="here, clean training data")
    left.set(title="average", xlabel="refinements", ylabel="SDR (dB)", xticks=range(6))
    left.legend(fontsize=8)
    for name in CLASSES:
        values = [found[k][name].value for k in counts]
        right.plot(counts, values, color=CLASS_COLOURS[name], marker="o", ms=4, label=name)
    right.set(title="by instrument, here", xlabel="refinements", xticks=range(6))
    right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    rows: list[list[object]] = []
    for k in counts:
        for name, measure in found[k].items():
            over, across = measure.over_items, measure.across_seeds
            ends: list[object] = [across.low, across.high] if across else ["", ""]
            paper = TABLE5.row(f"refined-{k}").paper[name]
            rows.append([k, name, measure.value, *ends, over.low, over.high, paper])
    counts_of_seeds = [len(found[k]["avg"].seeds) for k in counts]
    over_seeds = f"across {count_range(counts_of_seeds)} seeds"
    over_songs = f"over {found[counts[0]]['avg'].items} test songs (bootstrap)"
    bars = over_seeds if all(seeded) else over_songs
    if any(seeded) and not all(seeded):
        bars = f"{over_seeds} where there are several, else {over_songs}"
    head = ["refinements", "column", "sdr", "seeds_low", "seeds_high", "songs_low", "songs_high"]
    caption = f"SDR of X-UMX by the number of refinements (Table 5). Bars: 95% {bars}."
    return Drawing(figure, csv_of([*head, "paper"], rows), caption)


def tracks(results: Results, measures: Measures) -> Drawing | None:
    """Draws each test song's SDR, averaged over the classes, for every separator of the paper and
    for our reference rows of Table 2."""
    shown = [
        (f"{row.labels[0]}: {row.labels[1]}{f' {MARK}' if row.ours else ''}", record)
        for row in TABLE2.rows
        if (record := results.first(f"table2/{row.name}")) is not None
    ]
    shown += [
        (f"X-UMX: {row.labels[0]}", record)
        for row in TABLE3.rows[1:]
        if not row.ours and (record := results.first(f"table3/{row.name}")) is not None
    ]
    shown += [
        (f"X-UMX: {count} refinements", record)
        for count in (3, 4)
        if (record := results.first(f"table5/refined-{count}")) is not None
    ]
    shown = [(name, record) for name, record in shown if len(track_table(record))]
    if not shown:
        return None
    figure, axis = plt.subplots(figsize=(9, 0.6 + 0.32 * len(shown)))
    rows: list[list[object]] = []
    for place, (name, record) in enumerate(shown):
        values = np.nanmean(track_table(record), axis=1)
        colour = "#1d4ed8" if name.startswith("X-UMX") else "#c2410c"
        axis.boxplot(
            values,
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            medianprops={"color": colour, "lw": 2},
            boxprops={"color": PAPER_COLOUR},
            whiskerprops={"color": PAPER_COLOUR},
            capprops={"color": PAPER_COLOUR},
        )
        shift = np.linspace(-0.18, 0.18, len(values))
        axis.scatter(values, place + shift, s=9, color=colour, alpha=0.55, lw=0, zorder=3)
        rows += [
            [name, song, *(cells[each] for each in CLASSES)]
            for song, cells in record.result["tracks"].items()
        ]
    axis.set(yticks=range(len(shown)), xlabel="SDR (dB), mean of the four instruments")
    axis.set_yticklabels([name for name, _ in shown])
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.invert_yaxis()
    caption = "Per-song SDR of each row (seed 0): a dot a test song, boxes the middle half."
    if any(MARK in name for name, _ in shown):
        caption += f" {MARK_NOTE}"
    return Drawing(figure, csv_of(["row", "song", *CLASSES], rows), caption)


def labels(results: Results, measures: Measures) -> Drawing | None:
    """Draws label sets against the truth: as given, refined once, refined twice."""
    panels = label_panels(results)
    if not panels:
        return None
    singles = list(CLASSES)
    others = sorted({t for _, counts in panels for t in counts} - set(singles))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(0.6 + 3.3 * len(panels), 3.6), squeeze=False, sharey=True
    )
    rows: list[list[object]] = []
    for axis, (title, counts) in zip(axes[0], panels, strict=True):
        columns = [*singles, "several", "dropped"]
        true_rows = [*singles, *(["several"] if others else [])]
        grid = np.zeros((len(true_rows), len(columns)))
        for true, found in counts.items():
            for label, count in found.items():
                column = label if label in singles else "several" if label else "dropped"
                row = true if true in singles else "several"
                grid[true_rows.index(row), columns.index(column)] += count
                rows.append([title, true, label or "dropped", count])
        shares = grid / np.maximum(1, grid.sum(axis=1, keepdims=True))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (y, x), stems in np.ndenumerate(grid):
            if stems:
                ink = "white" if shares[y, x] > 0.55 else INK
                axis.text(x, y, f"{stems:.0f}", ha="center", va="center", color=ink, fontsize=8)
        axis.set(title=title, xlabel="label")
        axis.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        axis.set_yticks(range(len(true_rows)), true_rows)
        axis.grid(visible=False)
        axis.tick_params(length=0)
        for side in ("left", "bottom"):
            axis.spines[side].set_visible(False)
    axes[0][0].set_ylabel("truth")
    caption = (
        "Label sets of the noisy stems against what they hold (stem counts; shade: share of the "
        "row). Several: more than one class."
    )
    return Drawing(figure, csv_of(["labels", "truth", "label", "stems"], rows), caption)


def label_panels(results: Results) -> list[tuple[str, dict[str, dict[str, int]]]]:
    """Titles and counts of label sets by true label set, for the labels on which the proposed row
    depends."""
    panels = []
    proposed = results.first("table2/x-umx-psi-refined")
    before = results.first("table2/x-umx-psi-noisy")
    given: Record | None = None
    for title, run in (("after Psi_noisy", before), ("after Psi_refined", proposed)):
        if run is None:
            continue
        behind = results.behind(run)
        given = next((each for each in behind if each.kind == "corrupted"), given)
        refined = [each for each in behind if each.kind == "relabelled"]
        if refined and "confusion" in refined[-1].result:
            panels.append((title, refined[-1].result["confusion"]))
    if given is not None and "confusion" in given.result:
        panels.insert(0, ("as given", given.result["confusion"]))
    return panels


def training(results: Results, measures: Measures) -> Drawing | None:
    """Draws the scores on validation songs during the trainings of Tables 2 and 4: one panel per
    network, one line per row."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.9))
    rows: list[list[object]] = []
    for axis, (table, network, measure) in zip(
        axes,
        ((TABLE2, "Demucs", "sdr"), (TABLE2, "X-UMX", "sdr"), (TABLE4, "classifier", "f1")),
        strict=True,
    ):
        shown = [row for row in table.rows if table is TABLE4 or row.labels[0] == network]
        for row, colour in zip(shown, LINE_COLOURS, strict=False):
            label = f"{table.name}/{row.name}"
            trained = results.trained(label)
            looks = results.looks.get(trained.id, []) if trained is not None else []
            seen = [look for look in looks if measure in look]
            steps, values = [look[STEP] for look in seen], [look[measure] for look in seen]
            if seen:
                style = {"color": colour, "marker": "o", "ms": 3, "lw": 1.4}
                axis.plot(steps, values, label=row.labels[-1], **style)
            rows += [
                [label, network, int(look[STEP]), key, value]
                for look in looks
                for key, value in look.items()
                if key != STEP
            ]
        unit = "SDR (dB)" if measure == "sdr" else "F1"
        axis.set(title=network, xlabel="step", ylabel=unit)
        if axis.lines:
            axis.set_xlim(left=0)
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
            axis.legend(title=table.head[-1], fontsize=7, title_fontsize=7, **below)
    if not rows:
        plt.close(figure)
        return None
    caption = (
        "Average SDR and F1 (at a threshold of 0.5) on a few seconds and random mixtures of "
        "validation songs while the trainings ran, the first seed; by instrument in the CSV file. "
        "Trainings that ran with tracking disabled are not shown."
    )
    return Drawing(figure, csv_of(["row", "network", "step", "measure", "value"], rows), caption)


FIGURES: dict[str, Callable[[Results, Measures], Drawing | None]] = {
    "figure4": figure4,
    "gap": gap,
    "refining": refining,
    "tracks": tracks,
    "labels": labels,
    "training": training,
    "robust-figure": robust,
    "noise-rate-figure": noise_rate,
}

TITLES = {
    "figure4": "Figure 4: precision and recall against the threshold",
    "gap": "Table 2: the share of the gap that each row closes",
    "refining": "SDR against refining iteration",
    "tracks": "SDR song by song",
    "labels": "Labels before and after refining",
    "training": "Validation while training",
    "robust-figure": "What else is done against wrong labels, beside the paper's labels",
    "noise-rate-figure": "Labels and separators by the share of wrong stems",
}


def draw(name: str, results: Results, measures: Measures) -> Drawing | None:
    with plt.rc_context(STYLE):
        return FIGURES[name](results, measures)
