"""Writes a study's winner as a row for the registry, with its differences from the study's row."""

import dataclasses
from dataclasses import replace
from typing import Any

import optuna

from experiments import registry
from experiments.registry import rows_of
from experiments.stages.data_set import TEST
from experiments.stages.separation_score import SeparationScore
from selfrefine import settings
from sweeps.studies import Bound, changed_row, registry_stage

NAMES = (
    *("noisy", "clean", "psi_clean", "psi_noisy", "psi_refined"),
    *("PAPER_XUMX", "PAPER_HDEMUCS", "CLEAN", "NOISY", "TEST"),
)
"""Values that the registry has names for."""


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
    """Python code for the value, as it can stand in the registry: the registry's name for it, or
    else its class with the fields that are not the defaults."""
    for name in NAMES:
        if type(value) is type(known := getattr(registry, name, None)) and value == known:
            return name
    if not dataclasses.is_dataclass(value):
        return repr(value)
    parts = []
    for entry in dataclasses.fields(value):
        own = getattr(value, entry.name)
        default = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        if default is dataclasses.MISSING or own != default:
            parts.append(f"{entry.name}={source(own)}")
    kind = type(value)
    prefix = "settings." if kind.__module__ == settings.__name__ else ""
    return f"{prefix}{kind.__name__}({', '.join(parts)})"
