"""W&B: no server and no incomplete installation can delay a stage or make it fail."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.tracking import mode
from experiments.tracking.mode import logged_in, note_unreachable, reachable, wandb_mode
from experiments.tracking.stage import run_id
from tests.tracked_stages import fill
from tests.wandb_file import by_kind, history
from tests.wandb_process import Listener, file_of, one, served, tracked


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
    """The address of a server that answers everything with an error page."""
    with served(lambda text: None) as url:
        yield url


@pytest.fixture
def dropping() -> Iterator[str]:
    """The address of a server that lets a run begin and then never answers."""

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
