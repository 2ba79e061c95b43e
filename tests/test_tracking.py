"""W&B: what is in the offline files, that nothing leaves the machine, and that no server can hold
a stage up."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from experiments.commands import resolved_rows
from experiments.naming import describe, refining_iteration
from experiments.profiles import PROFILES
from experiments.stages import (
    FolderSongs,
    Probabilities,
    Relabelled,
    Stage,
    Trimmed,
    closure,
    expression,
    identity,
    inputs,
    kind,
)
from experiments.store import Store
from experiments.tracking import mode
from experiments.tracking.lineage import label_texts
from experiments.tracking.mode import logged_in, note_unreachable, reachable, wandb_mode
from experiments.tracking.run import STEPS_BETWEEN_LOGS
from experiments.tracking.stage import run_id
from selfrefine.classes import CLASSES
from tests.tracked_stages import MEASURES, STEPS, all_stages, fill
from tests.wandb_file import by_kind, history, items

ROOT = Path(__file__).parent.parent
PATIENCE = "2"

BLOCKED = """
import runpy, socket, sys

real = socket.socket.connect

def refused(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("NETWORK", address, file=sys.stderr, flush=True)
        raise OSError("blocked")
    return real(self, address)

def unknown(host, *_, **__):
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("NETWORK lookup of", host, file=sys.stderr, flush=True)
        raise OSError("blocked")
    return looked_up(host, *_, **__)

looked_up = socket.getaddrinfo
socket.socket.connect = refused
socket.getaddrinfo = unknown
sys.argv = sys.argv[1:]
runpy.run_module("tests.tracked_stages", run_name="__main__")
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**kept, "SELFREFINE_WANDB_SECONDS": PATIENCE, "NETRC": "/nowhere", **more}


def tracked(root: Path, *kinds: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Tracks stages in a process of its own, as a worker would."""
    return subprocess.run(
        [sys.executable, "-m", "tests.tracked_stages", str(root), *kinds],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A store whose stages were tracked offline, with every way out of the machine watched: Python
    sockets blocked, and a listener in the place of each proxy and of W&B's server."""
    root = tmp_path_factory.mktemp("runs")
    store = fill(root)
    with Listener() as listener:
        url = f"http://127.0.0.1:{listener.port}"
        proxies = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), url
        )
        ran = subprocess.run(
            [sys.executable, "-c", BLOCKED, "tracked", str(root)],
            cwd=ROOT,
            env=environment(WANDB_BASE_URL=url, NO_PROXY="", no_proxy="", **proxies),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert ran.returncode == 0, ran.stderr
        return store, ran.stderr + "CONNECTION " * listener.connections


def file_of(store: Store, stage: Stage) -> Path:
    (path,) = store.root.glob(f"wandb/wandb/*-{run_id(stage)}/*.wandb")
    return path


def one(name: str) -> Stage:
    (stage,) = [each for each in all_stages() if type(each).__name__ == name]
    return stage


@pytest.mark.slow
def test_offline_nothing_leaves_the_machine(offline: tuple[Store, str]) -> None:
    _, said = offline
    assert "NETWORK" not in said
    assert "CONNECTION" not in said
    assert "W&B" not in said


@pytest.mark.slow
def test_every_stage_is_a_run_with_its_settings_and_origin(offline: tuple[Store, str]) -> None:
    store, _ = offline
    for stage in all_stages():
        kinds = by_kind(file_of(store, stage))
        run = kinds["run"][0]
        assert run.run_id == run_id(stage)
        assert run.display_name == describe(stage)
        assert run.run_group == "table2"
        assert run.job_type == kind(stage)
        assert {"smoke", "band", "seed 0", "table2", "table2/row"} == set(run.tags)
        config = items(run.config.update)
        assert config["identity"] == identity(stage)
        assert config["iteration"] == refining_iteration(stage)
        assert config["origin"] == {"commit": "abc", "device": "cpu"}
        assert config["data_fingerprint"]
        for name, value in json.loads(json.dumps(expression(stage))).items():
            assert config[name] == value
        assert kinds["exit"][0].exit_code == 0
        link = json.loads((store.folder(stage) / "wandb.json").read_text())
        assert link == {"id": run.run_id, "url": None}


@pytest.mark.slow
def test_the_offline_file_holds_each_training_metric(offline: tuple[Store, str]) -> None:
    store, _ = offline
    steps = history(file_of(store, one("Separator")))
    trained = [step for step in steps if "loss" in step]
    expected = [s for s in range(1, STEPS + 1) if s % STEPS_BETWEEN_LOGS == 0 or s == STEPS]
    assert [step["_step"] for step in trained] == expected
    assert [step["loss"] for step in trained] == pytest.approx([1 / s for s in expected])
    assert trained[0]["learning_rate"] == pytest.approx(1e-3)
    assert trained[0]["gradient_norm"] == pytest.approx(0.5)
    assert trained[0]["steps_per_second"] == pytest.approx(10.0)
    assert trained[0]["data_share"] == pytest.approx(0.2)


def table_rows(store: Store, stage: Stage, name: str) -> tuple[list[str], list[list[object]]]:
    path = file_of(store, stage)
    (entry,) = [step for step in history(path) if any(key.startswith(f"{name}/") for key in step)]
    table = json.loads((path.parent / "files" / entry[f"{name}/path"]).read_text())
    return table["columns"], table["data"]


@pytest.mark.slow
def test_the_offline_file_holds_each_table(offline: tuple[Store, str]) -> None:
    store, _ = offline
    scores = [1.5] * 4
    assert table_rows(store, one("SeparationScore"), "tables/sdr") == (
        [*CLASSES, "avg"],
        [[*scores, 1.5]],
    )
    assert table_rows(store, one("SeparationScore"), "tables/tracks") == (
        ["song", *CLASSES],
        [["song one", *scores]],
    )
    columns, rows = table_rows(store, one("RecognitionScore"), "tables/recognition")
    assert columns == ["test", "measure", *CLASSES, "avg"]
    assert [row[:2] for row in rows] == [
        [test, measure] for test in ("single", "multi") for measure in MEASURES
    ]
    columns, rows = table_rows(store, one("Relabelled"), "tables/labels")
    assert columns[:5] == ["song", "stem", "given", "label", "true"]
    assert [row[1] for row in rows] == list(CLASSES)
    assert {row[4] for row in rows} == {"vocals"}


@pytest.mark.slow
def test_recognition_and_labels_are_drawn_by_wandbs_own_plots(offline: tuple[Store, str]) -> None:
    store, _ = offline
    for name, plots in (
        ("RecognitionScore", {"plots/confusion", "plots/precision_recall_multi"}),
        ("RecognitionOutputs", {"plots/precision_recall_single"}),
        ("Relabelled", {"plots/confusion"}),
    ):
        kinds = by_kind(file_of(store, one(name)))
        config: dict[str, object] = {}
        for update in [kinds["run"][0].config, *kinds.get("config", [])]:
            config |= items(update.update)
        found = json.dumps(config)
        assert all(plot in found for plot in plots)
        assert ("wandb/confusion_matrix/v1" in found) == ("plots/confusion" in plots)
        assert ("wandb/area-under-curve/v0" in found) == (name != "Relabelled")
    columns, rows = table_rows(store, one("RecognitionScore"), "plots/confusion_table")
    assert columns == ["Actual", "Predicted", "nPredictions"]
    assert sum(row[2] for row in rows if isinstance(row[2], int)) > 0


@pytest.mark.slow
def test_the_offline_file_holds_sound_and_summary(offline: tuple[Store, str]) -> None:
    store, _ = offline
    path = file_of(store, one("SeparationScore"))
    (step,) = history(path)
    for part in ("mixture", "vocals", "vocals.reference"):
        assert step[f"examples/1/{part}/_type"] == "audio-file"
        assert step[f"examples/1/{part}/caption"] == "a song"
        assert (path.parent / "files" / step[f"examples/1/{part}/path"]).stat().st_size > 1000
    summary: dict[str, object] = {}
    for record in by_kind(path)["summary"]:
        summary |= items(record.update)
    assert summary["average"] == 1.5
    assert not any("song one" in key for key in summary)


@pytest.mark.slow
def test_artifacts_tell_which_stage_was_made_from_which(offline: tuple[Store, str]) -> None:
    store, _ = offline
    digests: dict[str, set[str]] = {}
    for stage in all_stages():
        artifacts = [
            each for each in by_kind(file_of(store, stage))["artifact"] if each.type != "run_table"
        ]
        used = {each.name for each in artifacts if each.use_after_commit}
        made = {each.name for each in artifacts if not each.use_after_commit}
        assert used == {run_id(needed) for needed in inputs(stage)}
        assert made == {run_id(stage)}
        for each in artifacts:
            assert each.finalize
            digests.setdefault(each.name, set()).add(each.digest)
    # What one run made is byte for byte what the next one used.
    assert {len(found) for found in digests.values()} == {1}
    assert len(digests) == len(all_stages())


@pytest.mark.slow
def test_an_artifact_holds_labels_and_confusion_and_no_sound(offline: tuple[Store, str]) -> None:
    store, _ = offline
    contents = {}
    for stage in all_stages():
        for each in by_kind(file_of(store, stage))["artifact"]:
            contents[each.name] = {entry.path: entry for entry in each.manifest.contents}
            # What is to be sent lies in the store.
            waiting = [Path(entry.local_path) for entry in each.manifest.contents if not entry.ref]
            assert all(path.is_file() for path in waiting)
            assert all(store.root in path.parents for path in waiting)
    labels = contents[run_id(one("Relabelled"))]
    assert set(labels) == {"stage.json", "result.json", "labels.csv", "confusion.csv"}
    weights = contents[run_id(one("Classifier"))]["model.pt"]
    assert weights.ref.startswith("file://")
    assert weights.size == 7000
    for name, entries in contents.items():
        assert all(entry.size < 20_000 for entry in entries.values()), name


@pytest.mark.parametrize("known", [True, False])
def test_labels_are_compared_with_the_truth_or_else_with_what_was_given(
    known: bool, tmp_path: Path
) -> None:
    from selfrefine.refine import StemProbability, write_probabilities

    store = fill(tmp_path)
    of = one("Relabelled")
    assert isinstance(of, Relabelled)
    if not known:
        songs = FolderSongs("sdxdb23", "train", False, 16000, "abc")
        of = Relabelled(Probabilities(Trimmed(songs), of.of.by), (0.5, 0.5, 0.5, 0.5))
        folder = store.folder(of.of)
        folder.mkdir(parents=True)
        stems = [
            StemProbability("a", "1", ("bass",), 9.0, (0.9, 0.1, 0.1, 0.1)),
            StemProbability("a", "2", ("bass",), 9.0, (0.1, 0.9, 0.1, 0.1)),
            StemProbability("b", "1", ("bass",), 9.0, (0.2, 0.8, 0.1, 0.1)),
            StemProbability("b", "2", ("vocals", "other"), 9.0, (0.1, 0.1, 0.1, 0.1)),
        ]
        write_probabilities(folder / "probabilities.csv", stems)
    head, *counts = label_texts(of, store)["confusion.csv"].splitlines()
    if known:
        assert head == "true,label,stems"
        assert all(line.startswith("vocals,") for line in counts)
    else:
        assert head == "given,label,stems"
        assert counts == ["bass,bass,2", "bass,vocals,1", "vocals+other,,1"]


def test_the_iteration_is_the_number_of_classifiers_in_a_row() -> None:
    rows = resolved_rows(["table2", "table4", "table5"], PROFILES["smoke"], "band")
    found = {label: refining_iteration(stage) for label, (_, stage) in rows.items()}
    for number in range(1, 6):
        assert found[f"table4/iteration-{number}"] == number
        assert found[f"table5/refined-{number}"] == number
    assert found["table5/refined-0"] == 0
    assert found["table2/demucs-psi-refined"] == 2
    clean = ("table2/x-umx-clean", "table2/x-umx-psi-clean", "table4/clean", "table5/clean")
    assert {found[label] for label in clean} == {None}
    # A stage's outputs, thresholds and labels are of its classifier's iteration.
    _, fifth = rows["table5/refined-5"]
    behind = closure([fifth])
    names = {describe(stage): refining_iteration(stage) for stage in behind}
    assert names["Psi_noisy"] == 1
    assert names["Psi_refined"] == 2
    assert names["labels by Psi_refined4 at 0.45"] == 5
    assert names["stems of band b, songs 0-2, corrupted"] == 0
    assert names["band a, songs 500-501"] is None


@pytest.mark.slow
def test_a_resumed_stage_goes_on_in_the_same_run(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from experiments.store import Store
from tests.tracked_stages import all_stages, fill, track
store = Store(Path(sys.argv[1]))
stage = next(s for s in all_stages() if type(s).__name__ == "Classifier")
track(store, stage, first=int(sys.argv[2]), stop=sys.argv[3] == "killed")
while sys.argv[3] == "killed":
    time.sleep(0.1)
    if any(path.stat().st_size > 1000 for path in store.root.glob("wandb/wandb/*/*.wandb")):
        os._exit(9)
"""
    store = fill(tmp_path)
    for words in (["1", "killed"], ["11", "ends"]):
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), *words],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            check=False,
            timeout=900,
        )
    stage = one("Classifier")
    files = sorted(store.root.glob(f"wandb/wandb/*-{run_id(stage)}/*.wandb"))
    assert len(files) == 2
    assert {by_kind(path)["run"][0].run_id for path in files} == {run_id(stage)}
    assert [step["_step"] for step in history(files[1]) if "loss" in step] == [20, 25]
    assert "exit" in by_kind(files[1])


class Listener:
    """A port that counts who calls, and never answers."""

    def __enter__(self) -> "Listener":
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        self.kept: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self) -> None:
        while True:
            try:
                self.kept.append(self.socket.accept()[0])
            except OSError:
                return
            self.connections += 1

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture
def hanging() -> Iterator[str]:
    with Listener() as listener:
        yield f"http://127.0.0.1:{listener.port}"


@pytest.fixture
def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def failing() -> Iterator[str]:
    """Answers everything with an error page."""
    with served(lambda text: None) as url:
        yield url


@pytest.fixture
def dropping() -> Iterator[str]:
    """Lets a run begin, then hangs for ever."""

    def answer(text: str) -> object:
        project = {"id": "UHI=", "name": "p", "entity": {"id": "RQ==", "name": "me"}}
        bucket = {
            "id": "UnVuOjE=",
            "name": "run",
            "displayName": "run",
            "description": None,
            "config": "{}",
            "sweepName": None,
            "historyLineCount": 0,
            "project": project,
        }
        if "query RunResumeStatus" in text:
            return {"model": {**project, "bucket": None}}
        if "mutation UpsertBucket" in text:
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        threading.Event().wait(600)
        return None

    with served(answer) as url:
        yield url


class served:
    """A server whose `answer` to a GraphQL query is its data, or None for an error."""

    def __init__(self, answer: object) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                found = answer(self.rfile.read(length).decode(errors="replace"))  # type: ignore[operator]
                body = json.dumps({"data": found}).encode() if found else b"<h1>broken</h1>"
                self.send_response(200 if found else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["refusing", "hanging", "failing"])
def test_an_unreachable_server_costs_one_stage_a_moment_and_no_data(
    server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = fill(tmp_path)
    url = request.getfixturevalue(server)
    ran = tracked(tmp_path, "Classifier", "Separator", WANDB_BASE_URL=url, WANDB_API_KEY="k" * 40)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["Classifier", "Separator"]
    assert ran.stderr.count("the server cannot be reached") == 1
    assert not reachable(store.root / "wandb")
    for name in ("Classifier", "Separator"):
        (path,) = store.root.glob(f"wandb/wandb/offline-*-{run_id(one(name))}/*.wandb")
        assert "exit" in by_kind(path)
        assert run_id(one(name)) in {each.name for each in by_kind(path)["artifact"]}
    (path,) = store.root.glob(f"wandb/wandb/offline-*-{run_id(one('Classifier'))}/*.wandb")
    assert [step["_step"] for step in history(path) if "loss" in step] == [10, 20, 25]


@pytest.mark.slow
def test_a_server_that_hangs_mid_run_lets_the_stage_end(tmp_path: Path, dropping: str) -> None:
    store = fill(tmp_path)
    ran = tracked(tmp_path, "Separator", WANDB_BASE_URL=dropping, WANDB_API_KEY="k" * 40)
    assert ran.returncode == 0, ran.stderr
    assert "wandb sync" in ran.stderr
    assert not reachable(store.root / "wandb")
    path = file_of(store, one("Separator"))
    assert [step["_step"] for step in history(path) if "loss" in step] == [10, 20, 25]


@pytest.mark.slow
def test_a_worker_without_wandb_goes_on_untracked(tmp_path: Path) -> None:
    fill(tmp_path)
    broken = tmp_path / "broken" / "wandb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('half installed')")
    ran = tracked(tmp_path, "Classifier", PYTHONPATH=str(broken.parent))
    assert ran.returncode == 0, ran.stderr
    assert "half installed; Psi_noisy goes on untracked" in ran.stderr


@pytest.mark.slow
def test_disabled_writes_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    ran = tracked(tmp_path, WANDB_MODE="disabled")
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "of-line"}, "offline"),
    ],
)
def test_the_mode_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode() == expected


def test_a_login_counts_for_its_own_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password key\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org/")
    assert logged_in()


def test_a_server_is_tried_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reachable(tmp_path)
    note_unreachable(tmp_path)
    assert not reachable(tmp_path)
    monkeypatch.setattr(mode, "RETRY_SECONDS", 0.0)
    os.utime(tmp_path / "unreachable", (0, 0))
    assert reachable(tmp_path)
