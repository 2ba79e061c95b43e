"""Hostile paths, words and files given to `python -m sweeps`."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna_dashboard._storage_url import get_storage as dashboard_storage

import sweeps.trials
from experiments.profiles import PROFILES
from experiments.store import Store
from selfrefine.errors import InputError
from sweeps.__main__ import main
from sweeps.objectives import objective_value
from sweeps.storage import open_study, sqlite_file, sqlite_url
from sweeps.studies import STUDIES, Bound
from sweeps.trials import distribution
from tests.pretended_stages import pretending

REFINING = Bound(STUDIES["refining"], PROFILES["smoke"], "band")

NAMES = [
    "a b",
    "what?x=1&uri=true",
    "part#2",
    "100%20%ff",
    "me@host",
    "c:d",
    "Übung 音",
    'it\'s "so"',
    "{brace} {0}",
    "two\nlines",
    ":memory:",
    "back\\slash;$HOME",
    "+plus+",
    "file:name",
    os.fsdecode(b"not utf-8 \xff\xe9"),
]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages finish at once, and a study has no pictures."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(
        sweeps.trials, "computing", lambda bound, store, workers: pretending(store, [])
    )
    monkeypatch.setattr("sweeps.page.study_pictures", lambda *_: [])


@pytest.mark.parametrize(
    ("kind", "name"),
    [("store", name) for name in NAMES] + [("journal", name) for name in NAMES[::3]],
    ids=ascii,
)
@pytest.mark.usefixtures("pretended")
def test_studies_are_kept_under_any_path_and_their_address_can_be_pasted(
    name: str, kind: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store = tmp_path / name
    words = ["refining", "--profile", "smoke", "--store", str(store)]
    kept = store / "sweeps.db"
    if kind == "journal":
        kept = store / f"{name}.log"
        words += ["--storage", f"journal:{kept}"]
    output = tmp_path / "output"
    assert main(["run", *words, "--trials", "1", "--workers", "1"]) == 0
    assert main(["show", *words, "--output", str(output)]) == 0
    said = os.fsdecode(capfdbinary.readouterr().out)
    assert main(["freeze", *words]) == 0
    assert kept.stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {name, "output"}
    (word,) = shlex.split(said.partition("optuna-dashboard ")[2])
    found = dashboard_storage(word).get_all_studies()
    assert [each.study_name for each in found] == ["refining band-smoke"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_url_of_a_file_leads_back_to_it(name: str) -> None:
    path = Path("/a") / name / "sweeps.db"
    assert sqlite_file(sqlite_url(path)) == path


def test_a_uri_of_sqlite_names_its_file_and_makes_none(tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path}/a%2520b.db?uri=true&mode=rwc"
    assert sqlite_file(url) == tmp_path / "a b.db"
    words = ["refining", "--profile", "smoke", "--store", str(tmp_path), "--storage", url]
    assert main(["show", *words]) == 2
    assert list(tmp_path.iterdir()) == []


Spoil = Callable[[Path], list[str]]
"""Makes bad input in a folder, and returns the words of a command line that uses it."""


def journal(text: bytes) -> Spoil:
    def spoil(folder: Path) -> list[str]:
        (folder / "s.log").write_bytes(text)
        return ["--storage", f"journal:{folder / 's.log'}"]

    return spoil


def database(change: Callable[[bytes], bytes]) -> Spoil:
    """Changes the file of a study with one complete trial."""

    def spoil(folder: Path) -> list[str]:
        with_trial(sqlite_url(folder / "s.db"), REFINING.own_values())
        (folder / "s.db").write_bytes(change((folder / "s.db").read_bytes()))
        return ["--storage", sqlite_url(folder / "s.db")]

    return spoil


def with_trial(url: str, params: dict[str, float], value: float = 1.0) -> None:
    study = open_study(REFINING, url)
    ranges = {
        each.name: distribution(each) for each in REFINING.study.parameters if each.name in params
    }
    study.add_trial(optuna.create_trial(value=value, params=params, distributions=ranges))


def trial_of(params: dict[str, float], value: float) -> Spoil:
    def spoil(folder: Path) -> list[str]:
        with_trial(f"journal:{folder}/s.log", params, value)
        return ["--storage", f"journal:{folder}/s.log"]

    return spoil


def store_is_a_file(folder: Path) -> list[str]:
    (folder / "file").write_text("no store")
    return ["--store", str(folder / "file")]


def store_of_another_format(folder: Path) -> list[str]:
    (folder / "store.json").write_text('{"format": 99}')
    return ["--store", str(folder)]


def store_with_a_folder_for_a_database(folder: Path) -> list[str]:
    (folder / "store.json").write_text('{"format": 1}')
    (folder / "sweeps.db").mkdir()
    return ["--store", str(folder)]


DAMAGE: dict[str, Spoil] = {
    "empty database": database(lambda data: b""),
    "half a database": database(lambda data: data[: len(data) // 2]),
    "database of zeros": database(lambda data: bytes(len(data))),
    "text for a database": database(lambda data: b"not a database\n" * 99),
    "database without its head": database(lambda data: data[100:]),
    "another program's database": database(
        lambda data: data.replace(b"CREATE TABLE studies", b"CREATE TABLE studiez")
    ),
    "empty journal": journal(b""),
    "journal of words": journal(b"hello\n"),
    "journal of a list": journal(b"[]\n"),
    "journal of a number": journal(b"7\n"),
    "journal without operations": journal(b"{}\n"),
    "journal of an unknown operation": journal(b'{"op_code": 77, "worker_id": "a"}\n'),
    "journal that is not UTF-8": journal(b"\xff\xfe\n"),
    "journal of a wrong type": journal(b'{"op_code": "x", "worker_id": []}\n'),
    "a trial that lacks a parameter": trial_of({"threshold": 0.5}, 1.0),
    "a trial of infinite value": trial_of(REFINING.own_values(), float("inf")),
    "journal that is a folder": lambda folder: ["--storage", f"journal:{folder}"],
    "journal without a name": lambda folder: ["--storage", "journal:"],
    "database that is a folder": lambda folder: ["--storage", f"sqlite:///{folder}"],
    "database below a file": lambda folder: ["--storage", "sqlite:////dev/null/s.db"],
    "port that is none": lambda folder: ["--storage", "postgresql://host:port/db"],
    "option that is none": lambda folder: ["--storage", f"sqlite:///{folder}/s.db?timeout=soon"],
    "no storage": lambda folder: ["--storage", "://"],
    "unknown database": lambda folder: ["--storage", "nosuchdb://host/db"],
    "store that is a file": store_is_a_file,
    "store below a file": lambda folder: ["--store", "/dev/null/runs"],
    "store of another format": store_of_another_format,
    "store with a name too long": lambda folder: ["--store", str(folder / ("n" * 300))],
    "store with a folder for a database": store_with_a_folder_for_a_database,
}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("verb", ["show", "freeze"])
@pytest.mark.usefixtures("pretended")
def test_a_damaged_study_is_one_line_and_stays_as_it_is(
    name: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = DAMAGE[name](tmp_path)
    before = files(tmp_path)
    if "--store" not in words:
        words += ["--store", str(tmp_path / "runs")]
    assert main([verb, "refining", "--profile", "smoke", *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert files(tmp_path) == before


HARMLESS = {"empty database", "empty journal", "port that is none"}
"""Where `run` makes a study, or has another test."""


@pytest.mark.parametrize("name", [each for each in DAMAGE if each not in HARMLESS])
@pytest.mark.usefixtures("pretended")
def test_no_study_is_run_in_a_damaged_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = DAMAGE[name](tmp_path)
    before = files(tmp_path)
    if "--store" not in words:
        words += ["--store", str(tmp_path / "runs")]
    assert main(["run", "refining", "--profile", "smoke", "--trials", "1", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    after = files(tmp_path)
    # Optuna may add a line to a journal that it cannot read.
    assert all(after[path].startswith(data) for path, data in before.items())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["run"],
        ["show"],
        ["run", "refining", "--trials", "0"],
        ["run", "refining", "--trials", "-3"],
        ["run", "refining", "--trials", "1e9"],
        ["run", "refining", "--trials", "many"],
        ["run", "refining", "--workers", "0"],
        ["run", "refining", "--workers", "-1"],
        ["run", "refining", "--workers", "1.5"],
        ["run", "refining", "--seed", "-1"],
        ["run", "refining", "--seed", "nan"],
        ["run", "refining", "--over"],
        ["run", "refining", "--trials"],
        ["show", "refining", "--trials", "3"],
        ["freeze", "refining", "--output", "x"],
        ["list", "refining"],
        ["run", "refining", "--wrong"],
    ],
    ids=" ".join,
)
def test_words_that_are_no_command_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.usefixtures("pretended")
def test_an_output_that_is_a_file_stays_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_trial(sqlite_url(tmp_path / "s.db"), REFINING.own_values())
    (tmp_path / "file").write_text("mine")
    words = ["--profile", "smoke", "--storage", sqlite_url(tmp_path / "s.db")]
    assert main(["show", "refining", *words, "--output", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert f"error: {tmp_path / 'file'}" in said
    assert said.endswith("name another folder with --store or --output\n")
    assert said.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_no_message_shows_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--profile", "smoke", "--storage", "postgresql://me:secret@host.invalid/db"]
    assert main(["freeze", "refining", *words]) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("result", [{}, {"average": None}, {"average": "4"}, {"average": [1]}])
def test_a_result_that_is_no_number_is_no_value(result: dict[str, object], tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = REFINING.stage({})
    store.folder(stage).mkdir(parents=True)
    store.finish(stage, result, {"seconds": 1.0})
    with pytest.raises(InputError, match=f"{store.folder(stage)}: the sdr is .*run again"):
        objective_value(REFINING.study.judged_by, stage, store)
