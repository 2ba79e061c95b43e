"""A table of the paper as lines of cells, ours beside the printed ones; writers turn it into
Markdown, CSV, LaTeX and HTML."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.outputs import MULTI, SINGLE
from experiments.registry import Row, Table
from experiments.stages import RecognitionScore
from reports.measures import RECOGNITION_MEASURES, Measure, Measures
from selfrefine.classes import CLASSES

COLUMNS = (*CLASSES, "avg")
TESTS = {SINGLE: "single-labelled stems", MULTI: "random mixtures"}


@dataclass(frozen=True)
class Cell:
    """`ours` is None when the row was not run, `paper` where the printed cell is lost."""

    ours: Measure | None
    paper: float | None

    @property
    def difference(self) -> float | None:
        if self.ours is None or self.paper is None:
            return None
        return self.ours.value - self.paper


@dataclass(frozen=True)
class Line:
    """A printed line: the row behind it (`table/row`), its labels, and a cell a column."""

    row: str
    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    decimals: int

    @property
    def average(self) -> Cell:
        return self.cells[-1]


@dataclass(frozen=True)
class Sheet:
    """A table to print. `items` names what the bootstrap resamples."""

    name: str
    title: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    items: str


def sheet(table: Table, measures: Measures) -> Sheet:
    """A table's lines: one a row for SDR; one a test, measure and row for recognition."""
    if isinstance(table.rows[0].stage, RecognitionScore):
        return recognition_sheet(table, measures)
    lines = tuple(
        line(table, row, row.labels, COLUMNS, measures.get(f"{table.name}/{row.name}", {}), 2)
        for row in table.rows
    )
    title = f"{table.title}: median of 1 s frames, then of test songs"
    return Sheet(table.name, title, table.head, lines, "test songs")


def recognition_sheet(table: Table, measures: Measures) -> Sheet:
    lines = []
    for test, shown in TESTS.items():
        for measure in RECOGNITION_MEASURES.values():
            names = tuple(f"{test} {column} {measure}" for column in COLUMNS)
            unit = f"{measure} (%)" if measure == "accuracy" else measure
            for row in table.rows:
                found = measures.get(f"{table.name}/{row.name}", {})
                decimals = 1 if measure == "accuracy" else 3
                labels = (shown, unit, *row.labels)
                lines.append(line(table, row, labels, names, found, decimals))
    head = ("test", "measure", *table.head)
    return Sheet(table.name, table.title, head, tuple(lines), "stems or mixtures")


def line(
    table: Table,
    row: Row,
    labels: tuple[str, ...],
    names: tuple[str, ...],
    measures: Mapping[str, Measure],
    decimals: int,
) -> Line:
    cells = tuple(Cell(measures.get(name), row.paper.get(name)) for name in names)
    return Line(f"{table.name}/{row.name}", labels, cells, decimals)


def group(sheet: Sheet, place: int) -> str:
    """All labels of a line but the last, where they differ from those of the line before."""
    labels = sheet.lines[place].labels[:-1]
    same = place > 0 and sheet.lines[place - 1].labels[:-1] == labels
    return "" if same else ", ".join(labels)


def number(value: float | None, decimals: int, signed: bool = False) -> str:
    """With a true minus sign; an en dash for None."""
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''}.{decimals}f}".replace("-", "−")


def spread(measure: Measure, decimals: int) -> str:
    """ " ± 0.12" across seeds; nothing for a single run."""
    interval = measure.across_seeds
    if interval is None:
        return ""
    return f" ± {number((interval.high - interval.low) / 2, decimals)}"


def seeds_note(sheet: Sheet) -> str:
    """What stands behind ±, and that single runs have none."""
    counts = [len(each.average.ours.seeds) for each in sheet.lines if each.average.ours]
    if not counts:
        return "Nothing of this table was run."
    if max(counts) == 1:
        return "One run a row (seed 0): there is no interval across seeds."
    most = "" if min(counts) == max(counts) else f"{min(counts)} to "
    alone = "; rows with one run have none" if min(counts) == 1 else ""
    return (
        f"Mean of {most}{max(counts)} seeds, ± half the 95% interval across seeds "
        f"(Student's t){alone}."
    )


def items_note(sheet: Sheet) -> str:
    """What the other interval is."""
    return f"Interval over {sheet.items}: 95%, by bootstrap, averaged over the seeds there are."
