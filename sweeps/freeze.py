"""Writes a study's winner as a row for the registry, with its differences from the study's row."""

import dataclasses
from dataclasses import replace
from typing import Any

import optuna

from experiments import method
from experiments.registry import rows_of
from experiments.stages import data_set
from experiments.stages.data_set import TEST
from experiments.stages.separation_score import SeparationScore
from selfrefine import settings
from sweeps.studies import Bound, changed_row, registry_stage

NAMED = (
    (method, ("noisy", "clean", "psi_clean", "psi_noisy", "psi_refined")),
    (settings, ("PAPER_XUMX", "PAPER_HDEMUCS")),
    (data_set, ("CLEAN", "NOISY", "TEST")),
)
"""Values that have names, by the module that has them."""


def frozen_row(bound: Bound, best: optuna.trial.FrozenTrial) -> SeparationScore:
    """The registry's row with the winner's values, at the paper's scale, scored on test songs."""
    return replace(changed_row(bound.study, registry_stage(bound.study), best.params), test=TEST)


def freeze_text(bound: Bound, study: optuna.Study) -> str:
    """The winner, its changes, and the lines that add it to the registry."""
    best = study.best_trial
    (row,) = rows_of(bound.study.row).values()
    stage = frozen_row(bound, best)
    own = bound.own_values()
    changes = [
        f"#   {parameter.name}: {own[parameter.name]:g} -> "
        f"{parameter.value(best.params[parameter.name]):g}   ({parameter.meaning})"
        for parameter in bound.study.parameters
    ]
    paper = [f"#   {path}: {was} -> {now}" for path, was, now in differences(row.stage, stage)]
    told = [
        f"# {bound.label}: trial {best.number} of {len(study.trials)}, "
        f"{bound.study.judged_by.name} {best.value:.4f} ({bound.study.judged_by.meaning})",
        *(f"# the row as it is: {value:.4f}" for value in own_value(bound, study)),
        f"# what it changes at profile {bound.profile.name}:",
        *changes,
        f"# what differs from {bound.study.row} in the registry:",
        *(paper or ["#   nothing"]),
        "from experiments.registry import Row",
        *import_lines(stage),
        "Row(",
        f"    {row.name + '-' + bound.study.name!r},",
        f"    {(*row.labels[:-1], row.labels[-1] + ', swept')!r},",
        f"    {source(stage)},",
        ")",
    ]
    return "\n".join(told)


def own_value(bound: Bound, study: optuna.Study) -> list[float]:
    """The value that the unchanged row reached in the study; empty if no such trial is complete."""
    own = bound.own_values()
    return [
        trial.value
        for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        if {p.name: p.value(trial.params[p.name]) for p in bound.study.parameters} == own
    ][:1]


def differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Path and both values of each field that differs, also inside nested dataclasses of the same
    type."""
    if type(before) is not type(after) or not dataclasses.is_dataclass(before):
        return [] if before == after else [(path, said(before), said(after))]
    found = []
    for entry in dataclasses.fields(before):
        ours, theirs = getattr(before, entry.name), getattr(after, entry.name)
        found += differences(ours, theirs, f"{path}.{entry.name}".lstrip("."))
    return found


def said(value: Any) -> str:
    return source(value) if dataclasses.is_dataclass(value) else str(value)


def source(value: Any) -> str:
    """Python code for the value: the name that it has, or else its class with the fields that are
    not the defaults."""
    name = known_name(value)
    if name is not None:
        return name[1]
    if not dataclasses.is_dataclass(value):
        return repr(value)
    parts = [f"{field}={source(own)}" for field, own in changed_fields(value)]
    return f"{type(value).__name__}({', '.join(parts)})"


def import_lines(value: Any) -> list[str]:
    """The imports that the value's source needs."""
    names: set[tuple[str, str]] = set()

    def visit(value: Any) -> None:
        name = known_name(value)
        if name is not None:
            names.add(name)
        elif dataclasses.is_dataclass(value):
            names.add((type(value).__module__, type(value).__name__))
            for _, own in changed_fields(value):
                visit(own)

    visit(value)
    return [f"from {module} import {name}" for module, name in sorted(names)]


def known_name(value: Any) -> tuple[str, str] | None:
    """The module and the name of a value that has one."""
    for module, names in NAMED:
        for name in names:
            known = getattr(module, name)
            if type(value) is type(known) and value == known:
                return module.__name__, name
    return None


def changed_fields(value: Any) -> list[tuple[str, Any]]:
    """The fields of a dataclass that do not hold their defaults."""
    found = []
    for entry in dataclasses.fields(value):
        own = getattr(value, entry.name)
        default = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        if default is dataclasses.MISSING or own != default:
            found.append((entry.name, own))
    return found
