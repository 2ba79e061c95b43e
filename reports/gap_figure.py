"""Table 2 as a figure: each row's average SDR, between the noisy and the uncorrupted row."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments.registry import TABLE2
from experiments.rows import Row
from reports.drawing import INK, MUTED, PAPER_COLOUR, Drawing, csv_of
from reports.gap import Share, gap_shares
from reports.measures import Measure, Measures
from reports.results import Results
from reports.sheets import MARK, MARK_NOTE, count_range
from reports.writers import interval_text, share_text

NETWORK_COLOURS = {"Demucs": "#c2410c", "X-UMX": "#1d4ed8"}


def gap(results: Results, measures: Measures) -> Drawing | None:
    """Draws one panel per network with one line per row, and the shares of the gap at the right."""
    shown = [
        (row, found["avg"])
        for row in TABLE2.rows
        if (found := measures.get(f"{TABLE2.name}/{row.name}", {}))
    ]
    networks = [name for name in NETWORK_COLOURS if any(row.labels[0] == name for row, _ in shown)]
    if not networks:
        return None
    shares = gap_shares(TABLE2, measures)
    counts = [sum(row.labels[0] == name for row, _ in shown) for name in networks]
    figure, axes = plt.subplots(
        len(networks),
        1,
        figsize=(9, 1.0 + 0.6 * len(networks) + 0.3 * sum(counts)),
        squeeze=False,
        sharex=True,
        height_ratios=counts,
    )
    for network, axis in zip(networks, axes[:, 0], strict=True):
        panel(axis, network, [pair for pair in shown if pair[0].labels[0] == network], shares)
    axes[-1, 0].set_xlabel("average SDR (dB)")
    handles = [
        plt.Line2D([], [], color=INK, lw=5, alpha=0.35, label="95% across seeds"),
        plt.Line2D([], [], color=INK, lw=1, label="95% over test songs"),
        plt.Line2D([], [], color=PAPER_COLOUR, marker="s", ls="", ms=4, label="the paper"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    seeds = count_range([len(measure.seeds) for _, measure in shown])
    songs = count_range([measure.items for _, measure in shown])
    marked = f" {MARK_NOTE}" if any(row.ours for row, _ in shown) else ""
    caption = (
        f"Average SDR of each row of Table 2, with its 95% intervals across {seeds} seeds (thick) "
        f"and over {songs} test songs (thin); the shade is the gap between noisy and uncorrupted. "
        f"At the right the share of it that the row closes.{marked}"
    )
    return Drawing(figure, csv_of(HEAD, [csv_row(*pair, shares) for pair in shown]), caption)


def panel(
    axis: Axes, network: str, shown: list[tuple[Row, Measure]], shares: dict[str, Share]
) -> None:
    colour = NETWORK_COLOURS[network]
    by_name = {row.name: measure.value for row, measure in shown}
    ends = next((row.gap for row, _ in shown if row.gap is not None), ())
    if ends and all(name in by_name for name in ends):
        axis.axvspan(*sorted(by_name[name] for name in ends), color=colour, alpha=0.08, lw=0)
    for place, (row, measure) in enumerate(shown):
        over, across = measure.over_items, measure.across_seeds
        axis.plot([over.low, over.high], [place, place], color=colour, lw=1)
        if across is not None:
            axis.plot([across.low, across.high], [place, place], color=colour, lw=5, alpha=0.35)
        face = "white" if row.ours else colour
        axis.plot(measure.value, place, "o", ms=6, color=colour, mfc=face, zorder=3)
        if not row.ours:
            axis.plot(row.paper["avg"], place, "s", ms=4, color=PAPER_COLOUR, zorder=2)
        if row.name in shares:
            axis.annotate(
                words_of(shares[row.name]),
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=INK,
            )
    axis.set_yticks(
        range(len(shown)),
        [f"{row.labels[1]} {MARK}" if row.ours else row.labels[1] for row, _ in shown],
    )
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_title(network, loc="left")
    if any(row.name in shares for row, _ in shown):
        axis.annotate(
            "gap closed",
            (1.01, 1.0),
            xytext=(0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
        )
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def words_of(share: Share) -> str:
    """The share and its interval across seeds."""
    across = share.across_seeds
    brackets = f"  [{interval_text(across.low, across.high, 0)}]" if across else ""
    return share_text(share.value) + brackets


HEAD = [
    "row",
    "sdr",
    "seeds_low",
    "seeds_high",
    "songs_low",
    "songs_high",
    "paper",
    "gap_closed",
    "gap_seeds_low",
    "gap_seeds_high",
    "gap_songs_low",
    "gap_songs_high",
]


def csv_row(row: Row, measure: Measure, shares: dict[str, Share]) -> list[object]:
    share = shares.get(row.name, Share(None))
    cells: list[object] = [f"{TABLE2.name}/{row.name}", measure.value]
    for interval in (measure.across_seeds, measure.over_items):
        cells += ["", ""] if interval is None else [interval.low, interval.high]
    cells += ["" if row.ours else row.paper["avg"], "" if share.value is None else share.value]
    for interval in (share.across_seeds, share.over_items):
        cells += ["", ""] if interval is None else [interval.low, interval.high]
    return cells
