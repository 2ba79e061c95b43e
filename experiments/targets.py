"""Turns the words of a command line into stages: it chooses the rows, their scale, their data, the
songs of the test, and the number of seeds."""

from dataclasses import fields, replace
from typing import Any

from experiments.data import bind, can_give
from experiments.profiles import Profile, settings_at_scale
from experiments.registry import TARGETS, rows_of
from experiments.rows import Row
from experiments.stages.data_set import NOISY, TEST, UNCORRUPTED, VALIDATION, DataSet
from experiments.stages.own_songs import own_songs
from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure, rebuild, seeded
from experiments.stages.training import Training
from experiments.stages.trimmed import Trimmed
from experiments.trainings.validation import FOR_WATCHING
from selfrefine.errors import InputError

TESTS = ("band", "folder")
"""The songs on which rows are tested: "band" means the test songs of the chosen data, whatever
these are; "folder" means the songs under $TEST_PATH."""


def scaled_row(row: Row, profile: Profile) -> Stage:
    """A row's stage at the profile's scale, with the row's own change. Its data sets are still
    names."""
    stage: Stage = scaled(row.stage, profile)
    return stage if row.change is None else row.change(stage)


def scaled(stage: Stage, profile: Profile) -> Any:
    """`stage` at the profile's scale. Its data sets are still names."""

    def change(value: Any) -> Any:
        if isinstance(value, Stage):
            return value.at_scale(profile)
        return settings_at_scale(value, profile)

    return rebuild(stage, change)


def tested_on(stage: Any, test: Songs, songs: Songs) -> Any:
    """The same stage with `songs` in the place of its `test` songs.

    Trainings and their inputs do not change, even where thresholds were chosen on test songs.
    """
    if stage == test:
        return songs
    if isinstance(stage, Training):
        return stage
    parts = {
        entry.name: tested_on(value, test, songs)
        for entry in fields(stage)
        if isinstance(value := getattr(stage, entry.name), Stage)
    }
    return replace(stage, **parts) if parts else stage


def on_test(stage: Stage, profile: Profile, test: str) -> Stage:
    """`stage` tested on the songs that `test` names. Raises InputError for an unknown test, and for
    own songs that cannot be used."""
    if "folder" not in tests_of(test):
        return stage
    tested: Stage = tested_on(stage, TEST, own_songs(profile.data.sample_rate))
    return tested


def resolved(row: Row, profile: Profile, data: str, test: str = "band") -> Stage:
    """A row's stage with its scale, data and test: the stage that is hashed, stored and run."""
    stage = on_test(scaled_row(row, profile), profile, test)
    bound: Stage = bind(stage, data, profile.data)
    return bound


def rows_on(names: list[str], data: str) -> dict[str, Row]:
    """The rows that targets name, by `table/row`, without those that the data choice cannot give.

    Raises InputError if no row is left.
    """
    given = {label: row for label, row in named_rows(names).items() if can_give(data, row.stage)}
    if not given:
        raise InputError(f"{left_out(names, data)}; choose other rows, or another --data")
    return given


def named_rows(names: list[str]) -> dict[str, Row]:
    return {label: row for name in names for label, row in rows_of(name).items()}


def left_out(names: list[str], data: str) -> str:
    """A sentence that names the rows that a data choice cannot give, and why; "" if there are
    none."""
    labels = [label for label, row in named_rows(names).items() if not can_give(data, row.stage)]
    if not labels:
        return ""
    rows = "row needs" if len(labels) == 1 else "rows need"
    return (
        f"{len(labels)} {rows} the truth of the noisy set, which {data} does not know: "
        f"{', '.join(labels)}"
    )


def resolved_rows(
    names: list[str], profile: Profile, data: str, test: str = "band"
) -> dict[str, tuple[Row, Stage]]:
    """The rows that targets name with their resolved stages, by `table/row`. Rows that the data
    choice cannot give are left out."""
    return {
        label: (row, resolved(row, profile, data, test))
        for label, row in rows_on(names, data).items()
    }


def tests_of(test: str) -> tuple[str, ...]:
    """The tests that are computed for `test`: own songs are scored in addition to the test songs of
    the data. Raises InputError for an unknown test."""
    if test not in TESTS:
        raise InputError(f"no test called {test!r}; choose one of {', '.join(TESTS)}")
    return TESTS[: TESTS.index(test) + 1]


def wanted_stages(
    names: list[str], profile: Profile, data: str, test: str, seeds: range
) -> list[Stage]:
    """The final stages of the targets, for every test and seed."""
    return [
        each
        for tested in tests_of(test)
        for _, stage in resolved_rows(names, profile, data, tested).values()
        for each in from_seeds(stage, seeds)
    ]


def from_seeds(stage: Stage, seeds: range) -> list[Stage]:
    """A stage for every seed. A stage without training is the same for every seed and is given
    once."""
    return list(dict.fromkeys(seeded(stage, seed) for seed in seeds))


def groups_of(
    names: list[str],
    profile: Profile,
    data: str,
    seeds: range,
    watching: bool = False,
    test: str = "band",
) -> dict[Stage, list[str]]:
    """Every table and row of the registry that needs a stage, by stage that the targets need.

    The tables and rows that were asked for come first. A stage is listed under all of them,
    whichever is run first. `watching` adds the validation songs, first in a group of their own.
    The groups of stages that only the test on own songs needs say so in their names.

    Stages are compared while their data sets are still names. Data that only other rows need are
    therefore not read and need not exist.
    """
    asked = rows_on(names, data)
    rows = asked | rows_on([*TARGETS], data)
    known: dict[Stage, dict[str, None]] = {}
    wanted: dict[Stage, None] = {}
    for tested in tests_of(test):
        suffix = "" if tested == "band" else " on own songs"
        needed = {
            label: closure(from_seeds(on_test(scaled_row(row, profile), profile, tested), seeds))
            for label, row in rows.items()
        }
        before = set(known)
        for label, stages in needed.items():
            groups = (label.split("/")[0] + suffix, label + suffix)
            for stage in stages:
                if stage not in before:
                    known.setdefault(stage, {}).update(dict.fromkeys(groups))
        wanted |= dict.fromkeys(stage for label in asked for stage in needed[label])
    for stage in closure([Trimmed(VALIDATION)]) if watching else []:
        if stage not in wanted:
            wanted[stage] = None
            known[stage] = {FOR_WATCHING: None} | known.get(stage, {})
    found: dict[Stage, dict[str, None]] = {}
    for stage in wanted:
        bound = bind(stage, data, profile.data)
        # The songs of a data set can themselves be made from other songs.
        for each in closure([bound]) if isinstance(stage, DataSet) else [bound]:
            found.setdefault(each, {}).update(known[stage])
    if NOISY in wanted and UNCORRUPTED in known:
        # The uncorrupted rows use the songs from which the noisy set is made.
        found[bind(UNCORRUPTED, data, profile.data)].update(known[UNCORRUPTED])
    return {stage: list(names) for stage, names in found.items()}
