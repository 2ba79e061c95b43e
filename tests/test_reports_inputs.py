"""Hostile words and damaged or foreign results given to `python -m reports`."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import reports.exported
from experiments.profiles import PROFILES
from experiments.store import Store
from reports.__main__ import main
from reports.exported import export, load_results
from reports.page import heard_songs, is_web_address
from reports.results import collect
from reports.studies import shown_studies
from reports.writers import markdown_escaped
from reports.writing import LISTENED, write_reports
from selfrefine.errors import InputError
from tests.chromium import BINARY, Page
from tests.fake_results import paper_store

ROW = "table2/x-umx-noisy"
HOSTILE = (
    "\"><img src=x onerror=\"document.title='ran'\"></script><script>document.title='ran'</script>"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    targets = (ROW, "table2/x-umx-clean", "table1/clean", "figure4")
    return paper_store(tmp_path_factory.mktemp("runs"), targets=targets)


@pytest.fixture(scope="module")
def exported(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    export(collect(store, PROFILES["smoke"], "band"), folder, LISTENED)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of exported results to spoil."""
    return shutil.copytree(exported, tmp_path / "results")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


Found = dict[str, Any]
Spoil = Callable[[Path], object]


def edited(change: Callable[[Found], object]) -> Spoil:
    """Changes what results.json holds."""

    def spoil(folder: Path) -> None:
        path = folder / "results.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return spoil


def scores(found: Found) -> Found:
    """The record of a row's score."""
    return found["stages"][found["rows"][ROW][0]]


def of_kind(found: Found, kind: str) -> Found:
    return next(each for each in found["stages"].values() if each["kind"] == kind)


def with_record(**values: object) -> Spoil:
    return edited(lambda found: scores(found).update(values))


def with_result(kind: str, **values: object) -> Spoil:
    return edited(lambda found: of_kind(found, kind)["result"].update(values))


def text_of(name: str, change: Callable[[str], str]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_text(change(path.read_text(encoding="utf-8-sig")), encoding="utf-8")

    return spoil


def bytes_of(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data)


def folder_for(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "\n".join(change(text.splitlines())) + "\n"


def tracks(change: Callable[[Found], object]) -> Spoil:
    return edited(lambda found: change(scores(found)["result"]["tracks"]))


ACCURACY = {"exact": 0.5, "f1": 0.5, "precision": 0.5, "recall": 0.5}

DAMAGE: dict[str, Spoil] = {
    "no results": lambda folder: (folder / "results.json").unlink(),
    "empty results": bytes_of("results.json", b""),
    "results not UTF-8": bytes_of("results.json", b'{"format": "\xff\xfe\xfa"}'),
    "half the results": text_of("results.json", lambda text: text[: len(text) // 2]),
    "results of a list": bytes_of("results.json", b"[3]"),
    "results of a number": bytes_of("results.json", b"3"),
    "results too deep": bytes_of("results.json", b"[" * 200_000),
    "a number too long": bytes_of("results.json", b'{"format": ' + b"9" * 10_000 + b"}"),
    "a folder for the results": folder_for("results.json"),
    "another format": edited(lambda found: found.update(format=2)),
    "a format of words": edited(lambda found: found.update(format="three")),
    "no profile": edited(lambda found: found.pop("profile")),
    "unknown profile": edited(lambda found: found.update(profile="huge")),
    "profile that leaves the folder": edited(lambda found: found.update(profile="../../x")),
    "data that is a list": edited(lambda found: found.update(data=[])),
    "data of another version": edited(lambda found: found.update(data="mp3s")),
    "test that is none": edited(lambda found: found.update(test="mine")),
    "meaning of numbers": edited(lambda found: found.update(meaning=3)),
    "deviations of numbers": edited(lambda found: found.update(deviations=[1])),
    "rows that are a list": edited(lambda found: found.update(rows=[])),
    "a row of a number": edited(lambda found: found["rows"].update({ROW: 3})),
    "a row without its stage": edited(lambda found: found["rows"].update({ROW: ["0" * 12]})),
    "a row twice": edited(lambda found: found["rows"].update({ROW: 2 * found["rows"][ROW]})),
    "a row of another kind": edited(
        lambda found: found["rows"].update({ROW: found["rows"]["table1/clean"]})
    ),
    "stages that are a list": edited(lambda found: found.update(stages=[])),
    "a stage of words": edited(lambda found: found["stages"].update({"0" * 12: "stage"})),
    "a stage with a field more": with_record(extra=1),
    "a stage without inputs": edited(lambda found: scores(found).pop("inputs")),
    "a stage under another id": with_record(id="0" * 12),
    "a stage behind itself": edited(
        lambda found: scores(found)["inputs"].append(scores(found)["id"])
    ),
    "inputs of numbers": with_record(inputs=[1, 2]),
    "a seed of words": with_record(seed="first"),
    "a seed below 0": with_record(seed=-1),
    "a name that is a number": with_record(name=3),
    "a link that is a list": with_record(link=[]),
    "a result that is a list": with_record(result=[]),
    "a run that is null": with_record(run=None),
    "seconds of words": with_record(run={"seconds": "many"}),
    "seconds of NaN": with_record(run={"seconds": float("nan")}),
    "seconds below 0": with_record(run={"seconds": -1.0}),
    "a commit that is a number": with_record(run={"commit": 7}),
    "no SDR": edited(lambda found: scores(found)["result"].pop("sdr")),
    "an SDR of words": edited(lambda found: scores(found)["result"]["sdr"].update(bass="4")),
    "no songs": edited(lambda found: scores(found)["result"].pop("tracks")),
    "songs that are a list": edited(lambda found: scores(found)["result"].update(tracks=[1])),
    "a song without a class": tracks(lambda songs: songs["song0"].pop("bass")),
    "a song of words": tracks(lambda songs: songs["song0"].update(bass="3.5")),
    "a song of NaN": tracks(lambda songs: songs["song0"].update(bass=float("nan"))),
    "a song of infinity": tracks(lambda songs: songs["song0"].update(bass=float("inf"))),
    "a song of a huge number": tracks(lambda songs: songs["song0"].update(bass=10**400)),
    "a song of true": tracks(lambda songs: songs["song0"].update(bass=True)),
    "three thresholds": with_result("recognition-score", thresholds=[0.5] * 3),
    "a threshold of NaN": with_result("recognition-score", thresholds=[0.5] * 3 + [float("nan")]),
    "a threshold of 7": with_result("recognition-score", thresholds=[7, 0.5, 0.5, 0.5]),
    "chosen thresholds that lack a class": with_result("adaptive-thresholds", thresholds={}),
    "an accuracy of words": with_result("corrupted", accuracy={**ACCURACY, "f1": "good"}),
    "an accuracy without recall": with_result("corrupted", accuracy={"exact": 1.0}),
    "half a stem": with_result("corrupted", single=0.5),
    "a confusion that is a list": with_result("corrupted", confusion=[1]),
    "a confusion of words": with_result("corrupted", confusion={"bass": {"drums": "3"}}),
    "a reliability of words": with_result("corrupted", reliability="good"),
    "a reliability without numbers": with_result("corrupted", reliability=[{"least": 0.5}]),
    "no outputs": lambda folder: (folder / "outputs.csv").unlink(),
    "empty outputs": bytes_of("outputs.csv", b""),
    "a folder for the outputs": folder_for("outputs.csv"),
    "outputs of zeros": bytes_of("outputs.csv", bytes(1000)),
    "half the outputs": text_of("outputs.csv", lines(lambda rows: rows[: len(rows) // 2])),
    "an output less": text_of("outputs.csv", lines(lambda rows: rows[:-1])),
    "an output twice": text_of("outputs.csv", lines(lambda rows: [*rows, rows[-1]])),
    "outputs of one stage in two places": text_of(
        "outputs.csv", lines(lambda rows: [rows[0], *rows[2:], rows[1]])
    ),
    "an output of NaN": text_of("outputs.csv", lambda text: text.replace("0.98000", "nan", 1)),
    "an output of 7": text_of("outputs.csv", lambda text: text.replace("0.98000", "7", 1)),
    "an output of words": text_of("outputs.csv", lambda text: text.replace("0.98000", "no", 1)),
    "outputs of an unknown test": text_of(
        "outputs.csv", lambda text: text.replace(",multi,", ",mine,", 1)
    ),
    "outputs of another stage": text_of(
        "outputs.csv", lambda text: re.sub(r"^[0-9a-f]{12}", "0" * 12, text, flags=re.MULTILINE)
    ),
    "a scrap of validation": bytes_of("validation.csv", b'"'),
    "a folder for the validation": folder_for("validation.csv"),
    "validation of words": text_of("validation.csv", lambda text: text.replace("0.25", "low", 1)),
    "validation of NaN": text_of("validation.csv", lambda text: text.replace("0.25", "nan", 1)),
    "validation without steps": text_of("validation.csv", lambda text: text.replace("step", "s")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_results_are_one_line_and_stay_as_they_are(
    name: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[name](copied)
    before = files(copied)
    words = ["claims", "--results", str(copied), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {copied}")
    assert re.search(r"export .* again|export them again|mend|check the path|must name", said)
    assert said.count("\n") == 1
    assert len(said) < 600
    assert files(copied) == before
    assert not (tmp_path / "out").exists()


def test_a_missing_example_is_named(copied: Path) -> None:
    (copied / "examples" / "first.bass.reference.ogg").unlink()
    with pytest.raises(InputError, match=r"first.bass.reference.ogg: cannot be read"):
        heard_songs(load_results(copied), LISTENED)


def test_rows_of_another_version_are_left_out_and_counted(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edited(lambda found: found["rows"].update({"table9/../..": found["rows"][ROW], "x": []}))(
        copied
    )
    assert "table9/../.." not in load_results(copied).rows
    assert "2 rows are left out that this version does not know, 'table9/../..'" in caplog.text


def test_results_without_a_scored_song_make_reports(copied: Path, tmp_path: Path) -> None:
    def unscored(found: Found) -> None:
        for song in scores(found)["result"]["tracks"].values():
            song.update(dict.fromkeys(song))

    edited(unscored)(copied)
    write_reports(["table2", "claims", "tracks"], load_results(copied), tmp_path)
    text = (tmp_path / "table2.md").read_text()
    assert re.search(r"X-UMX +\| noisy +\| not run", text)


@pytest.mark.parametrize(
    ("address", "followed"),
    [
        ("https://wandb.ai/me/run", True),
        ("http://localhost:8080/run", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        (" \tjava\nscript:alert(1)", False),
        ("\x01javascript:alert(1)", False),
        ("javascript://host/%0aalert(1)", False),
        ("data:text/html,<script>alert(1)</script>", False),
        ("file:///etc/passwd", False),
        ("vbscript:x", False),
        ("//host/path", False),
        ("http:path", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_only_web_addresses_are_followed(address: str, followed: bool) -> None:
    assert is_web_address(address) == followed


def test_text_of_others_is_no_markup_in_markdown() -> None:
    escaped = markdown_escaped("[x](javascript:alert(1)) <b>|`c`\\\n# head")
    assert escaped == r"\[x\](javascript:alert(1)) \<b\>\|\`c\`\\ # head"
    assert markdown_escaped("X-UMX gain (0.7, 1.25)") == "X-UMX gain (0.7, 1.25)"


@pytest.mark.skipif(BINARY is None, reason="no Chromium here")
def test_results_of_others_run_no_script_and_ours_runs(copied: Path, tmp_path: Path) -> None:
    link = "javascript:document.title='ran'"

    def hostile(found: Found) -> None:
        found["meaning"] = HOSTILE
        found["deviations"] = [HOSTILE]
        for each in found["stages"].values():
            each["name"], each["link"] = f"labels {HOSTILE}", link
            each["run"] = dict.fromkeys(("commit", "device", "started"), HOSTILE)
        songs = scores(found)["result"]["tracks"]
        songs[HOSTILE] = songs.pop("song0")
        of_kind(found, "corrupted")["result"]["confusion"] = {HOSTILE: {HOSTILE: 3}}

    edited(hostile)(copied)
    examples = copied / "examples"
    for path in list(examples.rglob("first.*")):
        path.rename(path.with_name(f"<img src=x onerror=alert(1)>{path.name}"))
    shown = tmp_path / "sweeps"
    shown.mkdir()
    study = {"name": HOSTILE, "meaning": HOSTILE, "about": HOSTILE, "winner": HOSTILE}
    study |= {"head": [HOSTILE], "rows": [[HOSTILE]], "pictures": []}
    (shown / "study.json").write_text(json.dumps(study))
    write_reports(["report"], load_results(copied), tmp_path)
    with Page(tmp_path / "profile", 1280, 900) as page:
        page.open(tmp_path / "report.html")
        asked = page.requests[1:]
        found = page.value(
            """(async () => {
              const [first, second] = document.querySelectorAll("audio");
              let paused = false;
              first.pause = () => { paused = true; };
              second.dispatchEvent(new Event("play"));  // our script pauses the other players
              for (const link of document.links) if (!link.hash) link.click();
              // What a hole in the escaping would let in is stopped by the page's policy.
              const inline = document.createElement("div");
              inline.innerHTML = "<img src=x onerror=\\"document.title='ran'\\">";
              const script = document.createElement("script");
              script.textContent = "document.title = 'ran'";
              document.body.append(inline, script);
              await new Promise((resolve) => setTimeout(resolve, 200));
              return {
                paused,
                title: document.title,
                scripts: document.scripts.length - 1,
                added: [...document.querySelectorAll("[onerror]")].length - 1,
                links: [...document.links].map((link) => link.protocol),
                text: document.body.innerText,
                colour: getComputedStyle(document.querySelector("header")).backgroundColor,
              };
            })()"""
        )
    assert found["paused"]
    assert found["title"].startswith("Self-refining")
    assert (found["scripts"], found["added"]) == (1, 0)
    assert set(found["links"]) == {"file:"}  # anchors of the page itself
    assert link in found["text"]
    assert found["colour"] == "rgb(15, 23, 42)"  # our style applies
    assert all(request.startswith("data:") for request in asked)


def visible(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if not name.startswith(".export")}


def test_a_killed_export_leaves_results_whole(
    store: Store, exported: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = collect(store, PROFILES["smoke"], "band")
    (copied / "claims.md").write_text("mine")
    marked = text_of("rows.csv", lambda text: text + "an earlier export\n")
    wanted = files(exported)
    for name in ("write_csv", "write_json", "copy_examples", "shutil.copyfile", "shutil.copytree"):
        for ends_at in (1, 3):
            marked(copied)
            before = visible(copied)
            module, _, function = f"reports.exported.{name}".rpartition(".")
            own = getattr(shutil if module.endswith("shutil") else reports.exported, function)
            calls: list[object] = []

            def killed(
                *words: Any,
                own: Any = own,
                calls: Any = calls,
                ends_at: int = ends_at,
                **named: Any,
            ) -> object:
                calls.append(words)
                if len(calls) == ends_at:
                    raise KeyboardInterrupt
                return own(*words, **named)

            with monkeypatch.context() as patch:
                patch.setattr(f"reports.exported.{name}", killed)
                try:
                    export(new, copied, LISTENED)
                except KeyboardInterrupt:
                    again = load_results(copied)
                    assert again.rows == new.rows
            assert visible(copied) in (before, {**wanted, "claims.md": b"mine"})
    export(new, copied, LISTENED)
    assert files(copied) == {**wanted, "claims.md": b"mine"}


@pytest.mark.parametrize("name", ["examples/mine.txt", "rows.csv", "results.json"])
def test_an_export_replaces_no_file_that_is_not_of_one(
    name: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("[]")
    words = ["export", "--profile", "smoke", "--store", str(store.root), "--to", str(tmp_path)]
    assert main(words) == 2
    assert "not of an export, and would be lost" in capsys.readouterr().err
    assert files(tmp_path) == {name: b"[]"}


def test_an_empty_store_replaces_no_export(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(copied)
    words = ["export", "--profile", "smoke", "--store", str(tmp_path / "runs"), "--to", str(copied)]
    assert main(words) == 2
    assert "holds no results of band-smoke to export" in capsys.readouterr().err
    assert files(copied) == before


@pytest.mark.parametrize(
    "words",
    [
        ["claims", "--store", "FILE"],
        ["claims", "--store", "FILE/runs"],
        ["claims", "--output", "FILE"],
        ["table2", "--output", "FILE/out"],
        ["report", "--output", "FILE"],
        ["gap", "--output", "FILE"],
        ["export", "--to", "FILE"],
        ["export", "--to", "FILE/small"],
        ["claims", "--results", "FILE"],
        ["claims", "--results", "FILE/small"],
        ["claims", "--results", ""],
        ["claims", "--results", "EMPTY"],
        ["claims", "--data", "mp3s"],
        ["claims", "--profile", ""],
        ["export", "claims"],
        ["wandb-dashboard", "export"],
        ["all", "nothing"],
        [""],
    ],
    ids=" ".join,
)
def test_bad_places_are_one_line_and_stay_as_they_are(
    words: list[str], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    places = {"FILE": str(tmp_path / "file"), "EMPTY": str(tmp_path / "empty")}
    named = [re.sub("FILE|EMPTY", lambda found: places[found[0]], word) for word in words]
    defaults = {"--profile": "smoke", "--store": str(store.root), "--output": str(tmp_path / "out")}
    for option, value in defaults.items():
        named += [] if option in words else [option, value]
    assert main(named) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("words", [[], ["--wrong"], ["claims", "--to"], ["claims", "--store"]])
def test_words_that_are_no_command_end_with_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_folder_of_any_name_takes_reports_and_exports(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"a? #%20:\n\xff'")
    words = ["--profile", "smoke", "--store", str(store.root)]
    # Test processes that work together cannot exchange output that is not UTF-8.
    with redirect_stdout(io.StringIO()) as said:
        assert main(["export", *words, "--to", str(folder / "small")]) == 0
        assert main(["claims", "--results", str(folder / "small"), "--output", str(folder)]) == 0
    assert (folder / "band-smoke" / "claims.md").exists()
    assert str(folder) in said.getvalue()


STUDY = {"name": "s", "meaning": "m", "about": "a", "winner": "w"}
STUDY |= {"head": ["h"], "rows": [["1"]], "pictures": []}


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"head": "h"},
        {"rows": [["1", "2"]]},
        {"rows": [[1]]},
        {"rows": 3},
        {"pictures": [["t", "../x.png"]]},
        {"pictures": [["t"]]},
        {"pictures": [[1, "x.png"]]},
        {"pictures": [["t", "short.png"]]},
        {"pictures": [["t", "folder"]]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_study_of_another_shape_is_named(change: Found, tmp_path: Path) -> None:
    shown = tmp_path / "sweeps"
    (shown / "folder").mkdir(parents=True)
    (shown / "short.png").write_bytes(b"\x89PNG")
    (shown / "x.png").write_bytes(bytes(24))
    (shown / "study.json").write_text(json.dumps(STUDY | change))
    with pytest.raises(InputError, match=r"show .* again"):
        shown_studies(tmp_path)


def test_a_file_that_a_stage_did_not_leave_so_is_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(store.root, tmp_path / "runs")
    path = next(root.glob("recognition-outputs/*/outputs.csv"))
    path.write_text(path.read_text().replace("0.98000", "0.02000", 1))
    assert main(["claims", "--profile", "smoke", "--store", str(root)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: damaged")
    assert said.count("\n") == 1
