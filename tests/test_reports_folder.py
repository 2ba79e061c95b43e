"""Reports of a test on a user's own songs, beside the test on the songs of the data."""

import csv
from pathlib import Path

import pytest

from experiments.profiles import PROFILES
from experiments.registry import TABLES
from experiments.store import Store
from reports.__main__ import main
from reports.exported import export, load_results
from reports.page import heard_songs
from reports.results import Results, collect
from reports.writing import LISTENED, write_reports
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from tests.fake_results import SONGS, paper_store

SMOKE = PROFILES["smoke"]
TARGETS = ("table2/x-umx-*", "table4/clean")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of songs whose files hold no audio; nothing here decodes them."""
    folder = tmp_path_factory.mktemp("songs")
    for song in ("one", "two"):
        (folder / song).mkdir()
        for name in CLASSES:
            (folder / song / f"{name}.wav").write_bytes(song.encode())
    return folder


@pytest.fixture(scope="module")
def store(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two seeds of X-UMX in Table 2 and of a classifier, on both tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_PATH", str(songs))
        root = tmp_path_factory.mktemp("runs")
        paper_store(root, 2, TARGETS)
        return paper_store(root, 2, TARGETS, "folder")


@pytest.fixture
def results(store: Store, songs: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setenv("TEST_PATH", str(songs))
    return collect(store, SMOKE, "band", "folder")


def cells(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open() as file:
        return {(cell["row"], cell["column"]): cell for cell in csv.DictReader(file)}


def test_rows_are_of_the_folder_and_beside_them_of_the_datas_own_songs(results: Results) -> None:
    label = "table2/x-umx-noisy"
    assert len(results.rows[label]) == len(results.data_rows[label]) == 2
    assert set(results.rows[label]).isdisjoint(results.data_rows[label])
    assert results.on_data().rows == results.data_rows
    assert not results.on_data().on_folder
    assert "table4/clean" not in results.data_rows  # no separator
    assert results.name == "band-smoke-on-folder"
    assert results.test_songs == f"{SONGS + 1} songs of a folder"


def test_the_table_has_both_tests_and_says_which_is_which(results: Results, tmp_path: Path) -> None:
    write_reports(["table2", "claims"], results, tmp_path)
    found = cells(tmp_path / "table2.csv")
    columns = [column for row, column in found if row == "table2/x-umx-clean"]
    beside = ["band test avg", "band test gap closed"]
    assert columns == [*CLASSES, "avg", "gap closed", *beside]
    own, data = found["table2/x-umx-clean", "avg"], found["table2/x-umx-clean", "band test avg"]
    assert (own["seeds"], data["seeds"]) == ("2", "2")
    assert float(data["ours"]) == pytest.approx(4.83, abs=0.02)
    assert found["table2/x-umx-uncorrupted", "band test gap closed"]["ours"] == "100.0000"
    text = (tmp_path / "table2.md").read_text()
    assert f"Intervals over {SONGS} songs of a folder: 95%" in text
    assert f"Band test: the same trainings on the data's own {SONGS} test songs." in text
    assert f"Tested on {SONGS + 1} songs of a folder." in (tmp_path / "claims.md").read_text()


def test_without_the_datas_own_test_its_columns_are_not_run(
    store: Store, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PATH", str(songs))
    folder_only = collect(store, SMOKE, "band", "folder")
    for label in folder_only.data_rows:
        folder_only.data_rows[label] = ()
    write_reports(["table2"], folder_only, tmp_path)
    found = cells(tmp_path / "table2.csv")
    assert found["table2/x-umx-clean", "band test avg"]["ours"] == ""
    assert found["table2/x-umx-clean", "avg"]["ours"] != ""


def test_no_sound_of_a_folder_is_exported_or_put_on_the_page(
    results: Results, tmp_path: Path
) -> None:
    record = results.first(LISTENED[0])
    assert record is not None
    # Even if there were examples in the store, as there are in this made-up one.
    assert results.examples[record.id].is_dir()
    export(results, tmp_path, LISTENED)
    assert not list(tmp_path.rglob("*.ogg"))
    assert heard_songs(results, LISTENED) == []
    assert heard_songs(results.on_data(), LISTENED) != []


def test_what_was_exported_rebuilds_the_tables_without_the_songs(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(results, tmp_path / "small", LISTENED)
    write_reports(["table2", "claims"], results, tmp_path / "first")
    monkeypatch.delenv("TEST_PATH")
    again = load_results(tmp_path / "small")
    assert (again.test, again.data_rows) == ("folder", results.data_rows)
    write_reports(["table2", "claims"], again, tmp_path / "again")
    for path in (tmp_path / "first").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_the_command_reports_and_exports_the_test_on_a_folder(
    store: Store,
    songs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEST_PATH", str(songs))
    words = ["--profile", "smoke", "--store", str(store.root), "--test", "folder"]
    assert main(["table2", *words, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "band-smoke-on-folder" / "table2.tex").exists()
    assert main(["export", *words, "--to", str(tmp_path / "small")]) == 0
    assert main(["table2", "--results", str(tmp_path / "small"), "--output", str(tmp_path)]) == 0
    assert "earlier version" not in capsys.readouterr().err


def test_a_folder_that_is_not_named_is_one_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_PATH", raising=False)
    with pytest.raises(InputError, match="TEST_PATH is not set; set it to the folder"):
        collect(store, SMOKE, "band", "folder")


def test_a_recognition_table_says_whose_stems_it_is_over(results: Results, tmp_path: Path) -> None:
    write_reports(["table4"], results, tmp_path)
    text = (tmp_path / "table4.md").read_text()
    assert "stems of a folder's songs or 3941 mixtures of a folder's songs" in text
    assert len(cells(tmp_path / "table4.csv")) == 5 * len(TABLES["table4"].rows)


def test_the_dashboard_refuses_a_test_on_a_folder(
    store: Store, songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_PATH", str(songs))
    words = ["--profile", "smoke", "--store", str(store.root), "--test", "folder"]
    assert main(["wandb-dashboard", *words]) == 2
    assert "leave out --test folder" in capsys.readouterr().err
