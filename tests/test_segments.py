"""Segments are found where a stem changes, and only there; they are written down, and laid out to
train on."""

import os
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import segments as benchmark
from selfrefine.app import segment_files
from selfrefine.app.segment_files import (
    label_stretches,
    lay_out_segments,
    read_segments,
    write_segments,
)
from selfrefine.classes import CLASSES
from selfrefine.clips.trimming import TrimmedStem, trim_stems
from selfrefine.clips.truth import Piece
from selfrefine.errors import InputError
from selfrefine.files import header
from selfrefine.files.audio_file import openable
from selfrefine.files.layouts import StemFile, find_songs
from selfrefine.models.classifier import build_classifier
from selfrefine.models.model_file import save_classifier
from selfrefine.progress import Progress
from selfrefine.refining.segments import (
    SHORT_SILENCE,
    Segment,
    best_path,
    find_segments,
    posteriors,
)
from tests.cli_songs import tree
from tests.conftest import RATE
from tests.test_cli_refine import HOSTILE, TINY

WINDOW, HOP = 3.0, 0.75
"""The length of a window, and the time from one window to the next, in s."""

Label = tuple[str, ...]
Timeline = Sequence[tuple[float, Label]]
"""Pairs of a time, in s of the trimmed stem, and the classes that sound until then."""


def seen(timeline: Timeline, sure: float = 0.995) -> tuple[np.ndarray, np.ndarray]:
    """The windows' probabilities `(window, class)` and centres, by a classifier whose output is how
    much of a window a class fills."""
    seconds = timeline[-1][0]
    count = max(1, int((seconds - WINDOW) / HOP) + 1)
    centres = WINDOW / 2 + HOP * np.arange(count)
    windows = np.zeros((count, len(CLASSES)))
    for (before, _), (end, label) in pairwise([(0.0, ()), *timeline]):
        first = np.maximum(centres - WINDOW / 2, before)
        filled = (np.minimum(centres + WINDOW / 2, end) - first).clip(min=0) / min(WINDOW, seconds)
        windows[:, [CLASSES.index(name) for name in label]] += filled[:, None]
    return (1 - sure) + windows * (2 * sure - 1), centres.clip(max=seconds)


def unbroken(seconds: float) -> TrimmedStem:
    return TrimmedStem("song", "vocals", seconds, ((0.0, seconds),))


def found(timeline: Timeline, whole: Label) -> list[tuple[float, float, Label]]:
    segments = find_segments(*seen(timeline), unbroken(timeline[-1][0]), whole)
    return [(one.start, one.end, one.label) for one in segments]


@pytest.mark.parametrize("whole", [("bass",), ("drums",), ("bass", "drums")])
@pytest.mark.parametrize("change", [11.0, 15.0, 17.3])
def test_two_clean_halves_are_two_segments(whole: Label, change: float) -> None:
    (start, first_end, first), (second_start, end, second) = found(
        [(change, ("bass",)), (30.0, ("drums",))], whole
    )
    assert (first, second) == (("bass",), ("drums",))
    assert (start, end) == (0.0, 30.0)
    assert first_end == second_start == pytest.approx(change, abs=0.4)


@pytest.mark.parametrize("length", [5.0, 8.0])
def test_a_guitar_among_the_vocals_is_found_from_when_to_when(length: float) -> None:
    before, within, after = found(
        [(12.2, ("vocals",)), (12.2 + length, ("vocals", "other")), (40.0, ("vocals",))],
        ("vocals",),
    )
    assert [before[2], within[2], after[2]] == [("vocals",), ("vocals", "other"), ("vocals",)]
    assert within[:2] == pytest.approx((12.2, 12.2 + length), abs=0.4)


@pytest.mark.parametrize("seed", range(10))
def test_noise_around_one_label_is_one_segment(seed: int) -> None:
    """Another class is probable in about every second window and in bursts, for a minute."""
    rng = np.random.default_rng(seed)
    windows, centres = seen([(60.0, ("vocals",))])
    bursts = np.repeat(rng.random(-(-len(windows) // 3)), 3)[: len(windows)]
    windows[:, CLASSES.index("other")] = (0.6 * bursts + 0.4 * rng.random(len(windows))).round(2)
    windows[:, CLASSES.index("vocals")] -= 0.5 * rng.random(len(windows))
    (segment,) = find_segments(windows, centres, unbroken(60.0), ("vocals",))
    assert segment.label == ("vocals",)
    assert (segment.start, segment.end) == (0.0, 60.0)
    assert 0.5 < segment.confidence <= 1.0


def test_the_whole_stems_label_set_stands_where_nothing_changes() -> None:
    windows, centres = seen([(30.0, ("vocals",))])
    windows[:, CLASSES.index("bass")] = 0.55
    for whole in (("vocals",), ("vocals", "bass"), ("bass",), ("drums",)):
        (segment,) = find_segments(windows, centres, unbroken(30.0), whole)
        assert segment.label == whole


def test_a_short_stem_is_one_segment_of_the_whole_label() -> None:
    windows, centres = np.array([[0.9, 0.1, 0.8, 0.1]]), np.array([1.2])
    for seconds in (0.05, 1.2, 3.5):
        (segment,) = find_segments(windows, centres, unbroken(seconds), ("vocals",))
        assert segment.label == ("vocals",)
        assert (segment.start, segment.end) == (0.0, seconds)


def test_a_stem_that_was_dropped_is_empty_but_for_what_is_sure() -> None:
    (quiet,) = found([(30.0, ())], ())
    assert quiet == (0.0, 30.0, ())
    segments = found([(20.0, ()), (40.0, ("bass",))], ())
    assert [label for _, _, label in segments] == [(), ("bass",)]


def test_segments_cover_all_sound_and_no_long_silence() -> None:
    places = ((1.0, 9.0), (9.4, 20.0), (32.0, 50.0), (50.0 + SHORT_SILENCE, 60.0))
    stem = TrimmedStem("song", "vocals", 70.0, places)
    seconds = sum(end - start for start, end in places)
    # The bass comes .3 s of sound after the long silence: as near as it is, at the silence.
    windows, centres = seen([(18.9, ("vocals",)), (seconds, ("vocals", "bass"))])
    segments = find_segments(windows, centres, stem, ("vocals",))
    assert [(one.start, one.end, one.label) for one in segments] == [
        (1.0, 20.0, ("vocals",)),
        (32.0, 50.0, ("vocals", "bass")),
        (50.0 + SHORT_SILENCE, 60.0, ("vocals", "bass")),
    ]


def test_posteriors_and_best_path_are_those_of_all_paths_tried() -> None:
    rng = np.random.default_rng(3)
    steps, sets = 6, 3
    first = rng.dirichlet(np.ones(sets))
    change = rng.dirichlet(np.ones(sets), sets)
    evidence = rng.normal(0, 1, (steps, sets))
    paths = np.array(list(product(range(sets), repeat=steps)))
    chances = np.log(first[paths[:, 0]]) + evidence[np.arange(steps), paths].sum(axis=1)
    chances += np.log(change[paths[:, :-1], paths[:, 1:]]).sum(axis=1)
    weights = np.exp(chances) / np.exp(chances).sum()
    expected = np.array([[weights[of_step == s].sum() for s in range(sets)] for of_step in paths.T])
    np.testing.assert_allclose(posteriors(first, change, evidence), expected, atol=1e-12)
    assert best_path(first, change, evidence).tolist() == paths[chances.argmax()].tolist()


def test_segments_survive_their_file_under_any_name(tmp_path: Path) -> None:
    segments = (
        Segment(0.0, 182.25, ("vocals",), 0.987),
        Segment(182.25, 188.5, ("vocals", "other"), 0.5),
        Segment(188.5, 200.125, (), 1.0),
    )
    names = (*HOSTILE, "line\rfeed", '"quoted"', "a,b;c\t")
    rows = {(name, f"{name}/vocals.wav"): segments[: 1 + n % 3] for n, name in enumerate(names)}
    path = tmp_path / "segments.csv"
    write_segments(path, rows)
    assert read_segments(path) == rows
    assert os.listdir(tmp_path) == ["segments.csv"]
    head = b"\xef\xbb\xbfsong,file,start,end,classes,confidence"
    assert path.read_bytes().splitlines()[0] == head


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("song,file,start,end,classes,confidence\r\na,b,0,1,guitar,1\r\n", "line 2: .*'guitar'"),
        ("song,file,start,end,classes,confidence\r\na,b,0,x,bass,1\r\n", "line 2"),
        ("song,file,start,end,classes,confidence\r\na,b,0,1\r\n", "line 2"),
        ("some,thing\r\n1,2\r\n", "no column .song."),
    ],
)
def test_a_table_that_holds_no_segments_is_refused(
    text: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "segments.csv").write_text(text)
    with pytest.raises(InputError, match=expected):
        read_segments(tmp_path / "segments.csv")
    with pytest.raises(InputError, match=r"gone\.csv"):
        read_segments(tmp_path / "gone.csv")


def ramp(folder: Path, name: str, seconds: float = 20.0, rate: int = 8000) -> StemFile:
    """A stem whose samples tell where in the file they are from."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wav"
    audio = np.arange(round(seconds * rate)) % 30000 / 32768
    soundfile.write(openable(path), np.stack([audio, -audio], axis=1), rate, subtype="PCM_16")
    return StemFile(name, (name,), path)


CHANGING = (
    Segment(0.0, 6.0, ("vocals",), 0.9),
    Segment(8.0, 10.0, ("vocals",), 0.9),
    Segment(10.0, 14.0, ("vocals", "other"), 0.8),
    Segment(14.0, 15.5, ("bass",), 0.8),
    Segment(17.0, 20.0, ("vocals",), 0.9),
)


def test_stretches_of_a_stem_that_changes_are_cut_and_others_linked(tmp_path: Path) -> None:
    song = tmp_path / "in" / "Artist - Title"
    vocals, drums = ramp(song, "vocals"), ramp(song, "drums", rate=22050)
    before = tree(tmp_path / "in")
    steady = [Segment(0.0, 9.0, ("bass",), 1.0), Segment(15.0, 20.0, ("bass",), 1.0)]
    short = [*CHANGING[:3], Segment(14.0, 15.4, ("bass",), 0.8), CHANGING[4]]
    said: list[str] = []
    stems = [("Artist - Title", vocals, short), ("Artist - Title", drums, steady)]
    paths = lay_out_segments(stems, tmp_path / "segments", False, said.append)
    linked = tmp_path / "segments" / "bass" / "Artist - Title__drums.wav"
    assert paths["Artist - Title", "drums"] == (linked,)
    assert linked.resolve() == drums.path
    expected = {
        tmp_path / "segments" / "vocals" / "Artist - Title__vocals~1.wav": (0.0, 9.5),
        tmp_path / "segments" / "vocals+other" / "Artist - Title__vocals~2.wav": (10.5, 13.5),
        tmp_path / "segments" / "vocals" / "Artist - Title__vocals~3.wav": (17.0, 20.0),
    }
    assert paths["Artist - Title", "vocals"] == tuple(expected)
    whole, rate = soundfile.read(vocals.path, dtype="int16")
    for path, (start, end) in expected.items():
        cut, own_rate = soundfile.read(path, dtype="int16")
        assert own_rate == rate == 8000
        assert np.abs(cut - whole[round(start * rate) : round(end * rate)]).max() <= 1
    assert any("1 of 2 stems change" in words and "3 stretches" in words for words in said)
    assert any("1 stretches, 0.9 s in all, are shorter than 1 s" in words for words in said)
    assert tree(tmp_path / "in") == before
    assert sorted(os.listdir(tmp_path)) == ["in", "segments"]


def test_a_layout_is_a_folder_of_stems_and_replaces_the_one_before(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if "/" not in name]
    stems = [(name, ramp(tmp_path / "in" / name, "vocals"), CHANGING) for name in names]
    stems += [(name, ramp(tmp_path / "in" / name, "drums"), CHANGING[:1]) for name in names]
    folder = tmp_path / "segments"
    (folder / "bass").mkdir(parents=True)
    (folder / "bass" / "old.wav").write_bytes(b"from before")
    paths = lay_out_segments(stems, folder, True, lambda words: None)
    songs = find_songs(folder, tracks=False)
    files = [file for song in songs for file in song.files]
    assert {file.path for file in files} == {path for those in paths.values() for path in those}
    assert len(files) == len(names) * 5
    for file in files:
        assert "+".join(file.label) == file.path.parent.name
        assert not file.path.is_symlink()
    trimmed = trim_stems(songs, tmp_path / "work", 8000, Progress(note=print))
    assert len(trimmed.kept) == len(files)


def test_names_that_would_be_read_as_the_same_stem_get_another_number(tmp_path: Path) -> None:
    stems = [
        ("A", ramp(tmp_path / "A", "bass"), CHANGING),
        ("A__bass~1", ramp(tmp_path / "A__bass~1", "vocals"), CHANGING[:1]),
    ]
    paths = lay_out_segments(stems, tmp_path / "out", False, lambda words: None)
    assert [path.name for path in paths["A", "bass"]] == [f"A__bass~{n}.wav" for n in (2, 3, 4, 5)]
    assert len(find_songs(tmp_path / "out", tracks=False)) == 5


def test_a_laid_out_folder_can_be_laid_out_again(tmp_path: Path) -> None:
    stems = [("A", ramp(tmp_path / "A", "vocals"), CHANGING)]
    lay_out_segments(stems, tmp_path / "out", False, lambda words: None)
    again = [
        (song.name, file, CHANGING[:1] if song.name.endswith("2") else CHANGING[2:4])
        for song in find_songs(tmp_path / "out", tracks=False)
        for file in song.files
    ]
    lay_out_segments(again, tmp_path / "again", False, lambda words: None)
    assert find_songs(tmp_path / "again", tracks=False)


def test_stretches_without_a_class_are_left_out_and_said(tmp_path: Path) -> None:
    segments = [Segment(0.0, 12.0, (), 0.6), Segment(12.0, 20.0, ("bass",), 0.9)]
    unknown = ramp(tmp_path / "B", "vocals")
    stems = [
        ("A", ramp(tmp_path / "A", "vocals"), segments),
        ("B", unknown, segments[:1]),
        ("C", unknown, []),
    ]
    said: list[str] = []
    paths = lay_out_segments(stems, tmp_path / "out", False, said.append)
    assert [path.name for path in paths["A", "vocals"]] == ["A__vocals~1.wav"]
    for song in "BC":
        assert paths[song, "vocals"] == (tmp_path / "out" / "dropped" / f"{song}__vocals.wav",)
    assert any("1 stretches, 11.5 s in all, hold no class" in words for words in said)


def test_streams_are_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.vstack([np.arange(20 * RATE)] * 2).astype(np.float32) / (20 * RATE)
    monkeypatch.setattr(segment_files, "decode_stream", lambda path, stream: (audio, RATE))
    monkeypatch.setattr(header, "stream_header", lambda path, stream: (RATE, 2, 20 * RATE))
    file = StemFile("vocals", ("vocals",), tmp_path / "Song.stem.mp4", 4)
    paths = lay_out_segments([("Song", file, CHANGING)], tmp_path / "out", False, print)
    assert [path.name for path in paths["Song", "vocals"]] == [
        f"Song__vocals~{n}.wav" for n in (1, 2, 3, 4)
    ]
    cut, rate = soundfile.read(paths["Song", "vocals"][1], dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(cut.T, audio[:, round(10.5 * RATE) : round(13.5 * RATE)], atol=1e-4)


def test_a_full_disk_is_said_before_anything_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stems = [("A", ramp(tmp_path / "A", "vocals"), CHANGING)]
    (tmp_path / "out" / "bass").mkdir(parents=True)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="the stretches of stems"):
        lay_out_segments(stems, tmp_path / "out", False, print)
    assert os.listdir(tmp_path / "out") == ["bass"]


def test_stretches_leave_a_margin_at_a_change_and_none_at_a_silence() -> None:
    stretches = [(one.start, one.end, one.label) for one in label_stretches(CHANGING)]
    assert stretches == [
        (0.0, 9.5, ("vocals",)),
        (10.5, 13.5, ("vocals", "other")),
        (14.5, 15.5, ("bass",)),
        (17.0, 20.0, ("vocals",)),
    ]


def test_the_benchmark_compares_segments_with_the_truth_where_there_is_sound() -> None:
    pieces = [
        Piece("song", "vocals", start, end, label)
        for start, end, label in (
            (0.0, 10.0, ("vocals",)),
            (10.0, 14.0, ("vocals", "other")),
            (14.0, 15.0, ()),
            (15.0, 20.0, ("vocals",)),
        )
    ]
    trimmed = TrimmedStem("song", "vocals", 20.0, ((0.0, 13.0), (13.5, 20.0)))
    segments = [
        Segment(0.0, 11.0, ("vocals",), 0.9),
        Segment(11.0, 13.0, ("vocals", "other"), 0.9),
        Segment(13.5, 20.0, ("vocals",), 0.9),
    ]
    line = benchmark.timeline(benchmark.Stem(trimmed, pieces), ("vocals",), segments)
    assert len(line.true) == len(line.found) == round(18.5 / benchmark.GRID_SECONDS)
    right = np.mean([one == other for one, other in zip(line.true, line.found, strict=True)])
    assert right == pytest.approx(17 / 18.5, abs=0.002)
    (true,), (found,) = benchmark.departures(line.true), benchmark.departures(line.found)
    assert true.label == found.label == ("vocals", "other")
    assert benchmark.overlap(true, found) == pytest.approx(2 / 3.5, abs=0.01)


@pytest.mark.slow
def test_the_benchmark_ends_in_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": build_classifier(TINY.classifier).state_dict()}, tmp_path / "model.pt")
    path = tmp_path / "classifier.pt"
    save_classifier(path, tmp_path / "model.pt", TINY.classifier, 0.5)
    words = ["--classifier", str(path), "--songs", "1", "--seconds", "8", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["segments", *words])
    benchmark.main()
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(tables) == 9
