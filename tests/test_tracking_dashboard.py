"""The W&B report of the results, built against a server of the test's own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.profiles import PROFILES
from experiments.registry import TABLES
from experiments.stages.classifier import Classifier
from experiments.stages.stage import closure
from experiments.store import Store
from experiments.targets import resolved_rows
from selfrefine.classes import CLASSES
from tests.tracked_stages import fill
from tests.wandb_file import by_kind, history, items
from tests.wandb_process import environment, served

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
    """A server that knows one user and keeps the reports that it gets."""

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
        page = tmp_path / "output" / "band-smoke" / "report.html"
        assert said.stderr.endswith(f": {page}, once `make report` has written it\n")
        assert said.stderr.count("\n") == 1
    page.parent.mkdir(parents=True)
    page.touch()
    assert report(tmp_path / "runs", tmp_path / "output").stderr.endswith(f": {page}\n")


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


@pytest.mark.slow
def test_every_panel_draws_what_the_runs_beside_it_log(smoke: Path, tmp_path: Path) -> None:
    """The runs are real: a study with its trial, and every row."""
    store = shutil.copytree(smoke, tmp_path / "runs")
    # The trial trains the classifier that it refines by.
    rows = resolved_rows(["table2/x-umx-psi-refined"], PROFILES["smoke"], "band")
    for stage in closure([stage for _, stage in rows.values()]):
        if isinstance(stage, Classifier):
            shutil.rmtree(Store(store).folder(stage))
    words = ["sweeps", "run", "threshold-sdr", "--trials", "1", "--profile", "smoke"]
    ran = subprocess.run(
        [sys.executable, "-m", *words, "--store", str(store)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    server = Server()
    with served(server.answer) as url:
        account = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "k" * 40, "WANDB_ENTITY": "me"}
        made = report(store, tmp_path / "output", **account)
        assert made.returncode == 0, made.stderr
    runs = [Run(path) for path in store.glob("wandb/wandb/*/*.wandb")]
    grids = [*grids_of(json.loads(str(server.saved[0]["spec"])))]
    for tags, kinds, panels in grids:
        beside = [run for run in runs if tags <= run.tags and run.kind in kinds]
        for keys in map(keys_of, panels):
            for key in keys:
                assert any(key in run.keys for run in beside), (key, tags, kinds)
            if panels[0]["viewType"] == "Scatter Plot":
                # An axis without the other is no point.
                assert any(keys <= run.keys for run in beside), (keys, tags)
    by_iteration = [
        (tags, {key for panel in panels for key in keys_of(panel)})
        for tags, _, panels in grids
        if panels[0]["viewType"] == "Scatter Plot"
    ]
    (table4, recognised), (table5, separated) = by_iteration
    assert ("table4" in table4, "table5" in table5) == (True, True)
    assert {"config:iteration", "multi/f1/avg", "single/accuracy/avg"} <= recognised
    assert {"config:iteration", "average", *(f"sdr/{name}" for name in CLASSES)} <= separated
    assert any({"value", "best_value"} <= run.keys and "sweep" in run.tags for run in runs)


class Run:
    """An offline run's tags, kind and every key that W&B can draw."""

    def __init__(self, path: Path) -> None:
        kinds = by_kind(path)
        (run,) = kinds["run"]
        self.tags, self.kind = set(run.tags), run.job_type
        found = {key for step in history(path) for key in step}
        for record in kinds.get("summary", []):
            found |= {key for key, value in items(record.update).items() if value is not None}
        # W&B's media and tables are nested values under their names.
        found |= {key.rpartition("/")[0] for key in found}
        config = items(run.config.update)
        self.keys = found | {f"config:{key}" for key, held in config.items() if held is not None}


def grids_of(spec: dict[str, Any]) -> Iterator[tuple[set[str], set[str], list[dict[str, Any]]]]:
    """For each panel grid, the tags and job types of the runs that it shows, and its panels."""
    for block in spec["blocks"]:
        if block["type"] == "panel-grid":
            (runs,) = block["metadata"]["runSets"]
            chosen: dict[str, set[str]] = {"tags": set(), "jobType": set()}
            for each in runs["filters"]["filters"]:
                assert each["op"] == "IN"
                chosen[each["key"]["name"]] |= set(each["value"])
            panels = block["metadata"]["panelBankSectionConfig"]["panels"]
            yield chosen["tags"], chosen["jobType"], panels


def keys_of(panel: dict[str, Any]) -> set[str]:
    """The keys that a panel draws: of the summary or history, or "config:" and a config key."""
    config = panel["config"]
    match panel["viewType"]:
        case "Bar Chart":
            return set(config["metrics"])
        case "Run History Line Plot":
            assert config["xAxis"] == "_step"
            return set(config["metrics"])
        case "Scatter Plot":
            axes = {config["xAxis"], config["yAxis"]}
            return {axis.removeprefix("summary:").removesuffix(".value") for axis in axes}
        case "Parameter Importance":
            return {config["targetKey"]}
        case "Media Browser":
            return set(config["mediaKeys"])
        case "Weave":
            return {config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]}
    assert panel["viewType"] == "Run Comparer"
    return set()
