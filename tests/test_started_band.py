"""The shipped start on songs of the band that it was not trained on: it mends labels, harms none,
and is right about as often as its confidence says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.labels import corrupted_stems
from selfrefine.band import play_songs
from selfrefine.classes import Labels
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.models.model_file import ClassifierFile, load_classifier
from selfrefine.refining.decisions import Verdict, reliability, verdicts
from selfrefine.refining.evidence import UNSEEN, weigh
from selfrefine.refining.probabilities import stem_windows
from selfrefine.refining.starting import shipped_classifier
from selfrefine.settings import SURE, Corruption

CPU = torch.device("cpu")
SONGS = range(5000, 5012)
RATE = 16000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> AudioSet:
    """The tracks of 12 songs of 6 s, on which the start was not trained."""
    folder = tmp_path_factory.mktemp("tracks")
    with AudioSetWriter(folder, RATE) as writer:
        for number, song in zip(SONGS, play_songs("b", 2023, SONGS, 6.0, RATE, 1), strict=True):
            for track in song:
                writer.add(f"{number}", track.name, (track.stem,), track.audio)
    return open_audio_set(folder)


@pytest.fixture(scope="module")
def start() -> ClassifierFile:
    return load_classifier(shipped_classifier(RATE), CPU)


def judged(
    tracks: AudioSet, start: ClassifierFile, noise: Corruption, folder: Path
) -> tuple[Labels, dict[tuple[str, str], Verdict], Labels]:
    """The given labels, the verdicts of the start alone, and the truth."""
    songs = {clip.song for clip in tracks.clips}
    stems, truth = corrupted_stems(tracks, noise, 0, songs, folder)
    rows = [row for row, _ in stem_windows(start.model, stems, start.settings, 4, CPU)]
    given = {(row.song, row.name): row.given for row in rows}
    return given, verdicts(rows, weigh(rows, UNSEEN), SURE), truth


def stands(found: dict[tuple[str, str], Verdict]) -> Labels:
    return {key: each.refined for key, each in found.items()}


def test_swapped_stems_are_mended_and_as_often_right_as_said(
    tracks: AudioSet, start: ClassifierFile, tmp_path: Path
) -> None:
    given, found, truth = judged(tracks, start, Corruption(0.6, 0.12, 0.0), tmp_path)
    assert label_accuracy(stands(found), truth).exact > label_accuracy(given, truth).exact + 0.15
    for group in reliability(found, truth):
        if group.stems < 10:
            continue
        # Three standard errors of a share of so many.
        error = 3 * np.sqrt(group.confidence * (1 - group.confidence) / group.stems) + 0.05
        assert group.right == pytest.approx(group.confidence, abs=error)


def test_right_labels_stay(tracks: AudioSet, start: ClassifierFile, tmp_path: Path) -> None:
    given, found, truth = judged(tracks, start, Corruption(0.0, 0.0, 0.0), tmp_path)
    assert given == truth
    changed = [key for key, label in stands(found).items() if label != given[key]]
    assert len(changed) <= 0.03 * len(given)
