"""Writes a study as files: its trials as CSV, its pictures, a Markdown page of both, and the parts
of the page as JSON for the report."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.files.atomic import write_text
from sweeps.curves import threshold_frame
from sweeps.freeze import freeze_text
from sweeps.objectives import stage_thresholds, stages_needed
from sweeps.pictures import study_pictures, threshold_picture, trials_picture
from sweeps.studies import CLASS_THRESHOLDS, Bound
from sweeps.workers import GIVEN_UP, failure_reason, given_up

BEST_SHOWN = 10

TITLES = {
    "curve": "The objective against what is varied",
    "history": "Trials in their order",
    "slice": "Value against each parameter",
    "importances": "Importance of the parameters",
    "contour": "Value over pairs of parameters",
    "parallel": "Trials as lines across the parameters",
}
"""Titles of pictures, by the last part of their names."""

ENDINGS = ("complete", "pruned", "failed", "given up after retries", "queued again")
"""How a trial can end. A trial is queued again, as a new one, when its worker ends before it."""


def trials_frame(study: optuna.Study) -> pd.DataFrame:
    """One line per completed trial, the best first: its number, value, parameters and stage."""
    lines = [trial_line(trial) for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    return pd.DataFrame(lines).sort_values("value", ascending=False, kind="stable")


def trial_line(trial: FrozenTrial) -> dict[str, object]:
    head = {"trial": trial.number, "value": trial.value}
    return head | trial.params | {"stage": trial.user_attrs.get("stage", "")}


def best_frame(study: optuna.Study) -> pd.DataFrame:
    return trials_frame(study).head(BEST_SHOWN)


def write_page(bound: Bound, study: optuna.Study, store: Store | None, folder: Path) -> Path:
    """Writes `folder/<study>.md` and the files that it shows. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = bound.study.name
    trials = trials_frame(study)
    write_text(folder / f"{name}-trials.csv", trials.to_csv(index=False, float_format="%.6g"))
    pictures = threshold_files(bound, study, store, folder)
    if len(bound.study.space) == 1:
        parameter = bound.study.space[0]
        path = folder / f"{name}-curve.png"
        pictures.append(trials_picture(trials, parameter, bound.study.judged_by.name, path))
    pictures += study_pictures(study, folder, name)
    about = (
        f"Data {bound.data}, profile {bound.profile.name}: {bound.profile.scale.meaning}. "
        f"{count_of(study)}. Selected on validation songs."
    )
    best, winner = best_frame(study), freeze_text(bound, study)
    lost = [line for each in given_up_lines(study) for line in (f"- {each}", "")]
    lines = [
        f"# {name}: {bound.study.judged_by.meaning}",
        "",
        about,
        "",
        *lost,
        best.to_markdown(index=False, floatfmt=".4g"),
        "",
        *(f"![{path.stem}]({path.name})" for path in pictures),
        "",
        "The winner as a row of the registry:",
        "",
        "```python",
        winner,
        "```",
        "",
    ]
    parts = {
        "name": name,
        "meaning": bound.study.judged_by.meaning,
        "about": about,
        "head": list(best.columns),
        "rows": [[short(value) for value in row] for row in best.itertuples(index=False)],
        "pictures": [[TITLES[path.stem.rpartition("-")[2]], path.name] for path in pictures],
        "winner": winner,
    }
    write_text(folder / f"{name}.json", json.dumps(parts, indent=1) + "\n")
    write_text(folder / f"{name}.md", "\n".join(lines))
    return folder / f"{name}.md"


def short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def count_of(study: optuna.Study) -> str:
    """How many trials of a study ended how, as a sentence."""
    counts = Counter(ending(trial) for trial in study.get_trials(deepcopy=False))
    return "Trials: " + ", ".join(f"{counts[word]} {word}" for word in ENDINGS if counts[word])


def given_up_lines(study: optuna.Study) -> list[str]:
    return [f"Trial {number} was {reason}." for number, reason in given_up(study).items()]


def ending(trial: FrozenTrial) -> str:
    """One of `ENDINGS`, or "" for a trial that has not ended."""
    match trial.state:
        case TrialState.COMPLETE:
            return "complete"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.FAIL:
            if GIVEN_UP in trial.user_attrs:
                return "given up after retries"
            return "failed" if failure_reason(trial) else "queued again"
    return ""


def threshold_files(
    bound: Bound, study: optuna.Study, store: Store | None, folder: Path
) -> list[Path]:
    """Writes the threshold curves as CSV and as a picture, and returns the picture's path. Only a
    study of the class thresholds on stored outputs has them; others give an empty list."""
    objective = bound.study.judged_by
    if objective.score is None or set(bound.study.space) != set(CLASS_THRESHOLDS):
        return []
    own = bound.stage({})
    best = bound.stage(study.best_params)
    if store is None or not all(store.done(stage) for stage in stages_needed(objective, best)):
        return []  # the storage came from another machine, without its results
    chosen = np.array(stage_thresholds(best))
    frame = threshold_frame(objective.score, best, store, chosen)
    name = bound.study.name
    write_text(folder / f"{name}-curve.csv", frame.to_csv(index=False, float_format="%.6g"))
    marks = {
        "chosen": dict(zip(CLASSES, chosen.tolist(), strict=True)),
        "the row's": dict(zip(CLASSES, stage_thresholds(own), strict=True)),
    }
    title = f"{name}, {bound.data}-{bound.profile.name}"
    return [threshold_picture(frame, marks, title, folder / f"{name}-curve.png")]
