"""Several processes play songs of the embedded band: they make the same bytes, and none is left."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from selfrefine.band import Track, ensemble, play_song, play_songs
from selfrefine.commands import synthesize
from selfrefine.errors import InputError
from tests.cli_songs import ask, tree

ROOT = Path(__file__).parent.parent
RATE = 8000
LONG = 600.0
"""The length in s of songs that are still being played when a test ends them."""

FROM_A_WORKER = f"""
import hashlib, multiprocessing, psutil
from selfrefine.band import play_songs

def work():
    for song in play_songs("b", 1, (0, 1), 1.0, {RATE}, 2):
        digest = hashlib.sha256(b"".join(track.audio.tobytes() for track in song)).hexdigest()
        print(len(psutil.Process().children()), digest, flush=True)

if __name__ == "__main__":
    worker = multiprocessing.get_context("forkserver").Process(target=work, daemon=True)
    worker.start()
    worker.join()
"""

PLAYS_LONG_SONGS = f"""
from selfrefine.band import play_songs
list(play_songs("a", 0, range(4), {LONG}, {RATE}, 2))
"""


def digest(tracks: list[Track]) -> str:
    return hashlib.sha256(b"".join(track.audio.tobytes() for track in tracks)).hexdigest()


def named(tracks: list[Track]) -> tuple[str, list[tuple[str, str, tuple[int, ...]]]]:
    return digest(tracks), [(track.name, track.stem, track.audio.shape) for track in tracks]


def children(process: psutil.Process | None = None) -> list[psutil.Process]:
    """The processes that play for `process`, or for this one."""
    found = []
    for each in (process or psutil.Process()).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ensemble import serve" in " ".join(each.cmdline()):
                found.append(each)
    return found


def comes_true(condition: Callable[[], bool]) -> bool:
    """Whether the condition becomes true. Waits far longer than that should take."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, of which killed processes leave some. It is not `tmp_path`,
    because espeak reads no voice whose path is longer than 59 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_plays_the_same_bytes_in_the_order_asked(processes: int) -> None:
    indices = (4, 0, 3, 1)
    expected = [named(play_song("a", 7, index, 1.0, RATE)) for index in indices]
    played = [named(song) for song in play_songs("a", 7, indices, 1.0, RATE, processes)]
    assert played == expected
    assert children() == []


def test_one_song_is_played_here_and_none_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "engage", None)  # a process would need it
    (song,) = play_songs("b", 2, [5], 1.0, 16000, 3)
    assert digest(song) == digest(play_song("b", 2, 5, 1.0, 16000))
    assert list(play_songs("a", 0, [], 1.0, RATE, 3)) == []


def test_songs_keep_their_order_when_one_is_late() -> None:
    expected = [digest(play_song("a", 0, index, 1.0, RATE)) for index in range(5)]
    songs = play_songs("a", 0, range(5), 1.0, RATE, 2)
    played = [digest(next(songs))]
    late = children()[0]
    late.suspend()
    threading.Timer(1.5, late.resume).start()
    assert played + [digest(song) for song in songs] == expected


def test_no_more_songs_are_begun_than_processes_and_one_are_ahead() -> None:
    """The performers are threads here, which count the songs that they are asked for."""
    begun: list[int] = []

    def perform(pipe: Connection) -> None:
        while song := pipe.recv():
            begun.append(song[2])
            pipe.send(None)

    threads = []
    performers = []
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    for _ in range(3):
        ours, theirs = multiprocessing.Pipe()
        threads.append(threading.Thread(target=perform, args=(theirs,)))
        performers.append(ensemble.Performer(nobody, ours))
        threads[-1].start()
    songs = [("a", 0, index, 1.0, RATE) for index in range(10)]
    for taken, _ in enumerate(ensemble.in_order(performers, songs), start=1):
        assert len(begun) <= taken + 3
    assert sorted(begun) == list(range(10))
    for performer in performers:
        performer.pipe.send(None)
    for thread in threads:
        thread.join()


def test_processes_have_one_thread_no_torch_and_leave_the_environment_alone() -> None:
    before = dict(os.environ)
    assert "torch" in sys.modules
    songs = play_songs("a", 0, range(6), 1.0, RATE, 2)
    # Each has played one of these.
    next(songs)
    next(songs)
    assert dict(os.environ) == before
    found = children()
    assert len(found) == 2
    for child in found:
        given = child.environ()
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            assert given[name] == "1"
        # The one that plays and the one that watches the caller.
        assert child.num_threads() == 2
        loaded = " ".join(each.path for each in child.memory_maps())
        assert "numpy" in loaded
        assert "torch" not in loaded
    songs.close()


def test_a_refused_song_is_that_error_after_the_songs_before_it() -> None:
    songs = play_songs("a", 0, (0, 1, -1, 2), 1.0, RATE, 2)
    assert next(songs)
    assert next(songs)
    with pytest.raises(InputError, match="Seed and index must be 0 or more"):
        next(songs)
    assert children() == []


def test_an_unforeseen_error_tells_where_it_was() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)play_song\('a', 0, 'x', .*in _check\b"):
        list(play_songs("a", 0, ("x", "y"), 1.0, RATE, 2))  # type: ignore[arg-type]


def test_closing_early_leaves_no_process() -> None:
    songs = play_songs("a", 0, range(9), 1.0, RATE, 2)
    next(songs)
    assert len(children()) == 2
    songs.close()
    assert children() == []


def test_an_error_of_the_consumer_leaves_no_process() -> None:
    def consume() -> None:
        with closing(play_songs("a", 0, range(9), 1.0, RATE, 2)) as songs:
            for _ in songs:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert children() == []


def test_a_process_that_ends_while_it_speaks_takes_its_files_along(temporary: Path) -> None:
    performer = ensemble.engage()
    performer.pipe.send(("a", 0, 0, 4.0, RATE))
    child = psutil.Process(performer.process.pid)

    def speaks() -> bool:
        child.suspend()
        if any(temporary.glob("espeak-*/voice")):
            return True
        child.resume()
        return False

    assert comes_true(speaks)
    threading.Timer(0.3, child.resume).start()
    ensemble.dismiss([performer])
    assert performer.process.returncode == 1
    assert list(temporary.iterdir()) == []


def test_a_killed_process_is_an_error_even_while_it_sends(temporary: Path) -> None:
    # Tracks of 128 kB: more than a pipe holds, so that a process that waits is within a message.
    songs = play_songs("a", 0, range(9), 2.0, RATE, 2)
    next(songs)
    time.sleep(1.0)
    for child in children():
        child.kill()
    with pytest.raises(
        ChildProcessError, match=r"song \d of domain a ended by signal 9; .* shorter"
    ):
        list(songs)
    assert children() == []


@pytest.mark.slow
def test_processes_end_when_their_caller_is_killed(tmp_path: Path) -> None:
    # A script that asks at once, as short ones do: a process that imported it would ask too.
    (tmp_path / "script.py").write_text(PLAYS_LONG_SONGS)
    caller = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    seen = psutil.Process(caller.pid)
    # With the thread that watches the caller, each has two.
    assert comes_true(lambda: [each.num_threads() for each in children(seen)] == [2, 2])
    left = children(seen)
    caller.kill()
    caller.wait()
    gone, alive = psutil.wait_procs(left, timeout=60)
    assert (len(gone), alive) == (2, [])


@pytest.mark.slow
def test_a_worker_from_a_fork_server_plays_with_processes_too(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FROM_A_WORKER)
    told = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    expected = [digest(play_song("b", 1, index, 1.0, RATE)) for index in (0, 1)]
    assert told.stdout.splitlines() == [f"2 {each}" for each in expected], told.stderr


def test_synthesize_writes_the_same_files_with_one_core_and_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--songs", 3, "--first", 2, "--seconds", 1, "--sample-rate", RATE)
    for cores in (1, 3):
        monkeypatch.setattr(synthesize, "usable_cores", lambda cores=cores: cores)
        assert ask(capsys, "synthesize", tmp_path / str(cores), *words).code == 0
    files = tree(tmp_path / "3")
    assert {name.split("/")[0] for name in files} == {f"Band a - 00{k}" for k in (2, 3, 4)}
    assert files == tree(tmp_path / "1")


@pytest.mark.slow
def test_ctrl_c_ends_synthesize_with_its_processes_in_one_line(tmp_path: Path) -> None:
    words = ["synthesize", str(tmp_path / "out"), "--songs", "90", "--seconds", "2"]
    # A terminal sends the signal to the whole group, so the command has one of its own.
    command = subprocess.Popen(
        [sys.executable, "-m", "selfrefine.cli", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert comes_true(lambda: any(tmp_path.glob("out/*/mixture.wav")))
    playing = children(psutil.Process(command.pid))
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert said.splitlines()[-1] == "stopped"
    assert "Traceback" not in said
    assert not any(child.is_running() for child in playing)
