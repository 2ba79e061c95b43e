"""Turns a sheet into the texts of Markdown, CSV and LaTeX files."""

import csv
import io
import math
import re

from tabulate import tabulate

from reports.measures import Interval
from reports.sheets import (
    GAP,
    Cell,
    Line,
    ShareCell,
    Sheet,
    caption,
    group,
    number,
    share_cells,
    spread,
)

NOT_RUN = "not run"


def ours_text(cell: Cell | ShareCell, decimals: int) -> str:
    """Our value with its spread, or a share in whole per cent."""
    if isinstance(cell, ShareCell):
        return share_text(cell.share.value)
    if cell.ours is None:
        return NOT_RUN
    return number(cell.ours.value, decimals) + spread(cell.ours, decimals)


def share_text(value: float | None) -> str:
    return number(value, 0) + ("%" if value is not None else "")


def second_text(cell: Cell | ShareCell, decimals: int) -> str:
    """The paper's value and the difference in brackets, or a share's interval across seeds. Empty
    if the paper's value is unknown."""
    if isinstance(cell, ShareCell):
        across = cell.share.across_seeds
        return f"[{interval_text(across.low, across.high, 0)}]" if across else ""
    if cell.paper is None:
        return ""
    if cell.difference is None:
        return f"({number(cell.paper, decimals)})"
    difference = number(cell.difference, decimals, signed=True)
    return f"({number(cell.paper, decimals)}, {difference})"


def text_cell(cell: Cell | ShareCell, decimals: int) -> str:
    return f"{ours_text(cell, decimals)} {second_text(cell, decimals)}".rstrip()


def plain_table(sheet: Sheet, style: str) -> str:
    """The table as text, in one of tabulate's styles."""
    rows = [
        [*line.labels[:-1], line.title, *(text_cell(cell, line.decimals) for cell in line.cells)]
        for line in sheet.lines
    ]
    return tabulate(rows, [*sheet.head, *sheet.columns], tablefmt=style, disable_numparse=True)


def interval_head(sheet: Sheet) -> list[str]:
    names = ["avg", "across seeds (95%)", f"over {sheet.items} (95%)"]
    shares = [GAP, *(f"gap {name}" for name in names[1:])] if share_cells([*sheet.lines]) else []
    return [*sheet.head, "seeds", *names, *shares]


def interval_rows(sheet: Sheet) -> list[list[str]]:
    """One row per line that was run: labels, number of seeds, average, and its intervals across
    seeds and over items. If shares of the gap are known, also the share and its intervals."""
    with_shares = bool(share_cells([*sheet.lines]))
    rows = []
    for line in sheet.lines:
        measure = line.average.ours
        if measure is None:
            continue
        row = [*line.labels[:-1], line.title, str(len(measure.seeds))]
        row.append(number(measure.value, line.decimals))
        row.append(shown_interval(measure.across_seeds, line.decimals, "none (one run)"))
        row.append(shown_interval(measure.over_items, line.decimals, ""))
        if with_shares:
            found = share_cells([line])
            row += shown_share(found[0]) if found else ["–", "", ""]
        rows.append(row)
    return rows


def shown_share(cell: ShareCell) -> list[str]:
    """A known share and both its intervals."""
    share = cell.share
    if share.over_items is None:
        return [share_text(share.value), "by definition", "by definition"]
    return [
        share_text(share.value),
        shown_interval(share.across_seeds, 0, "none (one run)"),
        shown_interval(share.over_items, 0, ""),
    ]


def shown_interval(interval: Interval | None, decimals: int, none: str) -> str:
    return none if interval is None else interval_text(interval.low, interval.high, decimals)


def interval_text(low: float, high: float, decimals: int) -> str:
    return f"{number(low, decimals)} to {number(high, decimals)}"


def markdown(sheet: Sheet) -> str:
    """The table as Markdown, followed by the intervals of its averages."""
    lines = [
        plain_table(sheet, "github"),
        "",
        f"Ours (the paper's, difference). {caption(sheet)}",
        "",
    ]
    rows = interval_rows(sheet)
    if rows:
        table = tabulate(rows, interval_head(sheet), tablefmt="github", disable_numparse=True)
        lines += ["95% intervals of the averages:", "", table, ""]
    return "\n".join(lines)


def csv_text(sheet: Sheet) -> str:
    """The table in long form: one line per cell, with both intervals, the paper's value and the
    difference. The column `whose` tells the paper's rows from ours. Shares of a gap are in per
    cent."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = [name.replace(" ", "_") for name in sheet.head]
    intervals = ["seeds_low", "seeds_high", "items_low", "items_high"]
    head = ["row", *names, "whose", "column", "ours", "seeds", "items", *intervals]
    table.writerow([*head, "paper", "difference"])
    for line in sheet.lines:
        whose = "ours" if line.ours else "paper"
        for column, cell in zip(sheet.columns, line.cells, strict=True):
            table.writerow([line.row, *line.labels, whose, column, *csv_cell(cell)])
    return out.getvalue()


def csv_cell(cell: Cell | ShareCell) -> list[str]:
    """Our value, its numbers of seeds and items, both intervals, the paper's value, and the
    difference."""
    paper = difference = None
    if isinstance(cell, ShareCell):
        found = cell.share
        value, seeds, items = found.value, found.seeds, found.items
        across, over = found.across_seeds, found.over_items
    else:
        paper, difference = cell.paper, cell.difference
        value, seeds, items, across, over = None, 0, 0, None, None
        if cell.ours is not None:
            value, seeds, items = cell.ours.value, len(cell.ours.seeds), cell.ours.items
            across, over = cell.ours.across_seeds, cell.ours.over_items
    ends = [end for each in (across, over) for end in csv_ends(each)]
    return [csv_number(value), str(seeds), str(items), *ends, *map(csv_number, (paper, difference))]


def csv_ends(interval: Interval | None) -> list[str]:
    if interval is None:
        return ["", ""]
    return [csv_number(interval.low), csv_number(interval.high)]


def csv_number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


MARKDOWN_SPECIAL = re.compile(r"[\\`\[\]<>|]")
"""What begins a link, an element of HTML, code, or another cell."""


def markdown_escaped(text: str) -> str:
    """Text of somebody else's results, which stays text in Markdown."""
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", " ".join(text.splitlines()))


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
    "†": r"$\dagger$",
    "–": "--",
}


def latex_escaped(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)


def latex(sheet: Sheet) -> str:
    """A LaTeX `table` that needs \\usepackage{booktabs}.

    Our values are followed by a smaller line with the paper's values and the differences. All
    labels except the last form a line of their own where they change.
    """
    heads = " & ".join(latex_escaped(name) for name in (sheet.head[-1], *sheet.columns))
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering\\small\\setlength{\\tabcolsep}{4pt}",
        f"  \\caption{{{latex_escaped(sheet.title)}. Ours (the paper's, difference). "
        f"{latex_escaped(caption(sheet))}}}",
        f"  \\label{{tab:{sheet.name}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}",
        "    \\toprule",
        f"    {heads} \\\\",
    ]
    for place, line in enumerate(sheet.lines):
        title = latex_escaped(group(sheet, place))
        if title or place == 0:
            lines.append("    \\midrule")
        if title:
            span = f"\\multicolumn{{{1 + len(sheet.columns)}}}{{l}}"
            lines.append(f"    {span}{{\\emph{{{title}}}}} \\\\")
        lines += [f"    {row} \\\\" for row in latex_rows(line)]
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""]
    return "\n".join(lines)


def latex_rows(line: Line) -> list[str]:
    """A row of our values, and below it a row of the paper's values and the shares' intervals, if
    any is known."""
    label = latex_escaped(line.title)
    ours = [latex_escaped(ours_text(cell, line.decimals)) for cell in line.cells]
    seconds = [latex_escaped(second_text(cell, line.decimals)) for cell in line.cells]
    small = [f"{{\\scriptsize {second}}}" if second else "" for second in seconds]
    rows = [" & ".join([label, *ours])]
    if any(seconds):
        rows.append(" & ".join(["", *small]))
    return rows
