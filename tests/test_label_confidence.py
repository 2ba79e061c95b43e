"""`train-separator --least-confidence`: which stems of a labels.csv are left out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfrefine import scales
from selfrefine.app.label_confidence import leave_out_doubtful
from selfrefine.app.labels_table import StemDecision, labels_text, read_labels
from selfrefine.classes import CLASSES, LabelSet
from selfrefine.files.layouts import find_songs
from selfrefine.models.model_file import load_separator
from tests.cli_songs import ask, assert_refused, write_songs

SONG = "Artist 0 - Title"


def decision(
    name: str, proposed: LabelSet, refined: LabelSet, confidence: float | None, reason: str = ""
) -> StemDecision:
    """The decision about a stem that was given the class of its name."""
    file = f"{SONG}/{name}.wav"
    return StemDecision(
        SONG, name, file, (name,), (0.1,) * 4, proposed, refined, confidence, reason, 1, 1.0
    )


def kept_stems(folder: Path, decisions: list[StemDecision], least: float) -> set[str]:
    table = folder / "labels.csv"
    table.write_text(labels_text(decisions))
    songs = read_labels(table, folder / "in", find_songs(folder / "in", tracks=False))
    kept = leave_out_doubtful(table, folder / "in", songs, least)
    return {file.name for song in kept for file in song.files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_songs(tmp_path / "in", 1, 1.0)
    return tmp_path


def test_stems_of_doubtful_labels_are_left_out(folder: Path) -> None:
    decisions = [
        decision("vocals", ("vocals",), ("vocals",), 0.9),
        decision("bass", ("drums",), ("drums",), 0.7),
        decision("drums", ("bass",), ("drums",), 0.95, "not sure enough to change the given label"),
        decision("other", ("other",), ("other",), None),
    ]
    assert kept_stems(folder, decisions, 0.8) == {"vocals", "other"}
    assert kept_stems(folder, decisions, 0.7) == {"vocals", "bass", "other"}


def test_a_decision_by_hand_is_certain(folder: Path) -> None:
    decisions = [
        decision("vocals", ("vocals",), ("vocals",), 0.3, "by hand"),
        decision("bass", ("drums",), ("bass",), 0.9, "by hand"),
        decision("drums", ("bass",), ("bass",), 0.3),
        decision("other", ("other",), ("other",), 0.9),
    ]
    assert kept_stems(folder, decisions, 0.8) == {"vocals", "bass", "other"}
    table = folder / "labels.csv"
    lines = table.read_text().splitlines()
    place = lines[0].split(",").index("refined")
    edited = lines[3].split(",")
    assert edited[place] == "bass"
    edited[place] = "drums"  # back as given, in a spreadsheet, where the decision stays "relabel"
    table.write_text("\n".join([*lines[:3], ",".join(edited), lines[4]]) + "\n")
    songs = read_labels(table, folder / "in", find_songs(folder / "in", tracks=False))
    (song,) = leave_out_doubtful(table, folder / "in", songs, 0.8)
    assert {file.name: file.label for file in song.files}["drums"] == ("drums",)


def test_a_separator_is_trained_without_doubtful_stems_and_counts_them(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(scales.SMOKE, xumx=replace(scales.SMOKE.xumx, steps=2))
    monkeypatch.setitem(scales.SCALES, "small", small)
    table = folder / "labels.csv"
    decisions = [
        decision(name, (name,), (name,), 0.5 if name == "bass" else 0.9) for name in CLASSES
    ]
    table.write_text(labels_text(decisions))
    words = ("train-separator", folder / "in", "--labels", table, "--out", folder / "out")
    more = ("--least-confidence", "0.8", "--kept-losses", "0.7", "--profile", "small")
    answer = ask(capsys, *words, *more)
    assert answer.code == 0, answer.err
    assert "1 of 4 stems are left out: doubtful labels" in answer.err
    assert "trained on 3 stems of one class" in answer.out
    settings = load_separator(folder / "out" / "separator.pt", torch.device("cpu")).settings
    assert (settings.kept_shares, settings.kept_relative) == ((0.7,), True)


@pytest.mark.parametrize("cell", ["maybe", "1.5", "-0.1", "nan", "inf"])
def test_a_confidence_that_is_no_probability_is_named_by_its_line(
    cell: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "labels.csv"
    text = labels_text([decision(name, (name,), (name,), 0.9) for name in CLASSES])
    lines = text.splitlines()
    lines[3] = lines[3].replace(",0.900,", f",{cell},")
    table.write_text("\n".join(lines) + "\n")
    words = ("train-separator", folder / "in", "--labels", table, "--out", folder / "out")
    answer = ask(capsys, *words, "--least-confidence", "0.8")
    assert_refused(answer, "labels.csv, line 4", f"'{cell}' is no number from 0 to 1")
    assert not (folder / "out").exists()


def test_a_table_without_what_tells_the_doubtful_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "labels.csv"
    table.write_text("\n".join(["file,refined", *(f"{SONG}/{c}.wav,{c}" for c in CLASSES)]) + "\n")
    words = ("train-separator", folder / "in", "--labels", table, "--out", folder / "out")
    answer = ask(capsys, *words, "--least-confidence", "0.8")
    assert_refused(answer, "labels.csv", "no column 'given'")


def test_a_classifier_that_was_not_trusted_leaves_nothing_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "labels.csv"
    doubt = "the classifier agrees with the given labels no more than by chance"
    decisions = [decision(name, ("other",), (name,), 0.9, doubt) for name in CLASSES]
    table.write_text(labels_text(decisions))
    words = ("train-separator", folder / "in", "--labels", table, "--out", folder / "out")
    answer = ask(capsys, *words, "--least-confidence", "0.8")
    assert_refused(answer, "line 2", "was not trusted", "leave --least-confidence out")


def test_what_leaves_nothing_or_says_nothing_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "labels.csv"
    decisions = [decision(name, (name,), (name,), 0.5) for name in CLASSES]
    table.write_text(labels_text(decisions))
    words = ("train-separator", folder / "in", "--out", folder / "out")
    for more, expected in (
        (("--labels", table, "--least-confidence", "0.8"), "give a lower --least-confidence"),
        (("--labels", table, "--least-confidence", "0"), "give a probability above 0"),
        (("--labels", table, "--least-confidence", "80"), "give a probability above 0"),
        (("--least-confidence", "0.8"), "belongs to --labels"),
        (("--kept-losses", "1"), "give a share above 0, below 1"),
        (("--kept-losses", "-0.7"), "give a share above 0, below 1"),
        (("--kept-losses", "nan"), "give a share above 0, below 1"),
    ):
        assert_refused(ask(capsys, *words, *more), expected)
    assert not (folder / "out").exists()
