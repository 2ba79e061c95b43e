"""Files and folders are replaced whole or not at all, and tables keep any file name."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from selfrefine.errors import InputError
from selfrefine.files import atomic
from selfrefine.files.atomic import folder_replaced, write_json, write_text, written_whole
from selfrefine.files.table import read_csv, write_csv


def fail_after(path: Path) -> None:
    """Writes a part of a file, then raises."""
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_text(path, "before\r\n")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as partial:
        fail_after(partial)
    assert path.read_bytes() == b"before\r\n"
    write_json(path, {"after": 1})
    assert path.read_text() == '{\n "after": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_what_stands_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def synced(path: Path) -> None:
        done.append(path.relative_to(tmp_path).as_posix().partition(f".{os.getpid()}")[0])

    def replace(source: Path, target: Path) -> None:
        done.append(f"-> {target.name}")
        os.rename(source, target)

    monkeypatch.setattr(atomic, "on_disk", synced)
    monkeypatch.setattr(atomic.os, "replace", replace)
    write_text(tmp_path / "file", "text")
    assert done == ["file", "-> file", "."]
    done.clear()
    with folder_replaced(tmp_path / "folder") as building:
        (building / "link").symlink_to(tmp_path / "nowhere")
        (building / "inner").mkdir()
        (building / "inner" / "track").touch()
    assert done[-2:] == ["-> folder", "."]
    inside = ["folder.partial", "folder.partial/inner", "folder.partial/inner/track"]
    assert sorted(done[:-2]) == inside


def test_a_file_system_that_cannot_sync_is_no_error_but_a_full_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "file", "before")
    for number, raised in ((errno.EINVAL, False), (errno.ENOSPC, True)):

        def fail(handle: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(atomic.os, "fsync", fail)
        with pytest.raises(OSError, match="space") if raised else nullcontext():
            write_text(tmp_path / "file", "after")
        assert [*tmp_path.iterdir()] == [tmp_path / "file"]
    assert (tmp_path / "file").read_text() == "after"


def test_a_folder_in_the_way_of_a_file_is_named_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "labels.csv", "text")
    assert caught.value.filename == str(tmp_path / "labels.csv")
    assert [*tmp_path.iterdir()] == [tmp_path / "labels.csv"]


def test_a_failed_folder_leaves_the_one_before_and_a_killed_one_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "stems"
    with folder_replaced(folder) as building:
        (building / "old").touch()
    with pytest.raises(KeyboardInterrupt), folder_replaced(folder) as building:
        fail_after(building / "half")
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]
    (tmp_path / "stems.partial").mkdir()
    (tmp_path / "stems.partial" / "of a killed process").touch()
    with folder_replaced(folder) as building:
        (building / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_names_of_any_kind_survive_a_table(tmp_path: Path) -> None:
    names = ["plain", 'comma, quote"', "line\nbreak", "carriage\rreturn", os.fsdecode(b"\xe9")]
    write_csv(tmp_path / "table.csv", ("name", "number"), ((name, 1) for name in names))
    rows = read_csv(tmp_path / "table.csv", ("number", "name"))
    assert [row["name"] for row in rows] == names
    assert (tmp_path / "table.csv").read_bytes().startswith(b"\xef\xbb\xbfname,number\r\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no column 'name'"),
        (b"name\n", "no column 'number'"),
        (b"name,number\na,1\nb\n", "line 3: not as many cells"),
        (b"name,number\na,1,2\n", "line 2: not as many cells"),
    ],
)
def test_a_damaged_table_is_refused(text: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(text)
    with pytest.raises(InputError, match=words):
        read_csv(tmp_path / "table.csv", ("name", "number"))
    with pytest.raises(InputError, match=r"gone\.csv"):
        read_csv(tmp_path / "gone.csv", ())
