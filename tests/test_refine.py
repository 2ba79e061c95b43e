"""Judging stems: windows, averages, label sets, and the files between stages."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, with_labels
from selfrefine.errors import InputError
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.models.classifier import build_classifier, magnitudes
from selfrefine.progress import Progress
from selfrefine.refining.labels import (
    count_labels,
    label_set,
    lost_classes,
    thresholded_labels,
    training_stems,
)
from selfrefine.refining.loop import refining_loop
from selfrefine.refining.probabilities import (
    StemProbability,
    judge_stems,
    read_probabilities,
    read_windows,
    window_centres,
    window_probabilities,
)
from selfrefine.settings import ClassifierSettings, ConvNeXt

SETTINGS = ClassifierSettings(
    network=ConvNeXt((1, 1, 1, 1), (8, 16, 24, 32), 3, None, True, True, True),
    sample_rate=16000,
    segment=16384,
    fft=1024,
    hop=256,
)


def model() -> torch.nn.Module:
    torch.manual_seed(3)
    return build_classifier(SETTINGS).eval()


def test_slices_of_one_transform_equal_the_transform_of_each_window() -> None:
    audio = torch.randn(2, 70000, generator=torch.Generator().manual_seed(0))
    network = model()
    sliced = window_probabilities(network, audio, SETTINGS, 4)
    hop = SETTINGS.segment // 4
    starts = range(0, audio.shape[1] - SETTINGS.segment + 1, hop)
    with torch.no_grad():
        one_by_one = torch.cat(
            [
                torch.sigmoid(
                    network(magnitudes(audio[None, :, s : s + SETTINGS.segment], SETTINGS))
                )
                for s in starts
            ]
        )
    assert sliced.shape == (len(starts), 4)
    np.testing.assert_allclose(sliced, one_by_one, atol=1e-5)


def test_the_papers_window_and_hop_are_whole_numbers_of_frames() -> None:
    paper = ClassifierSettings()
    assert paper.segment % (4 * paper.hop) == 0
    assert paper.segment / paper.sample_rate == pytest.approx(2.97, abs=0.005)


def test_a_stem_shorter_than_a_window_is_repeated() -> None:
    audio = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    repeated = audio.repeat(1, 4)[:, : SETTINGS.segment]
    network = model()
    short = window_probabilities(network, audio, SETTINGS, 4)
    whole = window_probabilities(network, repeated, SETTINGS, 4)
    assert torch.equal(short, whole)


def test_a_label_set_holds_the_classes_at_or_over_their_thresholds() -> None:
    probability = (0.9, 0.89, 0.95, 0.0)
    assert label_set(probability, (0.9, 0.9, 0.9, 0.9)) == ("vocals", "drums")
    assert label_set(probability, (0.91, 0.5, 0.96, 0.1)) == ("bass",)
    assert label_set(probability, (0.99, 0.99, 0.99, 0.99)) == ()


def test_where_no_class_passes_the_most_probable_one_can_be_taken() -> None:
    probability = (0.9, 0.89, 0.95, 0.0)
    assert label_set(probability, (0.99, 0.99, 0.99, 0.99), most_probable=True) == ("drums",)
    assert label_set(probability, (0.9, 0.9, 0.9, 0.9), most_probable=True) == ("vocals", "drums")


def test_a_judgement_survives_its_files(tone_stems: AudioSet, tmp_path: Path) -> None:
    counts: list[tuple[float, float]] = []
    progress = Progress(count=lambda done, total: counts.append((done, total)))
    device = torch.device("cpu")
    rows = judge_stems(model(), tone_stems, SETTINGS, 2, tmp_path, device, progress)
    total = len(tone_stems.clips)
    assert counts == [(done, total) for done in range(1, total + 1)]
    read = read_probabilities(tmp_path / "probabilities.csv")
    assert [(row.song, row.name, row.given) for row in read] == [
        (clip.song, clip.name, clip.label) for clip in tone_stems.clips
    ]
    windows = read_windows(tmp_path)
    for ours, theirs, of_stem in zip(read, rows, windows, strict=True):
        np.testing.assert_allclose(ours.probability, theirs.probability, atol=1e-6)
        # Windows are stored in half precision.
        np.testing.assert_allclose(of_stem.mean(axis=0), theirs.probability, atol=1e-3)
        centres = window_centres(len(of_stem), SETTINGS, 2)
        assert np.diff(centres) == pytest.approx(SETTINGS.segment / 2 / SETTINGS.sample_rate)
        assert centres[-1] + SETTINGS.segment / SETTINGS.sample_rate / 2 <= ours.seconds
    assert not list(tmp_path.glob("*.partial"))


def test_each_class_has_its_own_threshold() -> None:
    rows = [StemProbability("song", name, (name,), 1.0, (0.6, 0.6, 0.2, 0.1)) for name in CLASSES]
    labels = thresholded_labels(rows, (0.5, 0.7, 0.1, 0.5), False)
    assert labels == {("song", name): ("vocals", "drums") for name in CLASSES}
    dropped = thresholded_labels(rows, (0.9,) * 4, False)
    assert set(dropped.values()) == {()}
    assert set(thresholded_labels(rows, (0.9,) * 4, True).values()) == {("vocals",)}


def test_only_single_labelled_stems_are_trained_on_and_lost_classes_named(
    tone_stems: AudioSet,
) -> None:
    labels = {(clip.song, clip.name): clip.label for clip in tone_stems.clips}
    assert lost_classes(tone_stems, training_stems(tone_stems, labels)) == ()
    for song, name in labels:
        if name in ("drums", "other"):
            labels[song, name] = ("bass", name)
    labels["song0", "vocals"] = ()
    training = training_stems(tone_stems, labels)
    assert {clip.label for clip in training.clips} == {("vocals",), ("bass",)}
    assert "song0/vocals" not in {f"{clip.song}/{clip.name}" for clip in training.clips}
    assert lost_classes(tone_stems, training) == ("drums", "other")


def train_words(labels: str, number: int) -> str:
    return f"psi{number}({labels})"


def last_words(judged: tuple[str, ...]) -> str:
    return f"labels[{judged[-1]}]"


def test_each_classifier_learns_from_the_labels_of_the_one_before() -> None:
    found = list(refining_loop("given", train_words, lambda psi: f"by {psi}", last_words, 2))
    assert [(number, psi) for number, psi, _, _ in found] == [
        (1, "psi1(given)"),
        (2, "psi2(labels[by psi1(given)])"),
    ]
    assert found[-1][2] == ("by psi1(given)", "by psi2(labels[by psi1(given)])")
    assert found[-1][3] == "labels[by psi2(labels[by psi1(given)])]"


def test_a_start_judges_before_the_first_training_and_its_judgement_stays() -> None:
    found = list(
        refining_loop(
            "given", train_words, lambda psi: psi, lambda judged: "+".join(judged), 2, "start"
        )
    )
    assert [(number, labels) for number, _, _, labels in found] == [
        (0, "start"),
        (1, "start+psi1(start)"),
        (2, "start+psi1(start)+psi2(start+psi1(start))"),
    ]


def test_a_training_that_gives_no_classifier_ends_the_loop() -> None:
    def train(labels: str, number: int) -> str | None:
        return train_words(labels, number) if number < 2 else None

    found = list(refining_loop("given", train, lambda psi: psi, last_words, 5))
    assert [number for number, _, _, _ in found] == [1]
    none = refining_loop("given", lambda labels, number: None, lambda psi: psi, last_words, 5)
    assert list(none) == []


def test_a_table_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv"):
        read_probabilities(tmp_path / "other.csv")


def test_dropped_stems_leave_the_set_and_are_counted(tone_stems: AudioSet) -> None:
    labels = {(clip.song, clip.name): clip.label for clip in tone_stems.clips}
    labels["song0", "bass"] = ()
    labels["song1", "bass"] = ("bass", "drums")
    relabelled = with_labels(tone_stems, labels)
    assert len(relabelled.clips) == len(tone_stems.clips) - 1
    assert count_labels(labels) == {"single": 10, "multi": 1, "dropped": 1}


def test_a_clip_without_a_label_is_refused(tone_stems: AudioSet) -> None:
    with pytest.raises(InputError, match="song0/vocals"):
        with_labels(tone_stems, {})


def test_label_accuracy_counts_what_it_says() -> None:
    truth = {("s", name): (name,) for name in CLASSES}
    labels = dict(truth)
    labels["s", "bass"] = ("bass", "drums")
    labels["s", "other"] = ()
    accuracy = label_accuracy(labels, truth)
    assert (accuracy.exact, accuracy.kept) == (0.5, 0.75)
    assert accuracy.precision == pytest.approx(3 / 4)
    assert accuracy.recall == pytest.approx(3 / 4)
    assert accuracy.f1 == pytest.approx(3 / 4)
