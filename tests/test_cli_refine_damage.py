"""`selfrefine refine` with damaged files and after a kill: it gives one clear error, or resumes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfrefine.app.settings_mark import settings_mark
from selfrefine.scales import MINI
from tests.cli_songs import ask, assert_refused, tree, write_songs


@pytest.fixture
def refined(
    tmp_path: Path, tone_classifier: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[object, ...]:
    """The command line of a finished refinement, by the start alone."""
    write_songs(tmp_path / "in", 2)
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out")
    words = (*words, "--start", tone_classifier, "--iterations", 0)
    assert ask(capsys, *words, "--by-segment").code == 0
    return words


def test_a_kill_while_labels_are_written_is_no_edit_by_hand(
    tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill before the last write leaves the new labels, and the digests of both tables."""
    out = tmp_path / "out"
    digest = out / "work" / "labels.sha256"
    known = digest.read_text()
    digest.write_text(f"{'0' * 64}\n{known}\n")
    assert ask(capsys, *refined, "--resume").code == 0
    assert digest.read_text().strip() == known
    (out / "labels.csv").write_text((out / "labels.csv").read_text().replace("keep", "drop"))
    assert_refused(ask(capsys, *refined, "--resume"), "labels.csv", "was edited")


def test_stretches_of_a_run_before_do_not_stay(
    tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (tmp_path / "out" / "segments").is_dir()
    assert ask(capsys, *refined, "--resume").code == 0
    assert not (tmp_path / "out" / "segments").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
def test_a_damaged_order_is_named(
    text: str, tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(tmp_path / "in")
    (tmp_path / "out" / "work" / "order.json").write_text(text, encoding="latin-1")
    assert_refused(ask(capsys, *refined, "--resume"), "order.json", "damaged")
    assert tree(tmp_path / "in") == before


def test_a_folder_killed_before_its_order_was_in_place_begins_anew(
    tmp_path: Path, tone_classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2)
    work = tmp_path / "out" / "work"
    work.mkdir(parents=True)
    (work / "order.json.1234.partial").write_text("{")
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out", "--start", tone_classifier)
    assert ask(capsys, *words, "--iterations", 0, "--resume").code == 0


def test_an_order_of_a_version_without_starts_says_how_to_go_on(
    tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "work" / "order.json"
    order = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in order.items() if not k.startswith("--")}))
    assert_refused(ask(capsys, *refined, "--resume"), "give --start none")


def test_an_order_is_compared_setting_by_setting(
    tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "work" / "order.json"
    order = json.loads(path.read_text())
    assert order["settings"]["is"] == "Classifier"
    # The order of the names is nothing, another value is another order, and so is an unknown form.
    path.write_text(json.dumps(order | {"settings": dict(reversed(order["settings"].items()))}))
    assert ask(capsys, *refined, "--resume").code == 0
    for other in (order["settings"] | {"batch": 1}, "ClassifierSettings(network=ConvNeXt())"):
        path.write_text(json.dumps(order | {"settings": other}))
        assert_refused(ask(capsys, *refined, "--resume"), "begun with other settings")


def test_a_setting_that_was_added_is_marked_only_where_it_changes_something() -> None:
    settings = MINI.xumx
    mark = settings_mark(settings)
    assert mark == json.loads(json.dumps(mark))
    assert mark["is"] == "Separator"
    assert mark["network"]["is"] == "XUMX"
    assert "sign_flip" not in mark
    assert settings_mark(replace(settings, sign_flip=True)) == mark | {"sign_flip": True}


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_damaged_table_of_probabilities_is_named(
    lines: int, tmp_path: Path, refined: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "work" / "start" / "probabilities.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    assert_refused(ask(capsys, *refined, "--resume"), "probabilities.csv", "delete")


def broken(path: Path, good: Path, kind: str) -> None:
    content = torch.load(good, weights_only=True)
    match kind:
        case "text":
            path.write_text("hello world")
        case "cut":
            path.write_bytes(good.read_bytes()[:3000])
        case "bytes":
            path.write_bytes(good.read_bytes()[:400] + bytes(200) + good.read_bytes()[600:])
        case "settings":
            torch.save(content | {"settings": "{"}, path)
        case "nan":
            weights = dict(content["model"])
            name = next(iter(weights))
            weights[name] = weights[name] * float("nan")
            torch.save(content | {"model": weights}, path)
        case _:
            torch.save({name: value for name, value in content.items() if name != kind}, path)


@pytest.mark.parametrize(
    "kind", ["text", "cut", "bytes", "settings", "nan", "classes", "model", "threshold"]
)
def test_a_file_that_is_no_sound_classifier_is_refused_in_one_line(
    kind: str, tmp_path: Path, tone_classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    path = tmp_path / "broken.pt"
    broken(path, tone_classifier, kind)
    for option in ("--start", "--classifier"):
        words = ("refine", tmp_path / "in", "--out", tmp_path / "out", option, path)
        assert_refused(ask(capsys, *words), str(path))
