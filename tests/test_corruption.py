"""Label noise moves sound between a song's stems, and its truth says where the sound went."""

import csv
import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.stages.band_songs import BandSongs
from experiments.stages.corrupted import Corrupted
from experiments.stages.stage import identity as identity_of
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, by_song, open_audio_set
from selfrefine.clips.corruption import (
    FADE_SECONDS,
    Gate,
    StemPart,
    draw_parts,
    stem_pieces,
    stem_truth,
    sum_parts,
)
from selfrefine.clips.truth import (
    Piece,
    StemTruth,
    read_pieces,
    read_truth,
    write_pieces,
    write_truth,
)
from selfrefine.errors import InputError
from selfrefine.settings import Corruption
from tests.cli_songs import ask, assert_refused, tree, write_songs

STRETCHES = Corruption(0.0, 0.0, 0.0, misfiled_stretches=0.7, stretch_seconds=(0.1, 0.4))


@pytest.fixture
def tracks(tmp_path: Path) -> AudioSet:
    """A song of eight tracks of noise, two per class."""
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


def test_what_was_drawn_before_stretches_were_is_still_drawn(tracks: AudioSet) -> None:
    """Audio, truths and the next draw are the same as in the code that had no stretches yet."""
    noise = Corruption(swapped_songs=0.7, moved_tracks=0.4, bleeding_stems=0.8)
    rng = np.random.default_rng(7)
    digest = hashlib.sha256()
    for _ in range(20):
        for given, parts in draw_parts(list(tracks.clips), noise, rng).items():
            rows = [(part.clip.name, f"{part.gain:.12g}") for part in parts]
            truth = stem_truth(tracks, "song", given, parts)
            shares = [f"{share:.9g}" for share in truth.energy_share]
            names = [list(track[:2]) for track in truth.tracks]
            digest.update(json.dumps([given, rows, shares, names]).encode())
            digest.update(np.rint(sum_parts(tracks, parts) * 32767).astype("<i2").tobytes())
    assert digest.hexdigest()[:16] == "5adcbf18333f74ee"
    assert rng.integers(1 << 40) == 749291545523


def test_stages_with_corruptions_of_before_keep_their_identities() -> None:
    songs = BandSongs("b", 0, 4, 10.0, 16000, 1)
    for noise, identity in (
        (Corruption(), "7bf6b2bf2c93"),
        (Corruption(0.96, 0.02, 0.0), "65d3e6489607"),
        (Corruption(0.0, 0.4, 0.0), "aa0787da5ac0"),
    ):
        assert identity_of(Corrupted(songs, noise)) == identity
        other = Corrupted(songs, replace(noise, misfiled_stretches=0.1))
        assert identity_of(other) != identity


@pytest.mark.parametrize("seed", range(5))
def test_stretches_keep_the_sum_of_a_songs_stems(tracks: AudioSet, seed: int) -> None:
    clips = list(tracks.clips)
    noise = replace(STRETCHES, swapped_songs=0.7, moved_tracks=0.4, bleeding_stems=0.8)
    parts = draw_parts(clips, noise, np.random.default_rng(seed))
    assert any(part.gates for stem in parts.values() for part in stem)
    corrupted = sum(sum_parts(tracks, stem) for stem in parts.values())
    clean = sum(tracks.audio(clip) for clip in clips)
    np.testing.assert_allclose(corrupted, clean, atol=1e-5)


def test_a_stretch_is_gone_from_its_stem_and_heard_in_another(tracks: AudioSet) -> None:
    clip = tracks.clips[0]
    stretch = Gate(0.5, 0.25, True)
    start, stop = stretch.bounds(clip.length, tracks.sample_rate)
    assert (start, stop) == (6000, 10000)
    inside = sum_parts(tracks, [StemPart(clip, 1.0, (stretch,))])
    outside = sum_parts(tracks, [StemPart(clip, 1.0, (replace(stretch, inside=False),))])
    audio = tracks.audio(clip)
    np.testing.assert_allclose(inside + outside, audio, atol=1e-7)
    half = round(FADE_SECONDS * tracks.sample_rate / 2)
    assert not outside[:, start + half : stop - half].any()
    assert not inside[:, : start - half].any()
    assert not inside[:, stop + half :].any()
    # No click: what a gate lets through never jumps.
    let = inside[0][np.abs(audio[0]) > 0.01] / audio[0][np.abs(audio[0]) > 0.01]
    assert np.abs(np.diff(let)).max() < 0.1


def test_a_stretch_takes_at_most_half_of_a_clip() -> None:
    assert Gate(0.0, 60.0, True).bounds(1000, 100) == (0, 500)
    assert Gate(1.0, 60.0, True).bounds(1000, 100) == (500, 1000)


def test_stretches_lie_at_the_same_seconds_at_every_sample_rate() -> None:
    for place in (0.0, 0.37, 1.0):
        gate = Gate(place, 3.3, True)
        seconds = [np.array(gate.bounds(10 * rate, rate)) / rate for rate in (16000, 44100)]
        np.testing.assert_allclose(seconds[0], seconds[1], atol=1e-4)


def test_a_silent_stem_is_truly_of_no_class(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth.csv", [StemTruth("song", "bass", (), (0.0,) * 4)])
    assert read_truth(tmp_path / "truth.csv") == {("song", "bass"): ()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("song,given,true_label\nsong,bass,guitar\n", "line 2: 'guitar' is no label set"),
        ("song,given,true_label\nsong,bass\n", "line 2: not as many cells"),
        ("song,given\nsong,bass\n", "no column 'true_label'"),
        ("song,given,true_label\n", "no line below its heading"),
        ("", "no column 'song'"),
    ],
)
def test_a_table_that_is_no_truth_is_refused_by_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_truth(tmp_path / "truth.csv")
    with pytest.raises(InputError, match=r"truth\.csv"):
        read_pieces(tmp_path / "truth.csv")


def test_the_truth_of_a_stretch_says_from_when_to_when(tracks: AudioSet, tmp_path: Path) -> None:
    vocals, drums = tracks.clips[0], tracks.clips[4]
    gate = Gate(0.5, 0.25, True)
    rest = replace(gate, inside=False)
    held = [StemPart(vocals, 1.0), StemPart(drums, 1.0, (gate,))]
    lost = [StemPart(drums, 1.0, (rest,))]
    pieces = [
        *stem_pieces(tracks, "song", "vocals", held),
        *stem_pieces(tracks, "song", "drums", lost),
    ]
    assert pieces == [
        Piece("song", "vocals", 0.0, 0.375, ("vocals",)),
        Piece("song", "vocals", 0.375, 0.625, ("vocals", "drums")),
        Piece("song", "vocals", 0.625, 1.0, ("vocals",)),
        Piece("song", "drums", 0.0, 0.375, ("drums",)),
        Piece("song", "drums", 0.375, 0.625, ()),
        Piece("song", "drums", 0.625, 1.0, ("drums",)),
    ]
    # The whole's truth goes by the energy of the whole.
    truth = stem_truth(tracks, "song", "vocals", held)
    assert truth.energy_share[CLASSES.index("drums")] == pytest.approx(0.2, abs=0.01)
    write_pieces(tmp_path / "stretches.csv", pieces)
    read = read_pieces(tmp_path / "stretches.csv")
    assert read == {("song", "vocals"): tuple(pieces[:3]), ("song", "drums"): tuple(pieces[3:])}


@pytest.mark.parametrize("seed", range(5))
def test_pieces_tile_every_stem_and_neighbours_differ(tracks: AudioSet, seed: int) -> None:
    parts_of = draw_parts(list(tracks.clips), STRETCHES, np.random.default_rng(seed))
    for given, parts in parts_of.items():
        pieces = stem_pieces(tracks, "song", given, parts)
        assert pieces[0].start == 0.0
        assert pieces[-1].end == 1.0
        for first, second in pairwise(pieces):
            assert first.end == second.start
            assert first.label != second.label


def test_stretches_move_at_the_rate_asked_for(tracks: AudioSet) -> None:
    rng = np.random.default_rng(0)
    noise = replace(STRETCHES, misfiled_stretches=0.3)
    moved = [
        any(not gate.inside for part in stem for gate in part.gates if part.clip.label == (given,))
        for _ in range(300)
        for given, stem in draw_parts(list(tracks.clips), noise, rng).items()
    ]
    # 1,200 stems: the share's standard deviation is .013.
    assert np.mean(moved) == pytest.approx(0.3, abs=0.04)


def test_the_command_moves_stretches_and_tells_their_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 3)
    before = tree(tmp_path / "in")
    words = ("corrupt", tmp_path / "in", "--swap-rate", 0, "--rate", 0, "--bleed-rate", 0)
    answer = ask(capsys, *words, "--stretch-rate", 1, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "for some seconds" in answer.out
    assert tree(tmp_path / "in") == before
    with (tmp_path / "out" / "stretches.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["song", "given", "start", "end", "true_label"]
    for song in range(3):
        folder = f"Artist {song} - Title"
        for name in CLASSES:
            of_stem = [row for row in rows if (row["song"], row["given"]) == (folder, name)]
            ends = [float(row["end"]) for row in of_stem]
            assert [0.0, *ends[:-1]] == [float(row["start"]) for row in of_stem]
            assert ends[-1] == soundfile.info(tmp_path / "out" / folder / f"{name}.wav").duration
        sums = [
            sum(soundfile.read(path)[0] for path in (tmp_path / root / folder).glob("*.wav"))
            for root in ("in", "out")
        ]
        np.testing.assert_allclose(sums[0], sums[1], atol=4e-4)
    # Without the option every stem is one piece.
    assert ask(capsys, *words, "--out", tmp_path / "clean").code == 0
    pieces = read_pieces(tmp_path / "clean" / "stretches.csv")
    assert {key: [(p.start, p.end, p.label) for p in of] for key, of in pieces.items()} == {
        (f"Artist {song} - Title", name): [(0.0, 4.0, (name,))]
        for song in range(3)
        for name in CLASSES
    }


@pytest.mark.parametrize("rate", ["1.5", "-0.1", "nan"])
def test_a_rate_that_is_no_chance_is_refused(
    rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    words = ("corrupt", tmp_path / "in", "--out", tmp_path / "out")
    assert_refused(ask(capsys, *words, f"--stretch-rate={rate}"), "--stretch-rate")
    assert not (tmp_path / "out").exists()
