"""The studies: each has a registry row, the parameters to vary in it, and an objective to maximise.

A trial is the row's stage with some fields changed, so trials are stored, shared and resumed like
rows. The selection is on validation songs; a stage that uses the test songs is refused.
"""

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.data import bind
from experiments.profiles import Profile
from experiments.registry import rows_of
from experiments.stages.data_set import TEST, VALIDATION
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import Stage, closure, expression
from experiments.targets import scaled
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from sweeps.objectives import Objective, objective_named
from sweeps.parameters import Parameter, parameter_named

CLASS_THRESHOLDS = tuple(f"threshold_{name}" for name in CLASSES)
WHOLE = (1.0,)
PROXY = (0.125,)
"""An eighth of the training's length, instead of a smaller profile. Four trials at mini take two
minutes on two cores. The differences between them are hardly larger than those between seeds."""
QUARTER_FIRST = (0.25, 1.0)
"""A trial is first trained for a quarter of its steps, and pruned if its value is bad then."""

Suggested = Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """A study that varies the parameters `space` of a row and maximises an objective.

    `row` is a target of the registry. A trial is judged after each of the shares `rungs` of its
    training's length; the value at the last one is the trial's value. The row's own values are
    tried first, then those in `starts`. If the user has changed the parameters or the objective,
    `altered_from` names the original study.
    """

    name: str
    row: str
    objective: str
    space: tuple[str, ...]
    trials: int
    rungs: tuple[float, ...] = WHOLE
    starts: tuple[dict[str, float], ...] = ()
    altered_from: str = ""

    @property
    def parameters(self) -> list[Parameter]:
        return [parameter_named(name) for name in self.space]

    @property
    def judged_by(self) -> Objective:
        return objective_named(self.objective)


PROPOSED = "table2/x-umx-psi-refined"
ONCE_REFINED = "table2/x-umx-psi-noisy"

STUDIES = {
    study.name: study
    for study in (
        Study("threshold-f1", PROPOSED, "f1", CLASS_THRESHOLDS, trials=60),
        Study("threshold-recall", PROPOSED, "recall", CLASS_THRESHOLDS, trials=60),
        Study("threshold-labels", PROPOSED, "labels", CLASS_THRESHOLDS, trials=60),
        Study(
            "threshold-sdr",
            PROPOSED,
            "sdr",
            ("final_threshold",),
            trials=4,
            rungs=PROXY,
            starts=tuple({"final_threshold": value} for value in (0.9, 0.5, 0.7, 0.3)),
        ),
        Study("mix-chance", ONCE_REFINED, "f1", ("mix_chance",), 10, QUARTER_FIRST),
        Study(
            "effects",
            ONCE_REFINED,
            "f1",
            ("compressor_floor", "reverb_wet", "imager_spread", "gain_share"),
            20,
            QUARTER_FIRST,
        ),
        Study("multi-chance", PROPOSED, "sdr", ("multi_chance",), 10, QUARTER_FIRST),
        Study(
            "learning-rates",
            ONCE_REFINED,
            "sdr",
            ("classifier_rate", "separator_rate"),
            20,
            QUARTER_FIRST,
        ),
        Study("refining", PROPOSED, "sdr", ("threshold", "iterations"), 20, QUARTER_FIRST),
    )
}

GROUPS = {"threshold": ("threshold-f1", "threshold-recall", "threshold-labels", "threshold-sdr")}
"""Names for several studies; `make sweep-threshold` runs the first."""


def studies_named(name: str) -> list[Study]:
    """The studies of a name, of a group, or of a pattern over names. Raises InputError when there
    are none."""
    chosen = GROUPS.get(name) or [each for each in STUDIES if fnmatch.fnmatchcase(each, name)]
    if not chosen:
        raise InputError(
            f"no study called {name!r}; choose from {', '.join(STUDIES)}, or the group "
            f"{', '.join(GROUPS)}"
        )
    return [STUDIES[each] for each in chosen]


def altered(study: Study, over: list[str] | None, objective: str | None) -> Study:
    """The study with other parameters or for another objective, under a new name. Raises InputError
    for an unknown name, and for a parameter that is given twice."""
    if not over and objective is None:
        return study
    space = tuple(parameter_named(name).name for name in over) if over else study.space
    for parameter in space:
        if space.count(parameter) > 1:
            raise InputError(
                f"--over names {parameter} {space.count(parameter)} times; once will do"
            )
    chosen = objective_named(objective or study.objective).name
    name = f"{study.name}-{chosen}-over-{'+'.join(space)}"
    return replace(
        study, name=name, objective=chosen, space=space, starts=(), altered_from=study.name
    )


@dataclass(frozen=True)
class Bound:
    """A study at a profile's scale and on chosen data. `label` names it in the storage and in
    W&B."""

    study: Study
    profile: Profile
    data: str

    @property
    def label(self) -> str:
        return f"{self.study.name} {self.data}-{self.profile.name}"

    @property
    def row(self) -> SeparationScore:
        """The registry's row at the profile's scale, scored on validation songs."""
        return on_validation(scaled(registry_stage(self.study), self.profile))

    def stage(self, values: Suggested) -> Stage:
        """The stage of a trial with these values. Raises InputError if it uses test songs."""
        changed = changed_row(self.study, self.row, values)
        stage = self.study.judged_by.stage(changed, self.profile.mixtures)
        refuse_test_songs(stage)
        bound: Stage = bind(stage, self.data, self.profile.data)
        return bound

    def own_values(self) -> dict[str, float]:
        """The row's own values of the study's parameters."""
        return {each.name: each.value(each.read(self.row)) for each in self.study.parameters}

    def version(self) -> str:
        """Twelve hexadecimal digits that change with the row's stages, the parameters' ranges, the
        objective, the rungs, or the data."""
        ranges = [
            (each.name, each.low, each.high, each.step, each.log) for each in self.study.parameters
        ]
        told: list[Any] = [expression(self.stage({})), ranges, self.study.objective]
        text = json.dumps([*told, self.study.rungs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def changed_row(study: Study, row: SeparationScore, values: Suggested) -> SeparationScore:
    """`row` with the values of a study's parameters."""
    for parameter in study.parameters:
        if parameter.name in values:
            row = parameter.change(row, parameter.value(values[parameter.name]))
    return row


def registry_stage(study: Study) -> SeparationScore:
    """A row's stage as the registry has it. Raises InputError for a row without a separator."""
    (row,) = rows_of(study.row).values()
    if not isinstance(row.stage, SeparationScore):
        raise InputError(f"{study.row} trains no separator, so it cannot be swept")
    return row.stage


def on_validation(row: SeparationScore) -> SeparationScore:
    return replace(row, test=VALIDATION)


def refuse_test_songs(stage: Stage) -> None:
    if TEST in closure([stage]):
        raise InputError("a trial may not look at the test songs: select on validation songs")


def refuse_idle_parameters(bound: Bound) -> None:
    """Raises InputError for a parameter that has no effect on the objective, or that another
    parameter of the study overwrites."""
    parameters = bound.study.parameters
    for index, parameter in enumerate(parameters):
        later = parameters[index + 1 :]
        if idle(bound, parameter, []):
            raise InputError(
                f"the objective {bound.study.objective} does not depend on {parameter.name}; "
                "choose another objective or parameter"
            )
        if idle(bound, parameter, later):
            over = [each for each in later if idle(bound, parameter, [each])] or later
            raise InputError(
                f"{parameter.name} has no effect beside {', '.join(each.name for each in over)}, "
                "which would overwrite it; leave it out of --over"
            )


def idle(bound: Bound, parameter: Parameter, others: list[Parameter]) -> bool:
    """Whether both ends of a parameter's range give the same trial, with the `others` at their low
    ends and at their high ends."""
    for end in ("low", "high"):
        values = {each.name: getattr(each, end) for each in others}
        low, high = (
            bound.stage({**values, parameter.name: value})
            for value in (parameter.low, parameter.high)
        )
        if low != high:
            return False
    return True
