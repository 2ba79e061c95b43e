"""The W&B report of the results, built against a server of the test's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.registry import TABLES
from tests.test_tracking import environment, served
from tests.tracked_stages import fill

ROOT = Path(__file__).parent.parent


def report(store: Path, output: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    words = ["wandb-dashboard", "--profile", "smoke", "--store", str(store)]
    return subprocess.run(
        [sys.executable, "-m", "reports", *words, "--output", str(output)],
        cwd=ROOT,
        env={**environment(**variables)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,  # also for the process' end: W&B's package can hang there
    )


class Server:
    """Knows one user and keeps the reports it is given."""

    def __init__(self) -> None:
        self.saved: list[dict[str, object]] = []

    def answer(self, text: str) -> object:
        query = json.loads(text)
        if "upsertView" in query["query"]:
            self.saved.append(query["variables"])
            view = {"id": "VmlldzoxMjM=", "name": "n", "displayName": "d", "type": "runs"}
            user = {"username": "me", "name": "me", "id": "VQ=="}
            view |= {"description": "", "project": {"id": "UHI=", "name": "p", "entityName": "me"}}
            view |= {"spec": query["variables"]["spec"], "user": user, "updatedAt": None}
            return {"upsertView": {"view": view, "inserted": True}}
        project = {"id": "UHI=", "name": "selfrefine", "entityName": "me", "createdAt": ""}
        project |= {"isBenchmark": False, "user": None}
        page = {"endCursor": None, "hasNextPage": False}
        viewer = {"id": "VQ==", "entity": "me", "username": "me", "email": "", "flags": "{}"}
        viewer |= {"admin": False, "apiKeys": {"edges": []}, "teams": {"edges": []}, "name": "me"}
        return {
            "viewer": viewer,
            "project": project | {"internalId": "UHI="},
            "models": {"edges": [{"node": project, "cursor": ""}], "pageInfo": page},
            "serverInfo": {"cliVersionInfo": {}, "features": []},
        }


@pytest.mark.slow
def test_the_dashboard_holds_every_table_and_is_updated_in_place(tmp_path: Path) -> None:
    fill(tmp_path / "runs")
    output = tmp_path / "output"
    (output / "band-smoke" / "sweeps").mkdir(parents=True)
    (output / "band-smoke" / "sweeps" / "threshold-f1.md").write_text("# swept\n\n![a](a.png)\n")
    server = Server()
    with served(server.answer) as url:
        account = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "k" * 40, "WANDB_ENTITY": "me"}
        first = report(tmp_path / "runs", output, **account)
        assert first.returncode == 0, first.stderr
        again = report(tmp_path / "runs", output, **account)
        assert again.returncode == 0, again.stderr
    assert "the dashboard is at http" in first.stdout
    assert again.stdout == first.stdout
    new, updated = server.saved
    assert not new["id"]
    assert updated["id"] == "VmlldzoxMjM="
    spec = json.loads(str(new["spec"]))
    text = json.dumps(spec)
    for name, table in TABLES.items():
        assert f"{name.capitalize()}: {table.title}" in text
        assert f'"{name}"' in text  # the runs beside it are those that carry its tag
    assert "(4.28" in text  # the paper's, beside ours
    assert "swept" in text
    assert "a.png" not in text
    assert "examples/1/mixture" in text
    for name in ("sdr", "f1", "accuracy", "precision", "recall", "sdr/vocals", "f1/other"):
        assert f'"validation/{name}"' in text


@pytest.mark.slow
def test_without_an_account_the_local_page_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "runs")
    for variables in ({}, {"WANDB_MODE": "offline", "WANDB_API_KEY": "k" * 40}):
        said = report(tmp_path / "runs", tmp_path / "output", **variables)
        assert said.returncode == 2
        assert "no W&B account is set up on this machine" in said.stderr
        assert str(tmp_path / "output" / "band-smoke" / "report.html") in said.stderr
        assert said.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_server_that_fails_is_named_with_the_local_page(tmp_path: Path) -> None:
    fill(tmp_path / "runs")
    with served(lambda text: None) as url:
        said = report(
            tmp_path / "runs",
            tmp_path,
            WANDB_BASE_URL=url,
            WANDB_API_KEY="k" * 40,
            WANDB_ENTITY="me",
        )
    assert said.returncode == 2
    assert "W&B did not take the dashboard" in said.stderr
    assert "Traceback" not in said.stderr
