"""Recognition metrics agree with scikit-learn, and the file of outputs keeps them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from experiments.stages.recognition_outputs import (
    MULTI,
    SINGLE,
    Output,
    read_outputs,
    write_outputs,
)
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.metrics.recognition import (
    best_thresholds,
    curves,
    recognition,
    unsure_share,
)
from selfrefine.models.classifier import build_classifier
from selfrefine.refining.mixture_outputs import mixture_outputs
from selfrefine.scales import SMOKE


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """The truth and outputs of 300 items, which agree better than by chance."""
    rng = np.random.default_rng(0)
    truth = rng.random((300, 4)) < 0.4
    outputs = np.clip(rng.normal(np.where(truth, 0.7, 0.3), 0.25), 0, 1)
    return truth, outputs


def test_the_metrics_are_scikit_learns(drawn) -> None:
    truth, outputs = drawn
    thresholds = np.array([0.9, 0.5, 0.2, 0.6])
    ours = recognition(truth, outputs, thresholds)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, outputs >= thresholds)
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert getattr(ours, name) == pytest.approx(theirs)
    for c in range(4):
        theirs = accuracy_score(truth[:, c], outputs[:, c] >= thresholds[c])
        assert ours.accuracy[c] == pytest.approx(theirs)


def test_a_class_never_found_scores_nothing_rather_than_nan() -> None:
    truth = np.zeros((5, 4), dtype=bool)
    found = recognition(truth, np.zeros((5, 4)), np.full(4, 0.9))
    assert found.accuracy == pytest.approx(np.ones(4))
    assert found.f1 == pytest.approx(np.zeros(4))


def test_weights_count_an_item_as_often_as_it_was_drawn(drawn) -> None:
    truth, outputs = drawn
    picks = np.random.default_rng(1).integers(0, len(truth), (3, len(truth)))
    weights = np.stack([np.bincount(pick, minlength=len(truth)) for pick in picks])
    thresholds = np.full(4, 0.5)
    at_once = recognition(truth, outputs, thresholds, weights)
    for number, pick in enumerate(picks):
        alone = recognition(truth[pick], outputs[pick], thresholds)
        assert at_once.f1[number] == pytest.approx(alone.f1)
        assert at_once.accuracy[number] == pytest.approx(alone.accuracy)


def test_recall_falls_with_the_threshold(drawn) -> None:
    points = curves(*drawn, np.linspace(0, 1, 21))
    assert points.recall[0] == pytest.approx(np.ones(4))
    assert (np.diff(points.recall, axis=0) <= 0).all()


def test_the_chosen_thresholds_have_the_highest_f1(drawn) -> None:
    truth, outputs = drawn
    chosen = best_thresholds([(truth, outputs)])
    best = recognition(truth, outputs, chosen).f1
    for threshold in np.arange(1, 100) / 100:
        assert (recognition(truth, outputs, np.full(4, threshold)).f1 <= best + 1e-12).all()


def test_of_equally_good_thresholds_the_middle_one_is_chosen() -> None:
    truth = np.array([[True] * 4, [False] * 4])
    outputs = np.array([[0.999] * 4, [0.001] * 4])
    assert best_thresholds([(truth, outputs)]) == pytest.approx(np.full(4, 0.5))


def test_the_unsure_share_counts_outputs_from_a_tenth_to_nine_tenths() -> None:
    assert unsure_share(np.array([[0.05, 0.1, 0.5, 0.95]])) == 0.5


def test_outputs_survive_their_file(tmp_path: Path, drawn) -> None:
    truth, outputs = drawn
    rows = [
        Output(SINGLE if i < 100 else MULTI, str(i), tuple(truth[i]), tuple(outputs[i]))
        for i in range(len(truth))
    ]
    write_outputs(tmp_path, rows)
    found = read_outputs(tmp_path)
    assert (np.vstack([found[SINGLE][0], found[MULTI][0]]) == truth).all()
    assert np.vstack([found[SINGLE][1], found[MULTI][1]]) == pytest.approx(outputs, abs=1e-5)
    with pytest.raises(InputError, match="outputs"):
        read_outputs(tmp_path / "elsewhere")


def test_every_classifier_is_tested_on_the_same_mixtures(tone_stems: AudioSet) -> None:
    settings = SMOKE.classifier

    def outputs(weights: int, seed: int):
        torch.manual_seed(weights)
        model = build_classifier(settings).eval()
        return list(mixture_outputs(model, tone_stems, settings, 20, seed, torch.device("cpu")))

    first, second, other = outputs(0, 0), outputs(1, 0), outputs(0, 1)
    assert len(first) == 20
    assert [truth for truth, _ in first] == [truth for truth, _ in second]
    assert [truth for truth, _ in first] != [truth for truth, _ in other]
    assert all(any(truth) for truth, _ in first)
    held = np.array([truth for truth, _ in first]).sum(axis=1)
    assert held.max() > 1
    assert outputs(0, 0) == first
    assert all(len(values) == len(CLASSES) for _, values in first)
