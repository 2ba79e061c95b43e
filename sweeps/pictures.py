"""Pictures of a study: Optuna's own plots, and the objective against a parameter or threshold."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from optuna.visualization import matplotlib as plots

from selfrefine.classes import CLASSES

log = logging.getLogger(__name__)

PARTS = (("precision", "C0"), ("recall", "C1"), ("f1", "C2"), ("objective", "k"))
DPI = 130


def study_pictures(study: optuna.Study, folder: Path, name: str) -> list[Path]:
    """Draws history, slice, importances, contour and parallel coordinates, as far as the study has
    enough parameters and trials for them. Returns the paths of the pictures."""
    parameters = {key for trial in study.trials for key in trial.params}
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    varied = len({tuple(trial.params.values()) for trial in complete}) > 1
    drawn: list[tuple[str, Callable[[optuna.Study], Any], bool]] = [
        ("history", plots.plot_optimization_history, True),
        ("slice", plots.plot_slice, varied),
        ("importances", plots.plot_param_importances, varied and len(parameters) > 1),
        ("contour", plots.plot_contour, varied and len(parameters) > 1),
        ("parallel", plots.plot_parallel_coordinate, varied and len(parameters) > 1),
    ]
    made = []
    for kind, plot, possible in drawn:
        if not possible:
            continue
        try:
            # Optuna changes matplotlib's style permanently; the context restores it.
            with warnings.catch_warnings(), plt.rc_context():
                warnings.simplefilter("ignore")
                axes = plot(study)
                made.append(save(axes, folder / f"{name}-{kind}.png"))
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            # Trials of equal value have no importances.
            log.warning("no picture of the %s of %s: %s", kind, name, error)
            plt.close("all")
    return made


def save(axes: Any, path: Path) -> Path:
    """Writes the figure of one or several axes to `path`, and closes it."""
    first = np.ravel(np.asarray(axes, dtype=object))[0]
    figure = first.figure
    rows, columns = np.shape(axes) if np.ndim(axes) == 2 else (1, np.size(axes))
    figure.set_size_inches(max(6.4, 3.2 * columns), max(4.2, 2.8 * rows))
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close("all")
    return path


def threshold_picture(
    frame: pd.DataFrame, marks: dict[str, dict[str, float]], title: str, path: Path
) -> Path:
    """Draws one panel per class: precision, recall, F1 and the objective against the threshold.
    `marks` are thresholds per class by label, drawn as vertical lines."""
    figure, axes = plt.subplots(1, len(CLASSES), figsize=(13, 3.6), sharey=True)
    for axis, name in zip(axes, CLASSES, strict=True):
        lines = frame[frame["class"] == name]
        for column, colour in PARTS:
            axis.plot(lines["threshold"], lines[column], color=colour, label=column)
        for style, (what, thresholds) in zip(("--", ":", "-."), marks.items(), strict=False):
            axis.axvline(thresholds[name], color="0.4", linestyle=style, label=what)
        axis.set_title(name)
        axis.set_xlabel("threshold")
        axis.set_xlim(0, 1)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle(title)
    figure.subplots_adjust(bottom=0.26, top=0.84)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return path


def trials_picture(frame: pd.DataFrame, parameter: str, meaning: str, path: Path) -> Path:
    """Draws the objective of each completed trial against one parameter."""
    figure, axis = plt.subplots(figsize=(6.4, 4.0))
    ordered = frame.sort_values(parameter)
    axis.plot(ordered[parameter], ordered["value"], "o-", color="C0")
    axis.set_xlabel(parameter.replace("_", " "))
    axis.set_ylabel(meaning)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    return path
