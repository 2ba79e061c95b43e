"""`selfrefine apply` lays stems out by edited labels, and loses nothing where they do not fit."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from selfrefine import scales
from selfrefine.app.output_folder import SOURCE
from selfrefine.files.layouts import find_songs
from selfrefine.models.classifier import build_classifier
from selfrefine.models.model_file import save_classifier
from tests.cli_songs import Answer, ask, assert_refused, limit_file_size, tree, write_songs
from tests.conftest import RATE

SILENT = "Artist 2 - Title/bass.wav"
BYTES = os.fsdecode(b'latin \xe9, "quoted"\nline')

Row = dict[str, str]


@dataclass(frozen=True)
class Folder:
    source: Path
    out: Path

    @property
    def table(self) -> Path:
        return self.out / "labels.csv"

    def laid_out(self) -> dict[str, str]:
        """For each stem's file, the folder in `stems` that links to it."""
        return {
            "/".join(path.resolve().parts[-2:]): path.parent.name
            for path in (self.out / "stems").rglob("*")
            if path.is_symlink()
        }


def refine(folder: Path, classifier: Path) -> Answer:
    words = ["refine", folder / "in", "--out", folder / "out", "--classifier", classifier]
    done = subprocess.run(
        [sys.executable, "-m", "selfrefine.cli", *map(str, words)], capture_output=True, text=True
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four songs in a folder `in`, refined into `out` by an untrained classifier. One song has a
    hostile name, and one stem is silent."""
    folder = tmp_path_factory.mktemp("refined")
    settings = scales.SMOKE.classifier
    torch.manual_seed(0)
    torch.save({"model": build_classifier(settings).state_dict()}, folder / "model.pt")
    save_classifier(folder / "classifier.pt", folder / "model.pt", settings, 0.5)
    write_songs(folder / "in", 4, 1.5)
    (folder / "in" / "Artist 3 - Title").rename(folder / "in" / BYTES)
    soundfile.write(folder / "in" / SILENT, np.zeros((RATE, 2)), RATE)
    answer = refine(folder, folder / "classifier.pt")
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def folder(refined: Path, tmp_path: Path) -> Folder:
    """A copy of the refined folder for one test."""
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(refined / "in", source)
    shutil.copytree(refined / "out", out, symlinks=True)
    (out / "work" / SOURCE).write_bytes(os.fsencode(source))
    return Folder(source, out)


def read(path: Path) -> list[Row]:
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.write_bytes(text.getvalue().encode(errors="surrogateescape"))


def relabelled(table: Path, path: Path, labels: dict[str, str]) -> None:
    """Writes the table to `path`, with new labels for some files."""
    rows = read(table)
    assert labels.keys() <= {row["file"] for row in rows}
    write(path, [row | {"refined": labels.get(row["file"], row["refined"])} for row in rows])


def other_than(label: str) -> str:
    return "drums" if label != "drums" else "vocals"


def test_stems_are_laid_out_by_the_edited_table(
    folder: Folder, refined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, as_refined = tree(folder.source), folder.table.read_bytes()
    labels = {row["file"]: row["refined"] for row in read(folder.table)}
    edits = {
        "Artist 0 - Title/bass.wav": other_than(labels["Artist 0 - Title/bass.wav"]),
        "Artist 1 - Title/drums.wav": "vocals+bass+drums+other",
        f"{BYTES}/vocals.wav": other_than(labels[f"{BYTES}/vocals.wav"]),
        "Artist 1 - Title/other.wav": "",
    }
    changed = sum(labels[file] != label for file, label in edits.items())
    table = tmp_path / "Downloads (1).csv"
    relabelled(folder.table, table, edits)
    answer = ask(capsys, "apply", table, "--out", folder.out)
    assert answer.code == 0, answer.err
    expected = {file: label or "dropped" for file, label in (labels | edits).items()}
    del expected[SILENT]
    assert folder.laid_out() == expected
    assert folder.table.read_bytes() == table.read_bytes()
    assert (folder.out / "labels.before.csv").read_bytes() == as_refined
    assert f"{changed:6d} changed against the table from before" in answer.out
    assert "     1 dropped" in answer.out
    assert "     1 not usable" in answer.out
    assert "     1 vocals+bass+drums+other" in answer.out
    assert tree(folder.source) == before
    assert not list(folder.out.rglob("*.partial"))
    # Its stems are what a separator is trained on: the dropped ones are not among them.
    songs = find_songs(folder.out / "stems", tracks=False)
    assert sum(len(song.files) for song in songs) == 14

    # Once more changes nothing, and refining does not take hand-made labels for its own.
    again = ask(capsys, "apply", table, "--out", folder.out)
    assert "     0 changed" in again.out
    assert folder.laid_out() == expected
    words = ("refine", folder.source, "--out", folder.out, "--resume")
    classifier = ("--classifier", refined / "classifier.pt")
    assert_refused(ask(capsys, *words, *classifier), "labels.csv", "was edited")
    assert folder.table.read_bytes() == table.read_bytes()


def test_no_table_is_lost(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [folder.table.read_bytes()]
    for label in ("bass", "drums", "other"):
        edit = {"Artist 0 - Title/bass.wav": f"vocals+{label}"}
        relabelled(folder.table, tmp_path / "t.csv", edit)
        tables.append((tmp_path / "t.csv").read_bytes())
        assert ask(capsys, "apply", tmp_path / "t.csv", "--out", folder.out).code == 0
    names = ("labels.before.csv", "labels.before-2.csv", "labels.before-3.csv", "labels.csv")
    assert [(folder.out / name).read_bytes() for name in names] == tables
    # Back to what refining wrote.
    answer = ask(capsys, "apply", folder.out / "labels.before.csv")
    assert answer.code == 0, answer.err
    assert folder.table.read_bytes() == tables[0]
    assert (folder.out / "labels.before-4.csv").read_bytes() == tables[3]


def test_a_table_edited_in_its_place_is_applied_and_left(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    relabelled(folder.table, folder.table, {"Artist 0 - Title/vocals.wav": "bass+drums"})
    text = folder.table.read_bytes()
    monkeypatch.chdir(folder.out)
    answer = ask(capsys, "apply", "labels.csv")
    assert answer.code == 0, answer.err
    assert "changed" not in answer.out
    assert folder.laid_out()["Artist 0 - Title/vocals.wav"] == "bass+drums"
    assert folder.table.read_bytes() == text
    assert not (folder.out / "labels.before.csv").exists()


def test_a_stem_that_cannot_be_used_is_laid_out_where_a_person_labels_it(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SILENT not in folder.laid_out()
    relabelled(folder.table, tmp_path / "t.csv", {SILENT: "bass"})
    answer = ask(capsys, "apply", tmp_path / "t.csv", "--out", folder.out)
    assert folder.laid_out()[SILENT] == "bass"
    assert "not usable" not in answer.out
    assert "     1 changed" in answer.out


def test_a_table_of_only_files_and_labels_is_enough_and_stems_can_be_copied(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"file": row["file"], "refined": "Bass"} for row in read(folder.table)]
    write(tmp_path / "t.csv", rows)
    answer = ask(capsys, "apply", tmp_path / "t.csv", "--out", folder.out, "--copy")
    assert answer.code == 0, answer.err
    assert "    16 bass" in answer.out
    files = [path for path in (folder.out / "stems").rglob("*") if path.is_file()]
    assert len(files) == 16
    assert not any(path.is_symlink() for path in files)


BAD_TABLES: dict[str, tuple[Callable[[list[Row]], object], tuple[str, ...]]] = {
    "class": (lambda rows: rows[3].update(refined="guitar"), ("line 5", "'guitar'")),
    "stem": (lambda rows: rows[2].update(file="gone/bass.wav"), ("line 4", "gone/bass.wav")),
    "missing": (lambda rows: rows.pop(), ("no line for",)),
    "doubled": (lambda rows: rows.append(rows[0]), ("line 18", "a second line")),
    "all dropped": (lambda rows: [row.update(refined="") for row in rows], ("every stem",)),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_table_that_does_not_fit_changes_nothing(
    kind: str, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, expected = BAD_TABLES[kind]
    rows = read(folder.table)
    spoil(rows)
    write(tmp_path / "edited.csv", rows)
    before = tree(folder.out)
    answer = ask(capsys, "apply", tmp_path / "edited.csv", "--out", folder.out)
    assert_refused(answer, "edited.csv", *expected)
    assert tree(folder.out) == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read as a table"),
        (b"", "no column 'file'"),
        (b"song,file\na,b\n", "no column 'refined'"),
        (b"PK\x03\x04\x00\x00\xff\xfe", "labels.xlsx"),
        (b"file,refined\nArtist 0 - Title/bass.wav\n", "not as many cells"),
    ],
)
def test_what_is_no_table_is_refused(
    content: bytes | None,
    expected: str,
    folder: Folder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "labels.xlsx"
    if content is not None:
        table.write_bytes(content)
    before = tree(folder.out)
    answer = ask(capsys, "apply", table, "--out", folder.out)
    assert_refused(answer, str(table), expected)
    assert tree(folder.out) == before


def test_a_folder_that_was_not_refined_is_refused(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads = tmp_path / "Downloads"
    (downloads / "stems").mkdir(parents=True)
    (downloads / "stems" / "mine.wav").write_bytes(b"mine")
    shutil.copy(folder.table, downloads / "labels.csv")
    for more in ((), ("--source", folder.source)):
        answer = ask(capsys, "apply", downloads / "labels.csv", *more)
        assert_refused(answer, f"{downloads}: not a folder that selfrefine refine made", "--out")
    assert (downloads / "stems" / "mine.wav").read_bytes() == b"mine"
    answer = ask(capsys, "apply", folder.table, "--out", tmp_path / "nowhere")
    assert_refused(answer, "nowhere: not a folder")
    assert not (tmp_path / "nowhere").exists()


def test_moved_stems_are_found_where_they_are_said_to_be(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    folder.source.rename(moved)
    before = tree(folder.out)
    answer = ask(capsys, "apply", folder.table)
    words = f"{folder.source}: {folder.out} was refined from this folder"
    assert_refused(answer, words, "--source")
    assert_refused(ask(capsys, "apply", folder.table, "--source", folder.source), "no such folder")
    inside = ask(capsys, "apply", folder.table, "--source", folder.out / "stems")
    assert_refused(inside, "holds the input")
    assert tree(folder.out) == before
    assert ask(capsys, "apply", folder.table, "--source", moved).code == 0
    assert len(Folder(moved, folder.out).laid_out()) == 15
    # So it is where someone deleted `work`, as they may.
    shutil.rmtree(folder.out / "work")
    assert_refused(ask(capsys, "apply", folder.table), "source.path: is gone", "--source")
    assert ask(capsys, "apply", folder.table, "--source", moved).code == 0


def test_stems_missing_from_the_source_are_named(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.source / "Artist 1 - Title" / "bass.wav").unlink()
    (folder.source / "Artist 1 - Title" / "drums.wav").unlink()
    before = tree(folder.out)
    answer = ask(capsys, "apply", folder.table)
    assert_refused(
        answer, "labels.csv, line", "Artist 1 - Title/bass.wav", "1 others of its 16", "--source"
    )
    assert tree(folder.out) == before
    shutil.rmtree(folder.source)
    folder.source.mkdir()
    assert_refused(ask(capsys, "apply", folder.table), f"{folder.source}: no song found")


@pytest.mark.slow
def test_a_disk_that_fills_loses_nothing(folder: Folder, tmp_path: Path) -> None:
    relabelled(folder.table, tmp_path / "t.csv", {"Artist 0 - Title/bass.wav": "bass+drums"})
    table, laid_out = folder.table.read_bytes(), folder.laid_out()
    words = ["apply", tmp_path / "t.csv", "--out", folder.out, "--copy"]
    done = subprocess.run(
        [sys.executable, "-m", "selfrefine.cli", *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert folder.table.read_bytes() == table
    assert folder.laid_out() == laid_out
