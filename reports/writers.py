"""A sheet as Markdown, CSV and LaTeX, and text files written whole or not at all."""

import csv
import io
import os
from pathlib import Path

from tabulate import tabulate

from reports.sheets import COLUMNS, Cell, Line, Sheet, group, items_note, number, seeds_note, spread

NOT_RUN = "not run"


def ours_text(cell: Cell, decimals: int) -> str:
    if cell.ours is None:
        return NOT_RUN
    return number(cell.ours.value, decimals) + spread(cell.ours, decimals)


def paper_text(cell: Cell, decimals: int) -> str:
    """The paper's and the difference in brackets; nothing where the paper's is lost."""
    if cell.paper is None:
        return ""
    if cell.difference is None:
        return f"({number(cell.paper, decimals)})"
    difference = number(cell.difference, decimals, signed=True)
    return f"({number(cell.paper, decimals)}, {difference})"


def text_cell(cell: Cell, decimals: int) -> str:
    return f"{ours_text(cell, decimals)} {paper_text(cell, decimals)}".rstrip()


def plain_table(sheet: Sheet, style: str) -> str:
    """The table itself, in one of tabulate's styles."""
    rows = [
        [*line.labels, *(text_cell(cell, line.decimals) for cell in line.cells)]
        for line in sheet.lines
    ]
    return tabulate(rows, [*sheet.head, *COLUMNS], tablefmt=style, disable_numparse=True)


def interval_head(sheet: Sheet) -> list[str]:
    return [*sheet.head, "runs", "avg", "across seeds", f"over {sheet.items}"]


def interval_rows(sheet: Sheet) -> list[list[str]]:
    """Per line that was run: labels, seeds, average, its intervals across seeds and over items."""
    rows = []
    for line in sheet.lines:
        measure = line.average.ours
        if measure is None:
            continue
        across = measure.across_seeds
        shown = [
            "none (one run)" if each is None else interval_text(each.low, each.high, line.decimals)
            for each in (across, measure.over_items)
        ]
        rows.append(
            [*line.labels, str(len(measure.seeds)), number(measure.value, line.decimals), *shown]
        )
    return rows


def interval_text(low: float, high: float, decimals: int) -> str:
    return f"{number(low, decimals)} to {number(high, decimals)}"


def markdown(sheet: Sheet) -> str:
    """The table, then the intervals of its averages."""
    lines = [
        plain_table(sheet, "github"),
        "",
        f"Ours (the paper's, difference). {seeds_note(sheet)} {items_note(sheet)}",
        "",
    ]
    rows = interval_rows(sheet)
    if rows:
        table = tabulate(rows, interval_head(sheet), tablefmt="github", disable_numparse=True)
        lines += ["95% intervals of the averages:", "", table, ""]
    return "\n".join(lines)


def csv_text(sheet: Sheet) -> str:
    """Long form: a line a cell, with both intervals, the paper's value and the difference."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = [name.replace(" ", "_") for name in sheet.head]
    intervals = ["seeds_low", "seeds_high", "items_low", "items_high"]
    table.writerow(["row", *names, "column", "ours", "seeds", *intervals, "paper", "difference"])
    for line in sheet.lines:
        for column, cell in zip(COLUMNS, line.cells, strict=True):
            table.writerow([line.row, *line.labels, column, *csv_cell(cell)])
    return out.getvalue()


def csv_cell(cell: Cell) -> list[str]:
    numbers: list[float | None] = [None, None, None, None]
    ours, seeds = None, 0
    if cell.ours is not None:
        ours, seeds = cell.ours.value, len(cell.ours.seeds)
        across, items = cell.ours.across_seeds, cell.ours.over_items
        if across is not None:
            numbers[:2] = across.low, across.high
        numbers[2:] = items.low, items.high
    values = [ours, *numbers, cell.paper, cell.difference]
    shown = ["" if value is None else f"{value:.4f}" for value in values]
    return [shown[0], str(seeds), *shown[1:]]


LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "±": r"$\pm$",
    "–": "--",
}


def latex_escaped(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)


def latex(sheet: Sheet) -> str:
    """A `table` that needs \\usepackage{booktabs}. Ours, and smaller in a line below the paper's
    and the difference; labels but the last are a line of their own where they change."""
    heads = " & ".join(latex_escaped(name) for name in (sheet.head[-1], *COLUMNS))
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering\\small\\setlength{\\tabcolsep}{4pt}",
        f"  \\caption{{{latex_escaped(sheet.title)}. Ours (the paper's, difference). "
        f"{latex_escaped(seeds_note(sheet))}}}",
        f"  \\label{{tab:{sheet.name}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(COLUMNS)}}}",
        "    \\toprule",
        f"    {heads} \\\\",
    ]
    for place, line in enumerate(sheet.lines):
        title = latex_escaped(group(sheet, place))
        if title or place == 0:
            lines.append("    \\midrule")
        if title:
            span = f"\\multicolumn{{{1 + len(COLUMNS)}}}{{l}}"
            lines.append(f"    {span}{{\\emph{{{title}}}}} \\\\")
        lines += [f"    {row} \\\\" for row in latex_rows(line)]
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""]
    return "\n".join(lines)


def latex_rows(line: Line) -> list[str]:
    """Ours, and the paper's where any is known."""
    label = latex_escaped(line.labels[-1])
    ours = [latex_escaped(ours_text(cell, line.decimals)) for cell in line.cells]
    papers = [latex_escaped(paper_text(cell, line.decimals)) for cell in line.cells]
    small = [f"{{\\scriptsize {paper}}}" if paper else "" for paper in papers]
    rows = [" & ".join([label, *ours])]
    if any(papers):
        rows.append(" & ".join(["", *small]))
    return rows


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
