"""What fails a stage from outside: disks, memory, deleted inputs. The rest goes on, each failure is
one line, and the next run ends as an unbroken one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from experiments.engine.causes import words_of_end, words_of_error
from experiments.store import Store
from tests.faulty_stages import SAMPLES, Counted, faulty

ROOT = Path(__file__).parent.parent
RUN = "import sys; from tests.faulty_stages import run; run(sys.argv[1])"
FAILING = {"full", "file", "limited", "killed", "unknown"}


@pytest.fixture
def short() -> Iterator[Path]:
    """An empty folder of a short path, since sockets have no long ones."""
    with TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def run_faulty(place: Path, temporary: Path) -> tuple[dict[str, str], str]:
    """Why stages failed, by their names, and what the runner said."""
    environment = {**os.environ, "WANDB_MODE": "disabled", "TMPDIR": str(temporary)}
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(place)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t") for line in ran.stdout.splitlines()), ran.stderr


def made(place: Path, stage: Counted) -> int:
    return len((place / f"{stage.name}.computed").read_text())


@pytest.mark.slow
def test_what_fails_from_outside_fails_alone_and_the_next_run_mends_it(
    tmp_path: Path, short: Path
) -> None:
    stages = faulty(str(tmp_path))
    store = Store(tmp_path / "runs")
    full, file = (store.folder(stages[name]) for name in ("full", "file"))
    full.mkdir(parents=True)
    file.write_text("in the way")
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(full)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    try:
        failures, said = run_faulty(tmp_path, short)
    finally:
        if mounted:
            subprocess.run(["umount", str(full)], check=True)
    assert "Traceback" not in said
    assert set(failures) == FAILING - ({"full"} if not mounted else set())
    if mounted:
        assert "No space left on device; free space" in failures["full"]
    assert failures["file"].startswith(f"{file}")
    assert "File too large; free space" in failures["limited"]
    assert "memory runs out" in failures["killed"]
    assert failures["unknown"].startswith("KeyError: ")
    log = store.folder(stages["unknown"]) / "error.log"
    assert failures["unknown"].endswith(f"(see {log})")
    assert "Traceback" in log.read_text()
    # What was deleted meanwhile is made again, and so is what failed without it.
    assert {name: made(tmp_path, stages[name]) for name in ("stolen", "lost", "robbed")} == {
        "stolen": 2,
        "lost": 2,
        "robbed": 2,
    }
    assert said.count("has disappeared; it is made again") == 2
    # A stage that says nothing is named all the same.
    assert re.search(r"^ +silent: running for \d+ s$", said, re.MULTILINE)
    assert list(short.iterdir()) == []

    (tmp_path / "mended").touch()
    file.unlink()
    assert run_faulty(tmp_path, short)[0] == {}
    for stage in stages.values():
        found = (store.finished(stage) / "samples").read_bytes()
        assert found == bytes(range(256)) * (SAMPLES // 256)
    assert list(short.iterdir()) == []


HOLD = (
    "import os, signal, tempfile; from selfrefine.files.temporary_folder import *;"
    "use_own_temporary_folder(); use_own_temporary_folder(); tempfile.mkdtemp();"
)


def hold(place: Path, then: str) -> int:
    environment = {**os.environ, "TMPDIR": str(place)}
    return subprocess.run(
        [sys.executable, "-c", HOLD + then], cwd=ROOT, env=environment, check=False
    ).returncode


def test_temporary_folders_end_with_their_process_or_after_a_kill_with_the_next(
    short: Path,
) -> None:
    assert hold(short, "") == 0
    assert list(short.iterdir()) == []
    assert hold(short, "os.kill(os.getpid(), signal.SIGKILL)") == -signal.SIGKILL
    assert len(list(short.iterdir())) == 1
    # While it lives, nobody takes the folder away, a process that it forks included.
    code = "import subprocess, sys; os.fork() or sys.exit(); os.wait();"
    code += "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True) if 0 else None;"
    code += "assert os.path.isdir(tempfile.gettempdir())"
    assert hold(short, code) == 0
    assert list(short.iterdir()) == []


def test_two_processes_keep_their_temporary_folders_apart(short: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(short)}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print(flush=True); input()"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout is not None
    first.stdout.readline()
    assert hold(short, "") == 0
    assert len(list(short.iterdir())) == 1
    first.communicate(b"\n")
    assert first.returncode == 0
    assert list(short.iterdir()) == []


def test_a_worker_killed_by_nobody_says_that_memory_ran_out() -> None:
    assert "--workers" in words_of_end(-signal.SIGKILL)
    assert "SELFREFINE_ITEMS_AT_ONCE" in words_of_end(-signal.SIGKILL)
    assert words_of_end(-signal.SIGSEGV) == "its process ended by signal 11"
    assert words_of_end(3) == "its process ended by exit code 3"


def test_an_error_is_one_line_also_where_its_log_cannot_be_written(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    said = words_of_error(ValueError("first\nsecond"), gone)
    assert said.startswith(f"{gone}: No such file or directory; ")
    assert said.endswith("(ValueError: first)")
    read_only = OSError(30, "Read-only file system", "/runs/x")
    assert words_of_error(read_only, tmp_path).startswith("/runs/x: Read-only file system; ")
    assert list(tmp_path.iterdir()) == []
