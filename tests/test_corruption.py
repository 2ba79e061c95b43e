"""Label noise moves sound between a song's stems and says truly where it went."""

from pathlib import Path

import numpy as np
import pytest

from selfrefine.classes import CLASSES
from selfrefine.data.audio_set import AudioSet, AudioSetWriter, by_song, open_audio_set
from selfrefine.data.corruption import (
    draw_parts,
    read_truth,
    stem_truth,
    sum_parts,
    write_truth,
)
from selfrefine.settings import Corruption


@pytest.fixture
def tracks(tmp_path: Path) -> AudioSet:
    """A song of eight noise tracks, two a class."""
    rng = np.random.default_rng(1)
    with AudioSetWriter(tmp_path / "tracks", 16000) as writer:
        for name in CLASSES:
            for take in range(2):
                audio = 0.1 * rng.standard_normal((2, 16000)).astype(np.float32)
                writer.add("song", f"{name} {take}", (name,), audio)
    return open_audio_set(tmp_path / "tracks")


@pytest.mark.parametrize("seed", range(5))
def test_corruption_keeps_the_sum_of_a_songs_stems(tracks: AudioSet, seed: int) -> None:
    clips = list(tracks.clips)
    noise = Corruption(swapped_songs=0.7, moved_tracks=0.4, bleeding_stems=0.8)
    parts = draw_parts(clips, noise, np.random.default_rng(seed))
    corrupted = sum(sum_parts(tracks, stem) for stem in parts.values())
    clean = sum(tracks.audio(clip) for clip in clips)
    np.testing.assert_allclose(corrupted, clean, atol=1e-5)


def test_no_noise_leaves_every_stem_as_it_was(tracks: AudioSet) -> None:
    parts = draw_parts(list(tracks.clips), Corruption(0.0, 0.0, 0.0), np.random.default_rng(0))
    truths = [stem_truth(tracks, "song", given, stem) for given, stem in parts.items()]
    assert {truth.given: truth.label(-60.0) for truth in truths} == {n: (n,) for n in CLASSES}


def test_a_swap_of_whole_stems_exchanges_two_true_labels(tracks: AudioSet) -> None:
    parts = draw_parts(list(tracks.clips), Corruption(1.0, 0.0, 0.0), np.random.default_rng(0))
    truth = {g: stem_truth(tracks, "song", g, stem).label(-20.0) for g, stem in parts.items()}
    wrong = {given for given, label in truth.items() if label != (given,)}
    assert len(wrong) == 2
    assert {label for given in wrong for label in truth[given]} == wrong


def test_a_class_whose_tracks_all_moved_has_no_stem(tracks: AudioSet) -> None:
    drums = [clip for clip in tracks.clips if clip.label == ("drums",)]
    parts = draw_parts(drums, Corruption(0.0, 1.0, 0.0), np.random.default_rng(3))
    assert "drums" not in parts


def test_tracks_move_at_the_rate_asked_for(tracks: AudioSet) -> None:
    rng = np.random.default_rng(0)
    noise = Corruption(0.0, 0.3, 0.0)
    moved = [
        part.clip.label[0] != given
        for _ in range(300)
        for given, stem in draw_parts(list(tracks.clips), noise, rng).items()
        for part in stem
    ]
    # 2,400 tracks: the share's standard deviation is .0094.
    assert np.mean(moved) == pytest.approx(0.3, abs=0.03)


def test_bleed_is_below_the_floor_of_a_label_but_measured(tracks: AudioSet) -> None:
    noise = Corruption(0.0, 0.0, 1.0, bleed_db=(-30.0, -30.0))
    parts = draw_parts(list(tracks.clips), noise, np.random.default_rng(0))
    truths = [stem_truth(tracks, "song", given, stem) for given, stem in parts.items()]
    assert all(truth.label(-20.0) == (truth.given,) for truth in truths)
    leaked = [share for truth in truths for share in truth.energy_share if 0 < share < 0.5]
    assert leaked
    assert 10 * np.log10(max(leaked)) == pytest.approx(-30.0, abs=1.5)


def test_the_truth_survives_its_file(tracks: AudioSet, tmp_path: Path) -> None:
    parts = draw_parts(list(tracks.clips), Corruption(1.0, 0.5, 0.0), np.random.default_rng(2))
    truths = [stem_truth(tracks, "song", given, stem) for given, stem in parts.items()]
    write_truth(tmp_path / "truth.csv", truths)
    expected = {(truth.song, truth.given): truth.label(-20.0) for truth in truths}
    assert read_truth(tmp_path / "truth.csv") == expected


def test_clips_that_would_clip_are_stored_scaled(tmp_path: Path) -> None:
    loud = np.array([[0.0, 2.5, -1.25], [0.5, 0.0, 1.0]], dtype=np.float32)
    with AudioSetWriter(tmp_path, 8000) as writer:
        writer.add("song", "vocals", ("vocals",), loud)
    stored = open_audio_set(tmp_path)
    np.testing.assert_allclose(stored.audio(stored.clips[0]), loud, atol=2.5 / 32767)
    assert list(by_song(stored)) == ["song"]
