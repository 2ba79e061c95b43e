"""The command for a day on a GPU: its steps end in time, and finished ones are not repeated."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_day
from benchmarks.gpu_day import Step, run_day, steps_of, write_output
from benchmarks.parts import BENCHMARKS
from experiments.__main__ import parser as experiments_parser

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def counting(name: str, folder: Path, code: int = 0, then: str = "pass") -> Step:
    """A step that records each of its runs, then executes `then` and exits with `code`."""
    module = f"step_{name}"
    (folder / f"{module}.py").write_text(
        f"open({str(folder / name)!r}, 'a').write('x')\n"
        f"import os, sys, time\nprint('pid', os.getpid(), flush=True)\n{then}\nsys.exit({code})\n"
    )
    return Step(name, 60, (module,))


def runs(name: str, folder: Path) -> int:
    path = folder / name
    return len(path.read_text()) if path.exists() else 0


def test_what_is_done_is_not_done_again_and_what_failed_is(tmp_path: Path) -> None:
    steps = [counting("good", tmp_path), counting("bad", tmp_path, 3), counting("last", tmp_path)]
    found = run_day(steps, tmp_path / "day", "c1", None)
    assert {name: outcome.code for name, outcome in found.items()} == {
        "good": 0, "bad": 3, "last": 0,
    }  # fmt: skip
    assert run_day(steps, tmp_path / "day", "c1", None)["bad"].code == 3
    assert [runs(step.name, tmp_path) for step in steps] == [1, 2, 1]
    # Other code is another day.
    run_day(steps, tmp_path / "day", "c2", None)
    assert [runs(step.name, tmp_path) for step in steps] == [2, 3, 2]


def test_a_step_ends_with_its_time_and_with_all_that_it_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = "import subprocess; p = subprocess.Popen(['sleep', '600']); print('pid', p.pid)"
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    step = counting("slow", tmp_path, then=f"{stubborn}\n{child}\nsys.stdout.flush()\np.wait()")
    short = Step(step.name, 2.0, step.words)
    gpu_day.GRACE_SECONDS, kept = 0.5, gpu_day.GRACE_SECONDS
    try:
        found = run_day([short], tmp_path / "day", "c1", None)
    finally:
        gpu_day.GRACE_SECONDS = kept
    assert found["slow"].code is None
    assert "unended slow" in capsys.readouterr().out
    pids = [int(line.split()[1]) for line in found["slow"].tail.splitlines() if "pid" in line]
    assert len(pids) == 2
    for pid in pids:
        assert ended(pid), pid


def ended(pid: int) -> bool:
    """Whether a process has ended: it is gone, or still listed as a zombie."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z":
                os.sched_yield()
                continue
        return True
    return False


def test_a_call_begins_only_what_its_minutes_hold_and_the_next_goes_on(tmp_path: Path) -> None:
    quick, large = counting("quick", tmp_path), counting("large", tmp_path)
    resumable = counting("resumable", tmp_path)
    steps = [
        Step("quick", 60, quick.words),
        Step("large", 10_000, large.words),
        Step("resumable", 10_000, resumable.words, goes_on=True),
    ]
    run_day(steps, tmp_path / "day", "c1", 200.0)
    assert [runs(step.name, tmp_path) for step in steps] == [1, 0, 1]
    # Alone it begins, though the call is shorter than what it may take.
    run_day(steps, tmp_path / "day", "c1", 200.0)
    assert [runs(step.name, tmp_path) for step in steps] == [1, 1, 1]


def test_a_step_that_fails_each_time_leaves_the_others_their_time(tmp_path: Path) -> None:
    failing, large = counting("failing", tmp_path, 1), counting("large", tmp_path)
    steps = [Step("failing", 150, failing.words), Step("large", 150, large.words)]
    run_day(steps, tmp_path / "day", "c1", 155.0)
    run_day(steps, tmp_path / "day", "c1", 155.0)
    assert [runs(step.name, tmp_path) for step in steps] == [1, 1]


def test_a_step_whose_packages_are_missing_is_named_and_keeps_no_other_from_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needy, plain = counting("needy", tmp_path), counting("plain", tmp_path)
    steps = [Step("needy", 60, needy.words, needs=("json", "no_such_package")), plain]
    found = run_day(steps, tmp_path / "day", "c1", None)
    assert list(found) == ["plain"]
    assert "skipped needy: install no_such_package" in capsys.readouterr().out


def test_the_day_holds_tests_every_benchmark_and_lite_with_its_cheap_rows_first(
    tmp_path: Path,
) -> None:
    steps = steps_of(tmp_path, tmp_path / "out")
    names = [step.name for step in steps]
    assert names[:2] == ["tests", "tests of trainings"]
    assert [name for name in names if name.startswith("benchmark ")] == [
        f"benchmark {name}" for name in BENCHMARKS
    ]
    assert names.index("lite: classifiers and X-UMX") < names.index("lite: Demucs")
    for step in steps:
        assert step.goes_on or step.seconds <= 500, step.name
        if step.words[0] == "experiments":
            experiments_parser().parse_args(step.words[1:])
    collected = {word for step in steps for word in step.words if word.startswith("tests/")}
    assert all((ROOT / path).exists() for path in collected)


def test_the_output_is_a_few_small_files_that_say_what_was_and_was_not_run(
    tmp_path: Path,
) -> None:
    store, output = tmp_path / "store", tmp_path / "out"
    (store / "benchmarks").mkdir(parents=True)
    (store / "benchmarks" / "gpu-paper.md").write_text("# Speed against peers\n")
    steps = [counting("tests", tmp_path), counting("bad", tmp_path, 3), counting("later", tmp_path)]
    outcomes = run_day(steps[:2], tmp_path / "day", "c1", None)
    write_output(steps, outcomes, store, output, ("device: X", "commit c1"))
    summary = (output / "summary.md").read_text()
    assert "- device: X\n- commit c1\n" in summary
    assert "| tests | done |" in summary
    assert "| bad | FAILED |" in summary
    assert "| later | not run | - | 60 |" in summary
    assert "==== bad: FAILED, commit c1" in (output / "log.txt").read_text()
    assert (output / "gpu-paper.md").exists()
    assert len(list(output.iterdir())) == 3
    assert json.loads((tmp_path / "day" / "outcomes.json").read_text())["bad"]["code"] == 3


def test_without_a_gpu_it_says_so_and_without_an_environment_it_takes_python3(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_day", "--output", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["error: torch finds no GPU here"]
    assert "MISSING" not in ran.stdout
    assert not (tmp_path / "out").exists()
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    made = subprocess.run(
        ["make", "-n", "gpu-day", "MINUTES=9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\npython3 -m benchmarks.gpu_day --minutes 9" in "\n" + made.stdout


def test_the_steps_are_listed_by_a_python_without_any_package() -> None:
    command = [sys.executable, "-S", "-m", "benchmarks.gpu_day", "--list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    assert "plan of the paper" in listed.stdout
