"""The parts that all figures share: colours and style, their numbers as CSV, and their files."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from selfrefine.classes import CLASSES
from selfrefine.files.atomic import write_text
from selfrefine.files.table import guarded

CLASS_COLOURS = dict(zip(CLASSES, ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce"), strict=True))
INK, MUTED, PAPER_COLOUR = "#1f2937", "#6b7280", "#9ca3af"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "selfrefine",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, its numbers as CSV, and its caption."""

    figure: Figure
    csv: str
    caption: str


def csv_of(head: list[str], rows: list[list[object]]) -> str:
    """A table as text. Songs' names start no formula in a spreadsheet."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(head)
    for row in rows:
        cells = [f"{value:.4f}" if isinstance(value, float) else value for value in row]
        table.writerow(guarded(cells))
    return out.getvalue()


def write_figure(name: str, drawing: Drawing, folder: Path) -> None:
    """Writes `name`.png, `name`.svg and `name`.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        drawing.figure.savefig(folder / f"{name}.png", dpi=160)
        drawing.figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(drawing.figure)
    write_text(folder / f"{name}.csv", drawing.csv)
