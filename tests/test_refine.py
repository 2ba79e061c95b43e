"""Refining inference: windows, averages, label sets, and the files between stages."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, with_labels
from selfrefine.errors import InputError
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.models.classifier import build_classifier, magnitudes
from selfrefine.refining.probabilities import (
    count_labels,
    label_set,
    read_probabilities,
    stem_probabilities,
    window_probabilities,
    write_probabilities,
)
from selfrefine.settings import ClassifierSettings, ConvNeXt, Refining

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


def test_probabilities_survive_their_file(tone_stems: AudioSet, tmp_path: Path) -> None:
    rows = list(stem_probabilities(model(), tone_stems, SETTINGS, Refining(), torch.device("cpu")))
    write_probabilities(tmp_path / "probabilities.csv", rows)
    read = read_probabilities(tmp_path / "probabilities.csv")
    assert [(row.song, row.name, row.given) for row in read] == [
        (clip.song, clip.name, clip.label) for clip in tone_stems.clips
    ]
    for ours, theirs in zip(read, rows, strict=True):
        np.testing.assert_allclose(ours.probability, theirs.probability, atol=1e-6)


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
