"""The runner end to end, as a user starts it: the whole chain, kills, failures, and bad input."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from experiments.data import bind
from experiments.profiles import PROFILES
from experiments.registry import TABLE2
from experiments.stages.classifier import Classifier
from experiments.stages.data_set import VALIDATION
from experiments.stages.relabelled import Relabelled
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, describe, identity
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.targets import resolved_rows
from experiments.tracking.stage import run_id
from experiments.trainings.validation import FILE, read_validation
from reports.sheets import GAP
from tests.waiting_stages import meeting
from tests.wandb_file import history

ROOT = Path(__file__).parent.parent
OFFLINE = {**os.environ, "WANDB_MODE": "disabled", "SELFREFINE_CHECKPOINT_SECONDS": "0"}


def command(module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**OFFLINE, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def smoke_stages() -> list[Stage]:
    smoke = PROFILES["smoke"]
    return closure([stage for _, stage in resolved_rows(["all"], smoke, "band").values()])


@pytest.mark.slow
def test_the_whole_chain_ends_in_a_table_of_fourteen_rows(smoke: Path, tmp_path: Path) -> None:
    output = str(tmp_path)
    made = command(
        "reports", "table2", "--profile", "smoke", "--store", str(smoke), "--output", output
    )
    assert made.returncode == 0, made.stderr
    with (tmp_path / "band-smoke" / "table2.csv").open() as file:
        cells = list(csv.DictReader(file))
    labels = list(dict.fromkeys(cell["row"] for cell in cells))
    assert len(labels) == 14
    for known, label in zip(TABLE2.rows, labels, strict=True):
        row = {cell["column"]: cell for cell in cells if cell["row"] == label}
        assert (row["avg"]["network"], row["avg"]["training_data"]) == known.labels
        classes = [float(row[name]["ours"]) for name in ("vocals", "bass", "drums", "other")]
        assert float(row["avg"]["ours"]) == pytest.approx(sum(classes) / 4, abs=1e-3)
        assert row["avg"]["paper"] == (f"{known.paper['avg']:.4f}" if known.paper else "")
    text = (tmp_path / "band-smoke" / "table2.md").read_text()
    assert "its numbers mean nothing" in text
    assert "threshold 0.45 (paper 0.9)" in text
    assert "w/ Psi_refined" in made.stdout


@pytest.mark.slow
def test_the_whole_paper_ends_in_one_page_with_every_cell_claim_and_player(
    smoke: Path, tmp_path: Path
) -> None:
    words = ["--profile", "smoke", "--store", str(smoke), "--output", str(tmp_path)]
    made = command("reports", "all", *words)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "band-smoke"
    for name in ("table1", "table2", "table3", "table4", "table5"):
        with (folder / f"{name}.csv").open() as file:
            cells = [row for row in csv.DictReader(file) if row["column"] != GAP]
        assert cells
        assert all(math.isfinite(float(row["ours"])) for row in cells)
    for name in ("figure4", "refining", "tracks", "labels"):
        assert (folder / f"{name}.svg").exists()
    assert "not run" not in (folder / "claims.md").read_text()
    page = (folder / "report.html").read_text()
    assert "not run" not in page
    assert page.count("<audio") == 2 * (1 + 4 * 4)


@pytest.mark.slow
def test_two_seeds_share_the_data_and_train_apart(smoke: Path, tmp_path: Path) -> None:
    copied = tmp_path / "runs"
    shutil.copytree(smoke, copied)
    words = ["table5/refined-0", "--profile", "smoke", "--store", str(copied)]
    ran = command("experiments", "run", *words, "--seeds", "2")
    assert ran.returncode == 0, ran.stderr
    started = [line.split("  ")[-1] for line in ran.stderr.splitlines() if line.startswith("start")]
    assert started == ["X-UMX on noisy (seed 1)", "SDR of X-UMX on noisy (seed 1)"]
    output = ["--profile", "smoke", "--store", str(copied), "--output", str(tmp_path)]
    assert command("reports", "table5", *output).returncode == 0
    with (tmp_path / "band-smoke" / "table5.csv").open() as file:
        cells = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    assert cells["table5/refined-0", "avg"]["seeds"] == "2"
    assert cells["table5/refined-0", "avg"]["seeds_low"] != ""
    assert cells["table5/refined-1", "avg"]["seeds"] == "1"


@pytest.mark.slow
def test_a_second_run_computes_nothing(smoke: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.glob("*/*/done.json")}
    again = command("experiments", "run", "all", "--profile", "smoke", "--store", str(smoke))
    assert again.returncode == 0
    assert "start" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in smoke.glob("*/*/done.json")} == before


@pytest.mark.slow
def test_every_stage_is_recorded_with_its_origin_and_tracked_offline(smoke: Path) -> None:
    store = Store(smoke)
    for stage in smoke_stages():
        run = store.record(stage)["run"]
        assert {"commit", "device", "seconds", "started", "torch"} <= set(run)
    runs = list((smoke / "wandb").glob("**/*.wandb"))
    assert len(runs) == len(smoke_stages())


@pytest.mark.slow
def test_every_training_is_watched_on_validation_songs(smoke: Path) -> None:
    store = Store(smoke)
    trained = [stage for stage in smoke_stages() if isinstance(stage, Classifier | Separator)]
    assert len(trained) == 6 + 21
    for stage in trained:
        (path,) = smoke.glob(f"wandb/wandb/*-{run_id(stage)}/*.wandb")
        measures = ["f1", "accuracy"] if isinstance(stage, Classifier) else ["sdr"]
        names = [f"{m}{c}" for m in measures for c in ("", "/vocals", "/bass", "/drums", "/other")]
        logged = [step for step in history(path) if "validation/" + measures[0] in step]
        kept = read_validation(store.folder(stage))
        assert logged[-1]["_step"] == kept[-1]["step"] == stage.settings.steps
        assert [step["_step"] for step in logged] == [line["step"] for line in kept]
        for step, line in zip(logged, kept, strict=True):
            assert [step[f"validation/{name}"] for name in names] == pytest.approx(
                [line[name] for name in names], rel=1e-4
            )


@pytest.mark.slow
def test_validation_songs_that_cannot_be_read_fail_no_training(smoke: Path, tmp_path: Path) -> None:
    copied = tmp_path / "runs"
    shutil.copytree(smoke, copied)
    store = Store(copied)
    songs = bind(VALIDATION, "band", PROFILES["smoke"].data)
    retrained = [s for s in smoke_stages() if describe(s) in ("Psi_noisy", "X-UMX on noisy")]
    for stage in (Trimmed(songs), *retrained):
        (store.folder(stage) / "done.json").unlink()
        (store.folder(stage) / FILE).unlink(missing_ok=True)
    (store.folder(songs) / "index.json").write_text("{")
    words = ["table1/noisy", "table2/x-umx-noisy", "--profile", "smoke", "--store", str(copied)]
    planned = command("experiments", "plan", *words, WANDB_MODE="offline").stdout
    assert "to run" in next(x for x in planned.splitlines() if identity(Trimmed(songs)) in x)
    assert identity(Trimmed(songs)) not in command("experiments", "plan", *words).stdout
    ran = command("experiments", "run", *words, WANDB_MODE="offline")
    assert ran.returncode == 0, ran.stderr
    assert f"note   without {describe(Trimmed(songs))}, trainings go unwatched" in ran.stderr
    said = [line for line in ran.stderr.splitlines() if "not watched on validation songs" in line]
    assert len(said) == 1
    for stage in retrained:
        assert store.done(stage)
        assert read_validation(store.folder(stage)) == []
        assert (store.folder(stage) / "model.pt").read_bytes() == (
            Store(smoke).folder(stage) / "model.pt"
        ).read_bytes()


@pytest.mark.slow
def test_the_plan_says_what_is_done_and_show_prints_a_result(smoke: Path) -> None:
    plan = command("experiments", "plan", "all", "--profile", "smoke", "--store", str(smoke))
    assert f"{len(smoke_stages())} stages, {len(smoke_stages())} done" in plan.stdout
    words = ["show", "table2/x-umx-noisy", "--profile", "smoke", "--store", str(smoke)]
    shown = command("experiments", *words).stdout
    assert '"sdr"' in shown
    assert '"XUMX"' in shown


@pytest.mark.slow
def test_refined_labels_carry_their_truth_and_counts(smoke: Path) -> None:
    for stage in smoke_stages():
        if isinstance(stage, Relabelled):
            result = Store(smoke).result(stage)
            assert result["single"] + result["multi"] + result["dropped"] > 0
            assert 0 <= result["accuracy"]["f1"] <= 1


@pytest.mark.slow
def test_a_killed_stage_resumes_to_the_same_weights(smoke: Path, tmp_path: Path) -> None:
    """After SIGKILL in the middle of a training, the same command ends as an unbroken run does."""
    stage = next(
        s for s in smoke_stages() if isinstance(s, Separator) and describe(s) == "X-UMX on noisy"
    )
    copied = tmp_path / "runs"
    shutil.copytree(smoke, copied)
    store = Store(copied)
    folder = store.folder(stage)
    whole = (folder / "model.pt").read_bytes()
    before = json.loads((folder / "done.json").read_text())["result"]
    for name in ("model.pt", "done.json"):
        (folder / name).unlink()
    words = ["-m", "experiments", "run", "table2/x-umx-noisy", "--profile", "smoke"]
    runner = subprocess.Popen(
        [sys.executable, *words, "--store", str(copied), "--workers", "1"],
        cwd=ROOT,
        env=OFFLINE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (folder / "checkpoint.pt").exists():
        assert runner.poll() is None
        time.sleep(0.01)
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()
    assert not store.done(stage)
    again = command("experiments", *words[2:], "--store", str(copied), "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert (folder / "model.pt").read_bytes() == whole
    record = store.record(stage)
    result = record["result"]
    assert (result["loss"], result["steps"]) == (before["loss"], before["steps"])
    trained = result["step_seconds"] * result["steps"]
    assert 0 < result["resumed_at_seconds"] <= trained <= record["run"]["seconds"]


@pytest.mark.slow
def test_a_failing_stage_leaves_the_others_running_and_names_the_command(
    smoke: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "runs"
    shutil.copytree(smoke, copied)
    store = Store(copied)
    broken, fine = [
        s
        for s in smoke_stages()
        if isinstance(s, Separator) and describe(s) in ("X-UMX on noisy", "X-UMX on clean")
    ]
    for stage in (broken, fine):
        (store.folder(stage) / "done.json").unlink()
        (store.folder(stage) / "model.pt").unlink()
    (store.folder(broken.trained_on) / "index.json").write_text("{")
    ran = command(
        "experiments", "run", "table2/x-umx-*", "--profile", "smoke", "--store", str(copied)
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert f"FAILED {identity(broken.trained_on)}" in ran.stderr
    assert f"delete {store.folder(broken.trained_on)} and run again" in ran.stderr
    assert not store.done(broken)
    assert "To try again from the last checkpoints: python -m experiments run" in ran.stderr
    assert store.done(fine)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "table9"], "no target called 'table9'; choose a table (table1"),
        (["run", "table2", "--profile", "huge"], "choose one of smoke, mini, lite, paper"),
        (["run", "table2", "--data", "mp3s"], "choose one of band, musdb, multitrack"),
        (["plan", "table2", "--data", "musdb"], "MUSDB_PATH is not set"),
    ],
)
def test_bad_words_get_one_line_and_exit_code_2(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(OFFLINE, "MUSDB_PATH", raising=False)
    ran = command("experiments", *words, "--store", str(tmp_path / "runs"))
    assert ran.returncode == 2
    assert says in ran.stderr
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.count("\n") == 1


KILLED_FOR_MEMORY = (
    "its process was killed (signal 9), which the system does when memory runs out; run fewer "
    "stages at once (--workers), or set SELFREFINE_ITEMS_AT_ONCE lower, and run again"
)
RunnerOf = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def runner_of(tmp_path: Path) -> Iterator[RunnerOf]:
    """A function that starts a runner, as the leader of a session. The runner finds a GPU and
    computes the stages that `tests.waiting_stages` has under a name. All processes that a test
    leaves are killed."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    hidden = ("SELFREFINE_DEVICE", "CUDA_VISIBLE_DEVICES")
    environment = {name: value for name, value in OFFLINE.items() if name not in hidden}
    script = "import sys; from tests.waiting_stages import run; run(*sys.argv[1:])"
    leaders = []

    def begin(stages: str) -> subprocess.Popen[str]:
        leaders.append(
            subprocess.Popen(
                [sys.executable, "-c", script, stages, str(tmp_path)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return leaders[-1]

    yield begin
    for leader in leaders:
        for process in session(leader.pid):
            process.kill()
        leader.communicate()


def session(leader: int) -> list[psutil.Process]:
    """The processes of a session that have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


def left_of_session(leader: int) -> list[psutil.Process]:
    """The processes of a session that do not end soon after its leader. The server that workers
    fork from ends last."""
    deadline = time.monotonic() + 60
    while session(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    return session(leader)


@pytest.mark.slow
def test_a_stage_without_gpu_runs_beside_one_on_the_gpu_and_leaves_it_alone(
    runner_of: RunnerOf, tmp_path: Path
) -> None:
    runner = runner_of("meeting")
    printed, said = runner.communicate(timeout=300)
    assert (runner.returncode, printed) == (0, ""), said
    on_gpu, beside = (Store(tmp_path / "runs").result(each) for each in meeting(str(tmp_path)))
    assert on_gpu["device"] is None
    assert beside["device"] == "cpu"
    cores = len(os.sched_getaffinity(0))
    assert on_gpu["granted"] == on_gpu["threads"] == (2 if cores >= 4 else 1)
    assert beside["granted"] == beside["threads"] == 1
    assert left_of_session(runner.pid) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "end",
    ["ctrl-c", "sigkill", "worker-killed"],
)
def test_however_a_run_ends_no_worker_and_no_child_of_one_is_left(
    end: str, runner_of: RunnerOf, tmp_path: Path
) -> None:
    runner = runner_of("parents")
    while not (tmp_path / "worker").exists():
        assert runner.poll() is None
        time.sleep(0.01)
    worker = int((tmp_path / "worker").read_text())
    match end:
        case "ctrl-c":  # which a terminal sends to the group in front
            os.killpg(runner.pid, signal.SIGINT)
        case "sigkill":
            runner.kill()
        case "worker-killed":
            os.kill(worker, signal.SIGKILL)
    # Read after the end: a process that is left would keep the output open.
    code = runner.wait(timeout=60)
    assert left_of_session(runner.pid) == []
    printed, said = runner.communicate()
    expected: dict[str, tuple[int, str]] = {
        "ctrl-c": (130, ""),
        "sigkill": (-signal.SIGKILL, ""),
        "worker-killed": (0, KILLED_FOR_MEMORY + "\n"),
    }
    assert (code, printed) == expected[end], said
