"""A table of the paper as lines of cells, each with our value and the printed one. The modules
`reports.writers` and `reports.page` turn it into Markdown, CSV, LaTeX and HTML."""

import math
from dataclasses import dataclass

from experiments.registry import OURS, TABLES
from experiments.rows import Row, Table
from experiments.stages.recognition_outputs import MULTI, SINGLE
from experiments.stages.recognition_score import RecognitionScore
from reports.gap import Share, gap_shares
from reports.measures import RECOGNITION_MEASURES, Measure, Measures, all_measures
from reports.results import Results
from selfrefine.classes import CLASSES

COLUMNS = (*CLASSES, "avg")
GAP = "gap closed"
TESTS = {SINGLE: "single-labelled stems", MULTI: "random mixtures"}
REPORTED = {**TABLES, **OURS}
MARK = "†"
"""Mark after the label of a row that the paper does not have."""
MARK_NOTE = f"{MARK} reference rows of ours, not in the paper's table."


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `ours` is None if the row was not run. `paper` is None if the paper has no
    such cell or its value is unknown. `noun` names the items that the bootstrap resamples."""

    ours: Measure | None
    paper: float | None
    noun: str

    @property
    def difference(self) -> float | None:
        if self.ours is None or self.paper is None:
            return None
        return self.ours.value - self.paper


@dataclass(frozen=True)
class ShareCell:
    """A cell with a share of the gap. `noun` is as in `Cell`."""

    share: Share
    noun: str


@dataclass(frozen=True)
class Line:
    """A line of a table: its row (`table/row`), its labels, and one cell per column. `ours` marks a
    row that the paper does not have."""

    row: str
    labels: tuple[str, ...]
    cells: tuple[Cell | ShareCell, ...]
    decimals: int
    ours: bool = False

    @property
    def average(self) -> Cell:
        cell = self.cells[COLUMNS.index("avg")]
        assert isinstance(cell, Cell)
        return cell

    @property
    def title(self) -> str:
        """The last label, with the mark of our rows."""
        return f"{self.labels[-1]} {MARK}" if self.ours else self.labels[-1]


@dataclass(frozen=True)
class Sheet:
    """A table to print. `items` says what the bootstrap resamples, like "48 test songs". `notes`
    are printed under the table."""

    name: str
    title: str
    head: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    items: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataTest:
    """The test on the data's own songs, which is shown next to a test on a folder's songs: the name
    of its columns, and its measures."""

    name: str
    measures: Measures


def sheets_of(results: Results, measures: Measures) -> dict[str, Sheet]:
    """The paper's tables by name, and those of our tables that have a row that was run."""
    beside = None
    if results.on_folder:
        beside = DataTest(f"{results.data} test", all_measures(results.on_data()))
    return {
        name: sheet(table, measures, beside)
        for name, table in REPORTED.items()
        if table.name not in OURS or was_run(table, measures)
    }


def was_run(table: Table, measures: Measures) -> bool:
    """Whether a row of the table was run that no table of the paper has."""
    papers = {row.stage for each in TABLES.values() for row in each.rows}
    own = [row for row in table.rows if row.change is not None or row.stage not in papers]
    return any(measures.get(f"{table.name}/{row.name}") for row in own)


def sheet(table: Table, measures: Measures, beside: DataTest | None = None) -> Sheet:
    """A table as a sheet: for SDR one line per row, for recognition one line per test, measure and
    row. `beside` is given for a test on a folder."""
    if isinstance(table.rows[0].stage, RecognitionScore):
        return recognition_sheet(table, measures, beside)
    noun = "test songs" if beside is None else "songs of a folder"
    # A reference row is left out if the data cannot give it, or if the results are older than it.
    rows = [row for row in table.rows if not row.ours or f"{table.name}/{row.name}" in measures]
    names = {row.name for row in rows}
    has_gap = any(row.gap is not None and names.issuperset(row.gap) for row in rows)
    columns = (*COLUMNS, GAP) if has_gap else COLUMNS
    tests = [(measures, noun)]
    if beside is not None:
        columns += tuple(f"{beside.name} {name}" for name in ("avg", *columns[len(COLUMNS) :]))
        tests.append((beside.measures, "test songs"))
    shares = [gap_shares(table, found) if has_gap else {} for found, _ in tests]
    lines = []
    for row in rows:
        cells: list[Cell | ShareCell] = []
        for (found, what), share in zip(tests, shares, strict=True):
            own = found.get(f"{table.name}/{row.name}", {})
            shown = ("avg",) if cells else COLUMNS
            cells += [Cell(own.get(name), printed(row, name), what) for name in shown]
            cells += [ShareCell(share.get(row.name, Share(None)), what)] if has_gap else []
        lines.append(Line(f"{table.name}/{row.name}", row.labels, tuple(cells), 2, row.ours))
    title = f"{table.title}: median of 1 s frames, then of test songs"
    notes = (
        *class_notes(lines),
        *([gap_note(lines)] if has_gap else []),
        *gap_reasons(lines, columns),
        *([beside_note(lines, beside)] if beside is not None else []),
        *([MARK_NOTE] if any(each.ours for each in lines) else []),
    )
    items = items_of([each.average for each in lines], noun)
    return Sheet(table.name, title, table.head, columns, tuple(lines), items, notes)


def printed(row: Row, name: str) -> float | None:
    return None if row.ours else row.paper.get(name)


def recognition_sheet(table: Table, measures: Measures, beside: DataTest | None) -> Sheet:
    lines = []
    of_folder = "" if beside is None else " of a folder's songs"
    for test, shown in TESTS.items():
        noun = ("stems" if test == SINGLE else "mixtures") + of_folder
        for measure in RECOGNITION_MEASURES.values():
            names = tuple(f"{test} {column} {measure}" for column in COLUMNS)
            unit = f"{measure} (%)" if measure == "accuracy" else measure
            for row in table.rows:
                found = measures.get(f"{table.name}/{row.name}", {})
                cells = tuple(Cell(found.get(name), printed(row, name), noun) for name in names)
                labels = (shown, unit, *row.labels)
                decimals = 1 if measure == "accuracy" else 3
                label = f"{table.name}/{row.name}"
                lines.append(Line(label, labels, cells, decimals, row.ours))
    head = ("test", "measure", *table.head)
    items = items_of([each.average for each in lines], "stems or mixtures" + of_folder)
    return Sheet(table.name, table.title, head, COLUMNS, tuple(lines), items)


def items_of(cells: list[Cell], noun: str) -> str:
    """The test items of the cells, like "192 stems or 400 mixtures"; the noun alone if nothing was
    run."""
    found = dict.fromkeys(f"{each.ours.items} {each.noun}" for each in cells if each.ours)
    return " or ".join(found) or noun


def class_notes(lines: list[Line]) -> list[str]:
    """A note on how many songs have each class; none if this number is the same for all classes."""
    cells = next((each.cells[: len(COLUMNS)] for each in lines if each.average.ours), ())
    counts = [each.ours.items for each in cells if isinstance(each, Cell) and each.ours]
    if len(set(counts)) < 2:
        return []
    pairs = ", ".join(f"{name} in {count}" for name, count in zip(CLASSES, counts, strict=False))
    return [f"Songs with a class: {pairs}; its median is over those."]


def gap_note(lines: list[Line]) -> str:
    """A note that defines the share of a gap and its interval."""
    counts = [each.share.seeds for each in share_cells(lines) if each.share.seeds > 1]
    words = (
        "Gap closed: (row − noisy) / (uncorrupted − noisy) of the averages, seeds and songs paired"
    )
    if not counts:
        return f"{words}."
    return f"{words}; with it the 95% interval across {count_range(counts)} seeds (Fieller's)."


def share_cells(lines: list[Line]) -> list[ShareCell]:
    """The cells of the first share column that have a share."""
    cells = (cell for each in lines for cell in each.cells[len(COLUMNS) : len(COLUMNS) + 1])
    return [each for each in cells if isinstance(each, ShareCell) and each.share.value is not None]


def gap_reasons(lines: list[Line], columns: tuple[str, ...]) -> list[str]:
    """Why shares are missing: one sentence per column and reason, with its rows."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        for column, cell in zip(columns, line.cells, strict=True):
            if isinstance(cell, ShareCell) and cell.share.reason:
                rows.setdefault((column, cell.share.reason), []).append(", ".join(line.labels))
    return [
        f"No {column} for {'; '.join(names)}: {reason}." for (column, reason), names in rows.items()
    ]


def beside_note(lines: list[Line], beside: DataTest) -> str:
    """A note that explains the columns next to those of a folder's test."""
    cells = [line.cells[place] for line in lines for place in range(len(COLUMNS), len(line.cells))]
    counts = [each.ours.items for each in cells if isinstance(each, Cell) and each.ours]
    songs = f"{count_range(counts)} test songs" if counts else "test songs"
    return f"{beside.name.capitalize()}: the same trainings on the data's own {songs}."


def count_range(counts: list[int]) -> str:
    """The range of counts as text: "5", or "3 to 5"."""
    low, high = min(counts), max(counts)
    return f"{high}" if low == high else f"{low} to {high}"


def group(sheet: Sheet, place: int) -> str:
    """All labels of a line except the last; "" if they are those of the line before."""
    labels = sheet.lines[place].labels[:-1]
    same = place > 0 and sheet.lines[place - 1].labels[:-1] == labels
    return "" if same else ", ".join(labels)


def number(value: float | None, decimals: int, signed: bool = False) -> str:
    """The value as text with a true minus sign; an en dash for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:{'+' if signed else ''}.{decimals}f}".replace("-", "−")


def spread(measure: Measure, decimals: int) -> str:
    """The spread across seeds, like " ± 0.12"; "" for a single run."""
    interval = measure.across_seeds
    if interval is None:
        return ""
    return f" ± {number((interval.high - interval.low) / 2, decimals)}"


def seeds_note(sheet: Sheet) -> str:
    """A note that explains ±, and says if single runs have none."""
    counts = [len(each.average.ours.seeds) for each in sheet.lines if each.average.ours]
    if not counts:
        return "Nothing of this table was run."
    if max(counts) == 1:
        return "One run a row (seed 0): there is no interval across seeds."
    alone = "; rows with one run have none" if min(counts) == 1 else ""
    return (
        f"Mean over seeds, ± half the 95% interval across {count_range(counts)} seeds "
        f"(Student's t){alone}."
    )


def items_note(sheet: Sheet) -> str:
    """A note on the interval over test items."""
    return f"Intervals over {sheet.items}: 95%, by bootstrap, averaged over the seeds there are."


def caption(sheet: Sheet) -> str:
    """The text under a table: the explanation of its intervals, and its notes."""
    return " ".join([seeds_note(sheet), items_note(sheet), *sheet.notes])
