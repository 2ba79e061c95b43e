"""Writes the requested reports, and prints the tables and verdicts."""

from pathlib import Path

from experiments.robust import ROBUST
from reports.audit import audit_markdown, label_audit, reliability_markdown
from reports.claims import Claim, claims_markdown, decide
from reports.drawing import write_figure
from reports.figures import FIGURES, draw
from reports.measures import Measures, all_measures
from reports.page import page
from reports.results import Results
from reports.robust import Compared, compared_with_the_papers
from reports.sheets import REPORTED, Sheet, caption, sheets_of
from reports.writers import csv_text, latex, markdown, markdown_escaped, plain_table
from selfrefine.files.atomic import write_text

PAGE = "report"
REPORTS = (*REPORTED, *FIGURES, "claims", PAGE)

LISTENED = ["table2/x-umx-clean", "table2/x-umx-noisy", "table2/x-umx-psi-refined"]
"""The rows whose audio examples are on the page."""


def write_reports(names: list[str], results: Results, folder: Path) -> None:
    """Writes every report in `names` into `folder`. Prints the tables and the verdicts as well."""
    measures = all_measures(results)
    claims = decide(measures)
    folder.mkdir(parents=True, exist_ok=True)
    sheets = sheets_of(results, measures)
    compared = compared_with_the_papers(results, measures)
    for name in names:
        if name in sheets:
            write_sheet(sheets[name], results, compared if name == ROBUST.name else None, folder)
        elif name in REPORTED:
            print(f"{name}: nothing of it was run")
        elif name == "claims":
            write_text(folder / "claims.md", claims_markdown(claims, where(results)))
            print_verdicts(claims)
    captions = write_figures(names, results, measures, folder)
    if PAGE in names:
        audits = label_audit(results)
        text = page(
            results, list(sheets.values()), compared, claims, captions, audits, LISTENED, folder
        )
        write_text(folder / f"{PAGE}.html", text)
    print(f"\nwritten to {folder}: {', '.join(names)}")


def write_figures(
    names: list[str], results: Results, measures: Measures, folder: Path
) -> dict[str, str]:
    """Draws the figures in `names`, or all of them if the page is among the names. Returns their
    captions by name."""
    captions = {}
    for name in FIGURES:
        if name in names or PAGE in names:
            drawing = draw(name, results, measures)
            if drawing is None:
                print(f"{name}: nothing to draw it from")
                continue
            write_figure(name, drawing, folder)
            captions[name] = drawing.caption
    return captions


def where(results: Results) -> str:
    return (
        f"Data `{results.data}`, profile `{results.profile}`: "
        f"{markdown_escaped(results.meaning)}. Tested on "
        f"{results.test_songs}."
    )


def write_sheet(table: Sheet, results: Results, compared: Compared | None, folder: Path) -> None:
    """Writes the table as Markdown, CSV and LaTeX, and prints it. `compared` stands below it."""
    lines = [f"# {table.title}", "", where(results), "", markdown(table)]
    if compared:
        lines += ["Against the paper's labels:", "", compared.markdown(), ""]
    audits = label_audit(results, f"{table.name}/")
    if audits:
        lines += [
            "Label sets against the known truth (share of stems exactly right; F1, precision and "
            "recall over stems and classes; counts of stems):",
            "",
            audit_markdown(audits),
            "",
        ]
    if sure := reliability_markdown(results, f"{table.name}/"):
        lines += ["How sure found label sets are, and the share that is right:", "", sure, ""]
    if results.deviations:
        lines += ["Settings that are not the paper's:", ""]
        lines += [*(f"- {markdown_escaped(each)}" for each in results.deviations), ""]
    write_text(folder / f"{table.name}.md", "\n".join(lines))
    write_text(folder / f"{table.name}.csv", csv_text(table))
    write_text(folder / f"{table.name}.tex", latex(table))
    print(
        f"\n{table.title}\n{results.profile}: {results.meaning}; tested on {results.test_songs}; "
        "ours (the paper's, difference)\n"
    )
    print(plain_table(table, "simple"))
    print(f"\n{caption(table)}")
    if compared:
        print(f"\n{compared.markdown()}")


def print_verdicts(claims: list[Claim]) -> None:
    print("\nThe paper's claims, here:\n")
    for claim in claims:
        lacking = f" (to decide: {claim.lacking})" if claim.lacking else ""
        print(f"{claim.number:3d}. {claim.text}: {claim.verdict}{lacking}")
