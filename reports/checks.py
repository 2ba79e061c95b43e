"""Refuses results that are damaged, or that somebody wrote by hand: whatever the reports read of a
record is checked here, once."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from experiments.stages.stage import kind
from experiments.targets import named_rows
from experiments.trainings.validation import STEP
from reports.results import Record, Results
from selfrefine.classes import CLASSES

LONGEST_CHAIN = 200
"""Most stages that stand one behind the other."""

Complaint = Callable[[str, str], Exception]
"""Makes the error for a stage's identity and what is wrong with it."""

LABEL_MEASURES = ("exact", "f1", "precision", "recall", "kept")


def refuse_bad_results(results: Results, complaint: Complaint) -> None:
    """Raises the complaint about the first record, row or table that the reports cannot use."""
    for id, record in results.stages.items():
        for fault in record_faults(record):
            raise complaint(id, fault)
    refuse_circles(results.stages, complaint)
    kinds = {label: kind(row.stage) for label, row in named_rows(["*"]).items()}
    for rows in (results.rows, results.data_rows):
        for label, ids in rows.items():
            refuse_bad_row(label, kinds[label], ids, results.stages, complaint)
    for record in results.stages.values():
        if record.kind == "recognition-outputs":
            refuse_bad_outputs(record, results, complaint)
        if record.kind == "recognition-score" and record.inputs[0] not in results.outputs:
            raise complaint(record.id, f"the outputs that it scores, {record.inputs[0]}, are lost")
    for id, looks in results.looks.items():
        if not all(STEP in look and all(map(math.isfinite, look.values())) for look in looks):
            raise complaint(id, "its scores on validation songs lack a step or are not finite")


def record_faults(record: Record) -> Iterator[str]:
    """What is wrong with a record by itself."""
    words = (record.id, record.kind, record.name, record.link, *record.inputs)
    if not all(isinstance(each, str) for each in words):
        yield "its id, kind, name, link and inputs are not all text"
    if not whole(record.seed):
        yield f"its seed is {record.seed!r}"
    if not isinstance(record.result, dict) or not isinstance(record.run, dict):
        yield "its result and its run are not tables"
        return
    if not real(record.run.get("seconds", 0.0)) or record.run.get("seconds", 0.0) < 0:
        yield f"it ran for {record.run['seconds']!r} seconds"
    for name in ("commit", "device", "started"):
        if not isinstance(record.run.get(name, ""), str):
            yield f"the {name} of its run is no text"
    yield from result_faults(record.kind, record.result, record.inputs)


def result_faults(kind: str, result: dict[str, Any], inputs: tuple[str, ...]) -> Iterator[str]:
    match kind:
        case "separation-score":
            if not by_class(result.get("sdr"), lambda each: isinstance(each, float | int)):
                yield "it has no SDR for each class"
            tracks = result.get("tracks")
            scored = isinstance(tracks, dict) and all(
                by_class(each, lambda value: value is None or real(value))
                for each in tracks.values()
            )
            if not scored:
                yield "its songs have no SDR for each class"
        case "recognition-score":
            thresholds = result.get("thresholds")
            if not isinstance(thresholds, list) or len(thresholds) != len(CLASSES):
                yield "it has no threshold for each class"
            elif not all(real(each) and 0 <= each <= 1 for each in thresholds):
                yield "a threshold is not between 0 and 1"
            if not inputs:
                yield "it does not say which outputs it scores"
        case "separator":
            if not inputs:
                yield "it does not say what it learned from"
        case "adaptive-thresholds":
            if not by_class(result.get("thresholds"), real):
                yield "it has no threshold for each class"
    yield from audit_faults(result)


def audit_faults(result: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the parts that tell how right label sets are."""
    if "accuracy" in result:
        if not all_of(result["accuracy"], LABEL_MEASURES, real):
            yield "its accuracy lacks a number"
        counts = [result.get("single", result.get("stems"))]
        counts += [result.get(name, 0) for name in ("multi", "dropped")]
        if not all(map(whole, counts)):
            yield "its numbers of stems are no whole numbers"
    if "confusion" in result:
        confusion = result["confusion"]
        rows = confusion.values() if isinstance(confusion, dict) else [None]
        if not all(isinstance(row, dict) and all(map(whole, row.values())) for row in rows):
            yield "its confusion of labels has counts that are no whole numbers"
    groups = result.get("reliability", [])
    names = ("confidence", "right", "least", "stems")
    if not isinstance(groups, list) or not all(all_of(each, names, real) for each in groups):
        yield "its reliability lacks a number"


def by_class(found: Any, fits: Callable[[Any], bool]) -> bool:
    return all_of(found, CLASSES, fits)


def all_of(found: Any, names: Iterable[str], fits: Callable[[Any], bool]) -> bool:
    """Whether `found` is a table whose values under the names fit."""
    return isinstance(found, dict) and all(name in found and fits(found[name]) for name in names)


def real(value: Any) -> bool:
    """Whether it is a finite number of a size that can be drawn."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e15


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15


def refuse_circles(stages: dict[str, Record], complaint: Complaint) -> None:
    """Refuses a stage that is among its own inputs, directly or not, and one under another id."""
    waiting = dict(stages)
    for _ in range(LONGEST_CHAIN):
        free = [
            id
            for id, each in waiting.items()
            if not any(needed in waiting for needed in each.inputs)
        ]
        if waiting and not free:
            raise complaint(next(iter(waiting)), "it is among its own inputs")
        for id in free:
            if waiting.pop(id).id != id:
                raise complaint(id, f"it is under the identity of {stages[id].id}")
        if not waiting:
            return
    raise complaint(next(iter(waiting)), f"more than {LONGEST_CHAIN} stages are behind it")


def refuse_bad_row(
    label: str, kind: str, ids: tuple[str, ...], stages: dict[str, Record], complaint: Complaint
) -> None:
    for id in ids:
        if id not in stages:
            raise complaint(id, f"the row {label} needs it, but it is not there")
        if stages[id].kind != kind:
            raise complaint(id, f"it is a {stages[id].kind}, but the row {label} is a {kind}")
    if len({stages[id].seed for id in ids}) < len(ids):
        raise complaint(ids[0], f"the row {label} has two runs of one seed")


def refuse_bad_outputs(record: Record, results: Results, complaint: Complaint) -> None:
    tests = results.outputs.get(record.id)
    if tests is None:
        raise complaint(record.id, "its table of outputs is lost")
    items = record.result.get("items", {})
    for test, (truth, outputs) in tests.items():
        expected = items.get(test, len(truth)) if isinstance(items, dict) else None
        if len(truth) != expected:
            raise complaint(record.id, f"{len(truth)} of {expected} outputs on {test} are there")
        # `not all(…)` is also true for NaN.
        if not np.all((outputs >= 0) & (outputs <= 1)):
            raise complaint(record.id, f"an output on {test} is not between 0 and 1")
