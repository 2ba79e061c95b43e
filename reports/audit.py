"""Accuracy of the label sets on which rows were trained, if the truth is known."""

from dataclasses import dataclass

from tabulate import tabulate

from reports.results import Record, Results
from reports.writers import markdown_escaped

HEAD = ("labels", "exact", "F1", "precision", "recall", "single", "multi", "dropped")

SURE_HEAD = ("labels", "how sure", "stems", "mean", "right")


@dataclass(frozen=True)
class Audited:
    """The labels of a set of stems: their name, their accuracy against the truth, and the numbers
    of single-labelled, multi-labelled and dropped stems."""

    name: str
    shares: tuple[float, float, float, float]
    counts: tuple[int, int, int]


def label_audit(results: Results, table: str = "") -> list[Audited]:
    """Audits the labels on which a table's rows depend (all rows for ""), for seed 0 only. The
    given labels come first."""
    records: dict[str, Record] = {}
    for label in results.rows:
        run = results.first(label)
        if label.startswith(table) and run is not None:
            records |= {each.id: each for each in results.behind(run)}
    kept = [each for each in records.values() if "accuracy" in each.result and not each.seed]
    kept.sort(key=lambda each: each.kind != "corrupted")
    return [audited(each) for each in kept]


def audited(record: Record) -> Audited:
    result, accuracy = record.result, record.result["accuracy"]
    single = result["single"] if "single" in result else result["stems"]
    return Audited(
        "as given" if record.kind == "corrupted" else record.name.removeprefix("labels "),
        (accuracy["exact"], accuracy["f1"], accuracy["precision"], accuracy["recall"]),
        (single, result.get("multi", 0), result.get("dropped", 0)),
    )


def reliability_markdown(results: Results, table: str) -> str:
    """A table of the confidence of the labels on which a table's rows depend, and of the share that
    is right at each confidence. For seed 0 only. Empty if no label has a confidence."""
    rows = []
    for label in results.rows:
        run = results.first(label)
        if not label.startswith(table) or run is None:
            continue
        for record in results.behind(run):
            for group in record.result.get("reliability", ()) if not record.seed else ():
                values = (f"{group['confidence']:.3f}", f"{group['right']:.3f}")
                sure = f"{group['least']:.0%} or more"
                name = markdown_escaped(record.name.removeprefix("labels "))
                rows.append((name, sure, group["stems"], *values))
    unique = list(dict.fromkeys(rows))
    return tabulate(unique, SURE_HEAD, tablefmt="github", disable_numparse=True) if rows else ""


def audit_markdown(audits: list[Audited]) -> str:
    rows = [
        [markdown_escaped(each.name), *(f"{v:.3f}" for v in each.shares), *each.counts]
        for each in audits
    ]
    return tabulate(rows, HEAD, tablefmt="github", disable_numparse=True)
