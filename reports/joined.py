"""Results of several machines, or of several days, as one value."""

import logging
from collections.abc import Iterable, Mapping
from typing import TypeVar

from experiments.profiles import profile_named
from experiments.stages.stage import identity, seeded
from experiments.targets import resolved_rows
from reports.results import Record, Results
from selfrefine.errors import InputError

log = logging.getLogger(__name__)

Each = TypeVar("Each")
Rows = Mapping[str, tuple[str, ...]]


def joined_results(results: Results, more: Results) -> Results:
    """The runs of `more`, and those of `results` of other seeds or rows. Of a stage that both have,
    the record of `more` stands, so that each of its runs keeps the labels that it learned from.

    Runs of `more` that are not of today's registry are left out, with a warning. Raises InputError
    when the two are of another data, profile or test.
    """
    if results.name != more.name:
        raise InputError(f"results of {more.name} cannot be joined to those of {results.name}")
    own = current_runs(more.rows, more, more.test)
    own_on_data = current_runs(more.data_rows, more, "band")
    kept = {id for ids in (*own.values(), *own_on_data.values()) for id in ids}
    behind = {each.id: each for id in kept for each in more.behind(more.stages[id])}
    stages = results.stages | behind
    left_out = {id for rows in (more.rows, more.data_rows) for ids in rows.values() for id in ids}
    if left_out := left_out - kept:
        log.warning(
            "%d runs are left out: of an earlier version of their experiment, or of other songs",
            len(left_out),
        )
    return Results(
        results.data,
        results.profile,
        results.meaning,
        results.deviations,
        joined_rows(results.rows, own, stages),
        stages,
        results.outputs | among(behind, more.outputs),
        results.looks | among(behind, more.looks),
        results.examples | among(behind, more.examples),
        results.test,
        joined_rows(results.data_rows, own_on_data, stages),
    )


def among(stages: Mapping[str, Record], found: Mapping[str, Each]) -> dict[str, Each]:
    return {id: each for id, each in found.items() if id in stages}


def current_runs(rows: Rows, results: Results, test: str) -> dict[str, tuple[str, ...]]:
    """The runs in `rows` that are of today's registry. All of them where the songs are not on this
    machine, so that the stages have no identity."""
    try:
        known = resolved_rows(["*"], profile_named(results.profile), results.data, test)
    except InputError:
        return dict(rows)
    return {
        label: tuple(
            id
            for id in ids
            if label in known and id == identity(seeded(known[label][1], results.stages[id].seed))
        )
        for label, ids in rows.items()
    }


def joined_rows(
    first: Rows, second: Rows, stages: Mapping[str, Record]
) -> dict[str, tuple[str, ...]]:
    """The runs of each row, one per seed, in the order of seeds. Those of `second` stand."""
    return {
        label: one_per_seed((*first.get(label, ()), *second.get(label, ())), stages)
        for label in dict.fromkeys([*first, *second])
    }


def one_per_seed(ids: Iterable[str], stages: Mapping[str, Record]) -> tuple[str, ...]:
    by_seed = {stages[id].seed: id for id in ids}
    return tuple(by_seed[seed] for seed in sorted(by_seed))
