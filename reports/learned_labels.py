"""The labels that a row's separator learned from, against the truth."""

from reports.results import Record, Results


def given_accuracy(results: Results, last: Record) -> dict[str, float] | None:
    """The accuracy of the corrupted set behind a stage, or None where there is none."""
    found = (each for each in results.behind(last) if each.kind == "corrupted")
    return next((each.result.get("accuracy") for each in found), None)


def learned_accuracy(results: Results, run: Record) -> dict[str, float] | None:
    """The accuracy of the labels that the separator behind a score learned from, as
    `selfrefine.metrics.label_sets` has it. None where the labels are the true ones by definition,
    where the truth is not known, and where an earlier version did not audit them."""
    separator = next(each for each in reversed(results.behind(run)) if each.kind == "separator")
    trained_on = results.stages[separator.inputs[0]]
    if trained_on.kind == "trimmed":
        return given_accuracy(results, trained_on)
    return trained_on.result.get("accuracy")
