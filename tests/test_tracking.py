"""W&B: the offline files are right, and nothing leaves the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.profiles import PROFILES
from experiments.stages.folder_songs import FolderSongs
from experiments.stages.probabilities import Probabilities
from experiments.stages.relabelled import Relabelled
from experiments.stages.stage import Stage, closure, describe, expression, identity, inputs, kind
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.targets import resolved_rows
from experiments.tracking.lineage import label_texts
from experiments.tracking.run import STEPS_BETWEEN_LOGS
from experiments.tracking.stage import run_id
from selfrefine.classes import CLASSES
from tests.tracked_stages import MEASURES, STEPS, all_stages, fill
from tests.wandb_file import by_kind, history, items
from tests.wandb_process import BLOCKED, ROOT, Listener, environment, file_of, one


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A store whose stages were tracked offline, and what the process wrote to stderr. Every way
    out of the machine is watched: Python's sockets are blocked, and a listener takes the place of
    each proxy and of W&B's server."""
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
        assert config["iteration"] == stage.refinements()
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
    from selfrefine.refining.probabilities import StemProbability, write_probabilities

    store = fill(tmp_path)
    of = one("Relabelled")
    assert isinstance(of, Relabelled)
    if not known:
        songs = FolderSongs("sdxdb23", "train", False, 16000, "abc")
        of = Relabelled(
            Probabilities(Trimmed(songs), of.probabilities.classifier), (0.5, 0.5, 0.5, 0.5)
        )
        folder = store.folder(of.probabilities)
        folder.mkdir(parents=True)
        stems = [
            StemProbability("a", "1", ("bass",), 9.0, (0.9, 0.1, 0.1, 0.1)),
            StemProbability("a", "2", ("bass",), 9.0, (0.1, 0.9, 0.1, 0.1)),
            StemProbability("b", "1", ("bass",), 9.0, (0.2, 0.8, 0.1, 0.1)),
            StemProbability("b", "2", ("vocals", "other"), 9.0, (0.1, 0.1, 0.1, 0.1)),
        ]
        write_probabilities(folder / "probabilities.csv", stems)
        store.finish(of.probabilities, {"stems": len(stems)}, {"seconds": 1.0})
    head, *counts = label_texts(of, store)["confusion.csv"].splitlines()
    if known:
        assert head == "true,label,stems"
        assert all(line.startswith("vocals,") for line in counts)
    else:
        assert head == "given,label,stems"
        assert counts == ["bass,bass,2", "bass,vocals,1", "vocals+other,,1"]


def test_the_iteration_is_the_number_of_classifiers_in_a_row() -> None:
    rows = resolved_rows(["table2", "table4", "table5"], PROFILES["smoke"], "band")
    found = {label: stage.refinements() for label, (_, stage) in rows.items()}
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
    names = {describe(stage): stage.refinements() for stage in behind}
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
