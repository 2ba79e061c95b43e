"""The benchmark of labels makes the label noise of `selfrefine corrupt`, and loses no line."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from benchmarks.labels import (
    NOISES,
    DrawLine,
    chosen_songs,
    corrupted_stems,
    label_summary,
    read_lines,
    track_set,
    write_lines,
)
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import by_song
from selfrefine.clips.truth import read_truth
from tests.cli_songs import ask
from tests.conftest import CLASS_TONES, RATE, tone

LINE = DrawLine("swapped", 5, 0, 20, 0.5, "0.600 0.700", 0.7, 0.3, 0.4, 30.0, "8/8 2/1 0/0 4/2 6/3")


def write_tracks(root: Path) -> None:
    for song in range(8):
        folder = root / f"song {song}" / "tracks"
        folder.mkdir(parents=True)
        for name in CLASSES:
            for track in range(2):
                audio = tone(CLASS_TONES[name] * (1 + 0.1 * track + 0.01 * song), 1.0)
                soundfile.write(folder / f"{name}__{track}.wav", audio.T, RATE, subtype="PCM_16")


@pytest.mark.parametrize("seed", [0, 3])
def test_songs_are_filed_as_the_command_files_them(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tracks(tmp_path / "in")
    noise = ("--swap-rate", 0.6, "--rate", 0.12, "--bleed-rate", 0, "--seed", seed)
    assert ask(capsys, "corrupt", tmp_path / "in", "--out", tmp_path / "noisy", *noise).code == 0
    truth = read_truth(tmp_path / "noisy" / "truth.csv")
    assert any(label != (given,) for (_, given), label in truth.items())
    tracks = track_set(tmp_path / "in", tmp_path / "tracks", RATE)
    songs = set(by_song(tracks))
    stems, found = corrupted_stems(tracks, NOISES["swapped"], seed, songs, tmp_path / "all")
    assert found == truth
    assert {(clip.song, clip.name) for clip in stems.clips} == set(truth)
    some = chosen_songs(tracks, 3, 1)
    assert len(some) == 3
    _, of_some = corrupted_stems(tracks, NOISES["swapped"], seed, some, tmp_path / "some")
    assert of_some == {key: label for key, label in truth.items() if key[0] in some}


def test_lines_survive_the_file_and_medians_and_worst_are_told(tmp_path: Path) -> None:
    lines = [LINE, replace(LINE, draw=1, given=0.6, stands=0.55), replace(LINE, draw=2, stands=0.9)]
    write_lines(tmp_path / "labels.csv", lines)
    assert read_lines(tmp_path / "labels.csv") == lines
    assert read_lines(tmp_path / "none.csv") == []
    text = label_summary(lines)
    assert "| swapped | 5 | 3 | 0.500 | 0.700 | -0.050 | 0.300 | 30 |" in text
    assert "| 95% or more | 24 | 1.00 |" in text
    assert "| 60% or more | 12 | 0.50 |" in text
