"""The parameters that a study may vary: named changes to a registry row's stage, each with a range.

A change is applied to the row at the profile's scale, so a value is used as given at every profile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.classifier import Classifier
from experiments.stages.recognition_outputs import Thresholds
from experiments.stages.relabelled import Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import rebuild
from experiments.stages.stem_set import StemSet
from selfrefine import settings
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.refining.loop import refining_loop

DIGITS = 4
"""Values are rounded to this number of significant digits, so that a trial at 0.3 and a row at 0.3
are the same stage."""


@dataclass(frozen=True)
class Parameter:
    """A range of values. `change` applies a value to a row, and `read` gives a row's own value."""

    name: str
    meaning: str
    low: float
    high: float
    change: Callable[[SeparationScore, Any], SeparationScore]
    read: Callable[[SeparationScore], float]
    step: float | None = None
    log: bool = False
    integer: bool = False

    def value(self, suggested: float) -> float:
        """The value that enters a stage: an integer if the parameter is one, else rounded to
        `DIGITS` digits."""
        return int(suggested) if self.integer else float(f"{suggested:.{DIGITS}g}")


def refinement(row: SeparationScore) -> Relabelled:
    """The relabelled set on which a row's separator is trained. Raises InputError for a row without
    one."""
    train = row.separator.trained_on
    if not isinstance(train, Relabelled):
        raise InputError("this parameter needs a row whose separator is trained on refined labels")
    return train


def with_refinement(row: SeparationScore, train: Relabelled) -> SeparationScore:
    return replace(row, separator=replace(row.separator, trained_on=train))


def own_thresholds(row: SeparationScore) -> Thresholds:
    """The thresholds of the last refinement; 0.5 for each class if the row chooses them on
    outputs."""
    thresholds = refinement(row).thresholds
    return (0.5,) * 4 if isinstance(thresholds, AdaptiveThresholds) else thresholds


def class_threshold(name: str) -> Parameter:
    index = CLASSES.index(name)

    def change(row: SeparationScore, value: float) -> SeparationScore:
        values = [*own_thresholds(row)]
        values[index] = value
        vocals, bass, drums, other = values
        last = replace(refinement(row), thresholds=(vocals, bass, drums, other))
        return with_refinement(row, last)

    return Parameter(
        f"threshold_{name}",
        f"threshold of {name} in the last refinement",
        0.01,
        0.99,
        change,
        lambda row: own_thresholds(row)[index],
        step=0.01,
    )


def change_final_threshold(row: SeparationScore, value: float) -> SeparationScore:
    return with_refinement(row, replace(refinement(row), thresholds=(value,) * 4))


def change_threshold(row: SeparationScore, value: float) -> SeparationScore:
    def change(part: Any) -> Any:
        return replace(part, thresholds=(value,) * 4) if isinstance(part, Relabelled) else part

    return rebuild(row, change)


def change_iterations(row: SeparationScore, count: int) -> SeparationScore:
    """The row with `count` refinements (section 3.2).

    Each refinement labels the original stems with a new classifier. The first classifier is trained
    on the noisy labels, each later one on the stems that the refinement before made
    single-labelled.
    """
    last = refinement(row)
    psi = last.probabilities.classifier
    as_given: StemSet = last.probabilities.stems
    *_, (_, _, _, labels) = refining_loop(
        as_given,
        lambda stems, number: replace(psi, trained_on=stems, single_labelled_only=number > 1),
        lambda psi: replace(last.probabilities, classifier=psi),
        lambda judged: replace(last, probabilities=judged[-1]),
        count,
    )
    assert isinstance(labels, Relabelled)
    return with_refinement(row, labels)


def iterations(row: SeparationScore) -> int:
    return refinement(row).relabellings()


def of_classifiers(
    field: Callable[[float], dict[str, Any]],
) -> Callable[[SeparationScore, Any], SeparationScore]:
    """A change of the settings of every classifier that a row depends on."""

    def change(row: SeparationScore, value: float) -> SeparationScore:
        def part(found: Any) -> Any:
            if isinstance(found, settings.ClassifierSettings):
                return replace(found, **field(value))
            return found

        return rebuild(row, part)

    return change


def of_effects(
    ranges: Callable[[float], dict[str, Any]],
) -> Callable[[SeparationScore, Any], SeparationScore]:
    """A change of random mixing's effects, for every classifier that a row depends on."""

    def change(row: SeparationScore, value: float) -> SeparationScore:
        def part(found: Any) -> Any:
            if isinstance(found, settings.EffectRanges):
                return replace(found, **ranges(value))
            return found

        return rebuild(row, part)

    return change


def of_separator(
    field: Callable[[float], dict[str, Any]],
) -> Callable[[SeparationScore, Any], SeparationScore]:
    def change(row: SeparationScore, value: float) -> SeparationScore:
        changed = replace(row.separator.settings, **field(value))
        return replace(row, separator=replace(row.separator, settings=changed))

    return change


def psi(row: SeparationScore) -> Classifier:
    """The classifier of the last refinement."""
    return refinement(row).probabilities.classifier


PAPER_GAIN = settings.EffectRanges().gain

PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        *(class_threshold(name) for name in CLASSES),
        Parameter(
            "final_threshold",
            "one threshold for every class in the last refinement",
            0.05,
            0.95,
            change_final_threshold,
            lambda row: own_thresholds(row)[0],
            step=0.05,
        ),
        Parameter(
            "threshold",
            "one threshold for every class in every refinement",
            0.05,
            0.95,
            change_threshold,
            lambda row: own_thresholds(row)[0],
            step=0.05,
        ),
        Parameter(
            "iterations",
            "how often the labels are refined",
            1,
            5,
            change_iterations,
            iterations,
            step=1,
            integer=True,
        ),
        Parameter(
            "mix_chance",
            "chance p of a stem to enter a random mixture",
            0.2,
            0.9,
            of_classifiers(lambda value: {"mix_chance": value}),
            lambda row: psi(row).settings.mix_chance,
            step=0.05,
        ),
        Parameter(
            "classifier_rate",
            "the classifiers' learning rate",
            1e-5,
            1e-2,
            of_classifiers(lambda value: {"learning_rate": value}),
            lambda row: psi(row).settings.learning_rate,
            log=True,
        ),
        Parameter(
            "separator_rate",
            "the separator's learning rate",
            1e-4,
            1e-2,
            of_separator(lambda value: {"learning_rate": value}),
            lambda row: row.separator.settings.learning_rate,
            log=True,
        ),
        Parameter(
            "multi_chance",
            "chance of a multi-labelled source to enter the separator's mixture",
            0.0,
            0.8,
            of_separator(lambda value: {"multi_chance": value}),
            lambda row: row.separator.settings.multi_chance,
            step=0.05,
        ),
        Parameter(
            "compressor_floor",
            "lowest threshold of the compressor, dB",
            -80.0,
            -5.0,
            of_effects(lambda value: {"compressor_threshold": (value, -5.0)}),
            lambda row: psi(row).settings.effects.compressor_threshold[0],
            step=5.0,
        ),
        Parameter(
            "reverb_wet",
            "highest wet level of the reverb",
            0.0,
            1.0,
            of_effects(lambda value: {"reverb_wet": (0.0, value)}),
            lambda row: psi(row).settings.effects.reverb_wet[1],
            step=0.1,
        ),
        Parameter(
            "imager_spread",
            "how far the stereo imager's balance may go from 1",
            0.0,
            1.0,
            of_effects(lambda value: {"imager_balance": (1 - value, 1 + value)}),
            lambda row: psi(row).settings.effects.imager_balance[1] - 1,
            step=0.1,
        ),
        Parameter(
            "gain_share",
            "share of the paper's -6 to +9 dB of gain",
            0.0,
            2.0,
            of_effects(
                lambda value: {"gain": (value * PAPER_GAIN[0], value * PAPER_GAIN[1])},
            ),
            lambda row: psi(row).settings.effects.gain[1] / PAPER_GAIN[1],
            step=0.1,
        ),
    )
}


def parameter_named(name: str) -> Parameter:
    """The parameter of this name. Raises InputError when there is none."""
    if name not in PARAMETERS:
        raise InputError(f"no parameter called {name!r}; choose from {', '.join(PARAMETERS)}")
    return PARAMETERS[name]
