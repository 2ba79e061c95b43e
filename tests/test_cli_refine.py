"""`selfrefine refine` decides every stem, leaves its input as it is, and copes with hostile
folders."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
import torch

from selfrefine import scales
from selfrefine.classes import CLASSES
from selfrefine.models.classifier import build_classifier
from selfrefine.models.model_file import save_classifier
from tests.audited_songs import HOSTILE, PageParts, assert_only_its_script_runs
from tests.cli_songs import (
    ask,
    assert_refused,
    limit_file_size,
    stem,
    tree,
    write_song,
    write_songs,
)
from tests.conftest import RATE, tone

TINY = replace(
    scales.SMOKE,
    name="tiny",
    classifier=replace(scales.SMOKE.classifier, segment=16384, steps=100, learning_rate=4e-3),
    threshold=0.5,
)


@pytest.fixture(autouse=True)
def tiny_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scales.SCALES, "tiny", TINY)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained classifier: its findings mean nothing, but no test waits for a training."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    weights = {"model": build_classifier(TINY.classifier).state_dict()}
    torch.save(weights, folder / "model.pt")
    save_classifier(folder / "classifier.pt", folder / "model.pt", TINY.classifier, 0.5)
    return folder / "classifier.pt"


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "labels.csv").open(
        newline="", encoding="utf-8-sig", errors="surrogateescape"
    ) as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def write_truth(path: Path, rows: list[tuple[str, str, str]]) -> None:
    lines = ["song,given,true_label", *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def test_refining_mends_swapped_labels_and_touches_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    write_songs(root, 6)
    swapped = root / "Artist 0 - Title"
    (swapped / "drums.wav").rename(swapped / "aside")
    (swapped / "bass.wav").rename(swapped / "drums.wav")
    (swapped / "aside").rename(swapped / "bass.wav")
    names = {"bass": "drums", "drums": "bass"}
    truth = [
        (f"Artist {song} - Title", name, names.get(name, name) if song == 0 else name)
        for song in range(6)
        for name in CLASSES
    ]
    write_truth(tmp_path / "truth.csv", truth)
    before = tree(root)
    words = ("refine", root, "--out", out, "--profile", "tiny", "--start", "none")
    words = (*words, "--truth", tmp_path / "truth.csv")
    answer = ask(capsys, *words)
    assert answer.code == 0, answer.err
    rows = rows_of(out)
    assert len(rows) == 24
    assert rows["Artist 0 - Title/drums.wav"]["refined"] == "bass"
    assert rows["Artist 0 - Title/drums.wav"]["decision"] == "relabel"
    accuracy = {
        line.split()[0]: float(line.split()[-5])
        for line in answer.out.splitlines()
        if line.strip().startswith(("given  ", "iteration"))
    }
    assert accuracy["given"] == pytest.approx(22 / 24, abs=0.001)
    assert accuracy["iteration"] > accuracy["given"]
    assert tree(root) == before
    link = out / "stems" / "bass" / "Artist 0 - Title__drums.wav"
    assert link.resolve() == swapped / "drums.wav"

    # An edit by hand is not overwritten; a resumed run computes nothing anew.
    model = (out / "work" / "iteration-1" / "model.pt").stat().st_mtime_ns
    labels = (out / "labels.csv").read_text()
    assert ask(capsys, *words, "--resume").code == 0
    assert (out / "work" / "iteration-1" / "model.pt").stat().st_mtime_ns == model
    assert (out / "labels.csv").read_text() == labels
    assert_refused(ask(capsys, *words, "--resume", "--threshold", 0.6), "other threshold")
    (out / "labels.csv").write_text(labels.replace("relabel", "keep"))
    assert_refused(ask(capsys, *words, "--resume"), "was edited")


def test_a_given_classifier_decides_without_training_and_stems_can_be_copied(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2)
    words = ("refine", tmp_path / "in", "--classifier", classifier, "--copy", "--out")
    for out in ("one", "two"):
        assert ask(capsys, *words, tmp_path / out).code == 0
    assert (tmp_path / "one/labels.csv").read_text() == (tmp_path / "two/labels.csv").read_text()
    copies = [path for path in (tmp_path / "one" / "stems").rglob("*") if path.is_file()]
    assert len(copies) == 8
    assert not any(path.is_symlink() for path in copies)
    assert not list((tmp_path / "one").rglob("model.pt"))


def test_stems_without_a_passing_class_are_dropped_or_take_the_most_probable(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2)
    words = ("refine", tmp_path / "in", "--classifier", classifier, "--threshold", 1.0, "--out")
    out = tmp_path / "dropped"
    answer = ask(capsys, *words, out, "--drop")
    assert answer.code == 0, answer.err
    assert {row["decision"] for row in rows_of(out).values()} == {"drop"}
    assert "most probable" not in answer.out
    assert "the stem is dropped" in (out / "audit.html").read_text()
    for option in ((), ("--most-probable",)):
        out = tmp_path / f"kept{len(option)}"
        answer = ask(capsys, *words, out, *option)
        assert answer.code == 0, answer.err
        assert "8 of them by the most probable class" in answer.out
        for row in rows_of(out).values():
            assert row["refined"] == max(CLASSES, key=lambda name: float(row[name]))
            assert "no class passes" in row["reason"]
        counted = "of them by the most probable class: none passes the threshold</td><td>8</td>"
        assert counted in (out / "audit.html").read_text()
    refused = ask(capsys, *words, out, "--resume", "--drop")
    assert_refused(refused, "other rule where no class passes")
    assert ask(capsys, *words, out, "--resume").code == 0


def test_a_stem_with_a_passing_class_is_not_counted_as_most_probable(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2)
    words = ("refine", tmp_path / "in", "--classifier", classifier, "--threshold", 1e-6)
    answer = ask(capsys, *words, "--most-probable", "--out", tmp_path / "out")
    assert "most probable" not in answer.out
    assert {row["reason"] for row in rows_of(tmp_path / "out").values()} == {""}
    with pytest.raises(SystemExit):
        ask(capsys, *words, "--most-probable", "--drop", "--out", tmp_path / "other")


def break_files(song: Path) -> dict[str, str]:
    """Breaks the stems of a song. Returns words of the reason that each must be given."""
    (song / "vocals.wav").write_text("this is no audio, however long it is\n" * 280000)
    (song / "bass.wav").write_bytes(b"")
    audio = stem("drums", 0)
    audio[5000] = np.inf
    soundfile.write(song / "drums.wav", audio, RATE, subtype="FLOAT")
    soundfile.write(song / "other.wav", np.zeros((RATE, 2)), RATE)
    return {
        "vocals.wav": "cannot be read as audio",
        "bass.wav": "cannot be read as audio",
        "drums.wav": "not finite",
        "other.wav": "silent throughout",
    }


def test_broken_stems_are_named_counted_and_listed(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    write_songs(root, 2)
    notes = break_files(root / "Artist 1 - Title")
    soundfile.write(root / "Artist 0 - Title" / "guitar.wav", tone(300.0, 1.0).T, RATE)
    before = tree(root)
    answer = ask(capsys, "refine", root, "--out", out, "--classifier", classifier)
    assert answer.code == 0
    assert "4 of 8 stems are left out" in answer.err
    assert "1 audio files are left out" in answer.err
    rows = rows_of(out)
    assert len(rows) == 8
    for name, words in notes.items():
        row = rows[f"Artist 1 - Title/{name}"]
        assert words in row["reason"]
        assert (row["decision"], row["refined"], row["vocals"]) == ("drop", "", "")
    assert tree(root) == before
    page = (out / "audit.html").read_text()
    assert "Not usable" in page
    assert "not finite" in page


def test_nothing_usable_is_refused(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1)
    break_files(tmp_path / "in" / "Artist 0 - Title")
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", classifier)
    assert_refused(ask(capsys, *words), "none of 4 stems can be used")


def test_any_rate_and_channel_count_is_read_and_said(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = tmp_path / "in" / "odd formats"
    song.mkdir(parents=True)
    soundfile.write(song / "vocals.wav", tone(300.0, 3.0, 8000)[0], 8000)
    soundfile.write(song / "bass.wav", tone(100.0, 3.0, 192000).T, 192000)
    soundfile.write(song / "drums.flac", np.tile(tone(900.0, 3.0)[:1].T, (1, 6)), RATE)
    soundfile.write(song / "other.ogg", tone(400.0, 3.0, 22050).T, 22050)
    answer = ask(
        capsys, "refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", classifier
    )
    assert answer.code == 0
    for words in ("8000 Hz", "192000 Hz", "mono audio", "6 channels is folded down"):
        assert words in answer.err
    rows = rows_of(tmp_path / "out")
    assert all(abs(float(row["seconds"]) - 3.0) < 0.05 for row in rows.values())


def test_hostile_names_do_not_run_and_are_played(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(HOSTILE):
        write_song(root / name, number, 1.5)
    answer = ask(capsys, "refine", root, "--out", out, "--classifier", classifier)
    assert answer.code == 0, answer.err
    assert len(rows_of(out)) == 4 * len(HOSTILE)
    page = PageParts((out / "audit.html").read_text())
    assert_only_its_script_runs(page)
    stems = page.data()["stems"]
    assert len(stems) == 4 * len(HOSTILE)
    for stem_shown in stems:
        path = out / unquote(stem_shown["source"], errors="surrogateescape")
        assert path.is_file()
        assert root in path.resolve().parents
    assert ask(capsys, "check-data", root).code == 0
    assert ask(capsys, "check-data", root, "--json").code == 0


def test_one_song_without_a_class_is_refined_and_the_gap_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1)
    (tmp_path / "in" / "Artist 0 - Title" / "bass.wav").unlink()
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out", "--profile", "tiny")
    answer = ask(capsys, *words, "--start", "none")
    assert answer.code == 0
    assert "no usable stem is labelled bass" in answer.err
    assert {row["refined"] for row in rows_of(tmp_path / "out").values()}.isdisjoint({"bass"})


def test_class_folders_and_label_sets_are_read_and_written_alike(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("vocals", "bass+drums"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for song in range(2):
            path = tmp_path / "in" / label / f"Artist {song} - Title.wav"
            soundfile.write(path, stem("vocals", song), RATE)
    words = ("--classifier", classifier)
    assert ask(capsys, "refine", tmp_path / "in", "--out", tmp_path / "a", *words).code == 0
    rows = rows_of(tmp_path / "a")
    assert {row["given"] for row in rows.values()} == {"vocals", "bass+drums"}
    kept = [row for row in rows.values() if row["refined"]]
    if kept:
        stems = tmp_path / "a" / "stems"
        assert ask(capsys, "refine", stems, "--out", tmp_path / "b", *words).code == 0
        again = rows_of(tmp_path / "b")
        assert sorted(row["given"] for row in again.values()) == sorted(
            row["refined"] for row in kept
        )


def test_bad_truths_are_refused(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1)
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", classifier)
    truth = tmp_path / "truth.csv"
    for text, expected in (
        ("a,b\n1,2\n", "no column 'song'"),
        ("song,given,true_label\nother song,bass,bass\n", "none of its songs"),
        ("song,given,true_label\nx,bass,guitar\n", "line 2: 'guitar'"),
        ("song,given,true_label\n", "no line below"),
        ("song,given,true_label\nx,bass\n", "line 2: not as many cells"),
    ):
        truth.write_text(text)
        assert_refused(ask(capsys, *words, "--truth", truth), expected, "truth.csv")
    assert_refused(ask(capsys, *words, "--truth", tmp_path / "gone.csv"), "gone.csv")


def test_bad_numbers_and_profiles_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 0.5)
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out")
    paper = (*words, "--start", "none")
    assert_refused(ask(capsys, *paper, "--threshold", 1.5), "--threshold 1.5")
    assert_refused(ask(capsys, *paper, "--threshold", "nan"), "--threshold")
    assert_refused(ask(capsys, *paper, "--iterations", 0), "--iterations 0")
    assert_refused(ask(capsys, *paper, "--sure", 0.9), "--sure belongs to a start")
    assert_refused(ask(capsys, *paper, "--stem-by-stem"), "--stem-by-stem belongs to a start")
    assert_refused(ask(capsys, *words, "--sure", 0), "--sure 0")
    assert_refused(ask(capsys, *words, "--iterations", -1), "--iterations -1")
    assert_refused(ask(capsys, *words, "--drop"), "--drop", "--start none")
    assert_refused(ask(capsys, *words, "--threshold", 0.5), "--threshold", "--start none")
    assert_refused(ask(capsys, *words, "--start", "gone.pt"), "gone.pt", "band, none or")
    assert_refused(ask(capsys, *words, "--profile", "huge"), "no profile called 'huge'", "mini")


@pytest.mark.parametrize("kind", ["text", "truncated", "missing", "folder"])
def test_a_file_that_is_no_classifier_is_refused(
    kind: str, tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1)
    path = tmp_path / "c.pt"
    match kind:
        case "text":
            path.write_text("weights\n" * 1000)
        case "truncated":
            path.write_bytes(classifier.read_bytes()[:5000])
        case "folder":
            path.mkdir()
    answer = ask(capsys, "refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", path)
    assert_refused(answer, str(path))


@pytest.mark.slow
def test_a_disk_that_fills_while_refining_is_one_clear_error(
    tmp_path: Path, classifier: Path
) -> None:
    write_songs(tmp_path / "in", 2)
    before = tree(tmp_path / "in")
    words = ["refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", classifier]
    done = subprocess.run(
        [sys.executable, "-m", "selfrefine.cli", *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "out" / "labels.csv").exists()
    assert tree(tmp_path / "in") == before


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="stem files are read by ffmpeg")
def test_a_real_stem_file_is_refined_and_its_streams_written(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stempeg = pytest.importorskip("stempeg")
    (tmp_path / "in").mkdir()
    shutil.copy(stempeg.example_stem_path(), tmp_path / "in")
    answer = ask(
        capsys, "refine", tmp_path / "in", "--out", tmp_path / "out", "--classifier", classifier
    )
    assert answer.code == 0, answer.err
    rows = rows_of(tmp_path / "out")
    assert set(rows) == {f"The Easton Ellises - Falcon 69.stem.mp4#{name}" for name in CLASSES}
    written = list((tmp_path / "out" / "stems").rglob("*.wav"))
    assert len(written) == 4
    assert soundfile.info(written[0]).samplerate == 44100
