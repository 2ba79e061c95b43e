"""A trial is a registry row with some fields changed, selected on validation songs."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from experiments import registry
from experiments.data import bind
from experiments.profiles import PROFILES
from experiments.registry import TABLE5, rows_of
from experiments.stages.data_set import TEST
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import MOST_PROBABLE, Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.stage import closure, identity
from experiments.stages.trimmed import Trimmed
from experiments.targets import resolved, scaled
from selfrefine import settings
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.metrics.recognition import best_thresholds
from selfrefine.refining.labels import label_set
from sweeps.curves import climb, threshold_frame
from sweeps.objectives import (
    OBJECTIVES,
    exact_share,
    mean_f1,
    recall_at_precision,
    shortened,
)
from sweeps.parameters import PARAMETERS
from sweeps.studies import (
    GROUPS,
    PROPOSED,
    STUDIES,
    Bound,
    altered,
    on_validation,
    refuse_test_songs,
    registry_stage,
)
from tests.sweep_store import fill_store

SMOKE = PROFILES["smoke"]
MINI = PROFILES["mini"]


def bound(name: str, profile: str = "smoke") -> Bound:
    return Bound(STUDIES[name], PROFILES[profile], "band")


def every_study() -> list[Bound]:
    """All studies as they are, and a study of every parameter for each objective."""
    named = [
        Bound(study, profile, "band") for study in STUDIES.values() for profile in (SMOKE, MINI)
    ]
    free = [
        Bound(altered(STUDIES["refining"], list(PARAMETERS), objective), SMOKE, "band")
        for objective in OBJECTIVES
    ]
    return named + free


@pytest.mark.parametrize("study", every_study(), ids=lambda each: each.label)
def test_no_trial_of_any_study_looks_at_the_test_songs(study: Bound) -> None:
    test_songs = bind(TEST, "band", study.profile.data)
    for end in ("low", "high"):
        stage = study.stage({each.name: getattr(each, end) for each in study.study.parameters})
        for rung in study.study.rungs:
            behind = closure([shortened(stage, rung)])
            assert TEST not in behind
            assert test_songs not in behind


def test_a_stage_that_looks_at_the_test_songs_is_refused() -> None:
    row = registry_stage(STUDIES["refining"])
    with pytest.raises(InputError, match="test songs"):
        refuse_test_songs(row)
    refuse_test_songs(on_validation(row))
    with pytest.raises(InputError, match="test songs"):
        Bound(
            replace(STUDIES["refining"], row="options/adaptive-thresholds-on-test"), SMOKE, "band"
        ).stage({})


def test_the_unchanged_trial_shares_its_separator_with_the_row() -> None:
    (row,) = rows_of(PROPOSED).values()
    own = resolved(row, MINI, "band")
    trial = bound("multi-chance", "mini").stage({})
    assert isinstance(own, SeparationScore)
    assert isinstance(trial, SeparationScore)
    assert identity(trial.separator) == identity(own.separator)
    assert identity(trial) != identity(own)


def test_trials_of_thresholds_share_every_training() -> None:
    study = bound("threshold-f1")
    trials = [study.stage({f"threshold_{name}": value for name in CLASSES}) for value in (0.2, 0.8)]
    assert trials[0] != trials[1]
    assert all(isinstance(trial, RecognitionScore) for trial in trials)
    assert closure(trials)[:-2] == closure(trials[:1])[:-1]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_reads_back_what_it_changed(name: str) -> None:
    parameter = PARAMETERS[name]
    row = scaled(registry_stage(STUDIES["refining"]), MINI)
    for suggested in (parameter.low, parameter.high):
        value = parameter.value(suggested)
        changed = parameter.change(row, value)
        assert parameter.read(changed) == pytest.approx(value)
    assert parameter.low <= parameter.read(row) <= parameter.high


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_iterations_are_the_rows_of_table_5(count: int) -> None:
    row = registry_stage(STUDIES["refining"])
    stages = [each.stage for each in TABLE5.rows]
    changed = PARAMETERS["iterations"].change(row, count)
    assert changed in stages
    assert PARAMETERS["iterations"].read(changed) == count


def test_a_shortened_trial_differs_in_its_last_training_alone() -> None:
    row = bound("refining").stage({})
    short = shortened(row, 0.25)
    assert isinstance(row, SeparationScore)
    assert isinstance(short, SeparationScore)
    assert short.separator.settings == replace(
        row.separator.settings, steps=row.separator.settings.steps // 4
    )
    assert short.separator.trained_on == row.separator.trained_on
    judged = bound("mix-chance").stage({})
    quarter = shortened(judged, 0.25)
    assert isinstance(judged, RecognitionScore)
    assert isinstance(quarter, RecognitionScore)
    assert quarter.outputs.classifier.trained_on == judged.outputs.classifier.trained_on
    assert quarter.outputs.classifier.settings.steps == round(
        (judged.outputs.classifier.settings.steps or 0) / 4
    )
    assert shortened(row, 1.0) is row


def some_outputs(seed: int, items: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((items, len(CLASSES))) < 0.5
    outputs = np.clip(0.3 + 0.3 * truth + 0.25 * rng.standard_normal(truth.shape), 0, 1)
    return truth, outputs


def test_mean_f1_agrees_with_scikit_learn() -> None:
    truth, outputs = some_outputs(0)
    thresholds = np.array([0.3, 0.4, 0.5, 0.6])
    expected = f1_score(truth, outputs >= thresholds, average="macro")
    assert mean_f1(truth, outputs, thresholds) == pytest.approx(expected)


def test_recall_counts_only_where_the_precision_holds() -> None:
    truth = np.zeros((10, 4), dtype=bool)
    truth[:5] = True
    outputs = np.where(truth, 0.8, 0.1)
    outputs[5, 1] = 0.9  # a false alarm: precision 5/6 in the second class
    outputs[4, 2] = 0.2  # a miss: recall 4/5 in the third
    outputs[:, 3] = 0.1  # never found
    scores = [1.0, 5 / 6 - 0.9, 4 / 5, 0.0]
    value = recall_at_precision(truth, outputs, np.full(4, 0.5))
    assert value == pytest.approx(np.mean(scores))


def test_the_exact_share_is_that_of_label_accuracy() -> None:
    truth, outputs = some_outputs(1)
    thresholds = np.full(4, 0.5)

    def sets(held: np.ndarray) -> dict[tuple[str, str], tuple[str, ...]]:
        return {
            ("song", str(row)): tuple(itertools.compress(CLASSES, values))
            for row, values in enumerate(held.tolist())
        }

    labels = {
        ("song", str(row)): label_set(tuple(values), tuple(thresholds), MOST_PROBABLE)
        for row, values in enumerate(outputs.tolist())
    }
    accuracy = label_accuracy(labels, sets(truth))
    assert exact_share(truth, outputs, thresholds) == pytest.approx(accuracy.exact)


@pytest.mark.parametrize("name", ["threshold-f1", "threshold-recall"])
def test_climbing_class_by_class_finds_the_best_of_the_whole_grid(
    name: str, tmp_path: Path
) -> None:
    study = bound(name)
    truth, outputs = some_outputs(2)
    store = fill_store(tmp_path, study, truth, outputs)
    score = study.study.judged_by.score
    assert score is not None
    found = climb(score, study.stage({}), store, np.full(4, 0.5))
    grid = np.linspace(0.05, 0.95, 10)
    others = [score(truth, outputs, np.array(each)) for each in itertools.product(grid, repeat=4)]
    assert score(truth, outputs, found) >= max(others) - 1e-4


def test_climbing_f1_chooses_the_thresholds_of_the_adaptive_row(tmp_path: Path) -> None:
    study = bound("threshold-f1")
    truth, outputs = some_outputs(5)
    store = fill_store(tmp_path, study, truth, outputs)
    found = climb(mean_f1, study.stage({}), store, np.full(4, 0.5))
    assert found == pytest.approx(best_thresholds([(truth, outputs)]), abs=0.011)


def test_the_curve_of_a_class_is_its_recognition_at_each_threshold(tmp_path: Path) -> None:
    study = bound("threshold-f1")
    truth, outputs = some_outputs(3)
    store = fill_store(tmp_path, study, truth, outputs)
    frame = threshold_frame(mean_f1, study.stage({}), store, np.full(4, 0.5))
    assert len(frame) == 99 * 4
    bass = frame[(frame["class"] == "bass") & np.isclose(frame["threshold"], 0.37)].iloc[0]
    assert bass["f1"] == pytest.approx(f1_score(truth[:, 1], outputs[:, 1] >= 0.37), abs=1e-3)
    moved = mean_f1(truth, outputs, np.array([0.5, 0.37, 0.5, 0.5]))
    assert bass["objective"] == pytest.approx(moved, abs=1e-3)


def test_the_label_objective_reads_the_known_truth_of_the_noisy_stems(tmp_path: Path) -> None:
    from sweeps.objectives import objective_value

    study = bound("threshold-labels")
    truth, outputs = some_outputs(4)
    store = fill_store(tmp_path, study, truth, outputs)
    stage = study.stage({})
    assert isinstance(stage, Relabelled)
    value = objective_value(study.study.judged_by, stage, store)
    assert stage.thresholds == (SMOKE.scale.threshold,) * 4
    assert value == pytest.approx(exact_share(truth, outputs, np.array(stage.thresholds)))


def test_labels_without_a_known_truth_cannot_be_an_objective(tmp_path: Path) -> None:
    from experiments.store import Store
    from sweeps.objectives import objective_value

    real = Relabelled(registry.proposed.probabilities)
    assert isinstance(real.probabilities.stems, Trimmed)
    with pytest.raises(InputError, match="whose truth is known"):
        objective_value(OBJECTIVES["labels"], real, Store(tmp_path))


def test_the_version_follows_the_row_the_ranges_and_the_objective(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = bound("refining")
    before = study.version()
    assert before == bound("refining").version()
    others = {
        bound("refining", "mini").version(),
        bound("multi-chance").version(),
        Bound(replace(study.study, rungs=(1.0,)), SMOKE, "band").version(),
    }
    monkeypatch.setattr(SeparationScore, "version", 99)
    others.add(study.version())
    monkeypatch.undo()
    monkeypatch.setitem(PARAMETERS, "threshold", replace(PARAMETERS["threshold"], low=0.2))
    others.add(study.version())
    assert len(others | {before}) == 6


def test_groups_name_studies_and_studies_rows() -> None:
    assert all(name in STUDIES for names in GROUPS.values() for name in names)
    for study in STUDIES.values():
        assert registry_stage(study).separator.settings.network == settings.XUMX()
