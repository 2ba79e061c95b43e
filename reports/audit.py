"""How right the label sets are that rows were trained on, where the truth is known."""

from dataclasses import dataclass

from tabulate import tabulate

from reports.results import Record, Results

HEAD = ("labels", "exact", "F1", "precision", "recall", "single", "multi", "dropped")

SURE_HEAD = ("labels", "how sure", "stems", "mean", "right")


@dataclass(frozen=True)
class Audited:
    """A label set's name, its accuracy against the truth, and how many stems became what."""

    name: str
    shares: tuple[float, float, float, float]
    counts: tuple[int, int, int]


def label_audit(results: Results, table: str = "") -> list[Audited]:
    """Of the label sets behind a table's rows (all rows for ""), as given first; seed 0 only."""
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
    """How sure the labels behind a table's rows are, and how many of those so sure are right; empty
    where none were weighed. Seed 0 only."""
    rows = []
    for label in results.rows:
        run = results.first(label)
        if not label.startswith(table) or run is None:
            continue
        for record in results.behind(run):
            for group in record.result.get("reliability", ()) if not record.seed else ():
                values = (f"{group['confidence']:.3f}", f"{group['right']:.3f}")
                sure = f"{group['least']:.0%} or more"
                rows.append((record.name.removeprefix("labels "), sure, group["stems"], *values))
    unique = list(dict.fromkeys(rows))
    return tabulate(unique, SURE_HEAD, tablefmt="github", disable_numparse=True) if rows else ""


def audit_markdown(audits: list[Audited]) -> str:
    rows = [[each.name, *(f"{v:.3f}" for v in each.shares), *each.counts] for each in audits]
    return tabulate(rows, HEAD, tablefmt="github", disable_numparse=True)
