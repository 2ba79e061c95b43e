"""Plays several songs of the embedded band in parallel, in processes.

The processes are fresh interpreters. A fork would keep everything that the caller has loaded, and
may hang if the caller has threads; `multiprocessing` would import the caller's main module, and
torch with it. Each process has its own pipe. With a shared one, as in `ProcessPoolExecutor`, the
caller would wait forever for a process that was killed while it sent a song.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from selfrefine.band.song import Track, play_song
from selfrefine.errors import InputError

PATIENCE_S = 5.0
"""Time that a process has to end after SIGTERM, before it is killed."""

_CODE = f"import sys; sys.path[:] = sys.argv[3:]; from {__name__} import serve; serve()"
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}

_Song = tuple[str, int, int, float, int]
"""The arguments of `play_song`."""


@dataclass(frozen=True)
class Performer:
    """A process that plays the songs requested through `pipe`, one at a time."""

    process: subprocess.Popen[bytes]
    pipe: Connection


def play_songs(
    domain: str, seed: int, indices: Sequence[int], seconds: float, sample_rate: int, processes: int
) -> Generator[list[Track], None, None]:
    """Yields the tracks of `play_song` for each index, in the order of `indices`.

    Up to `processes` songs are played at once, each in a process with one thread. With one process
    or one song, and on Windows, the caller's process plays them. At most `processes` + 1 songs
    exist at once, including the yielded one. Close the generator (`contextlib.closing`) to end the
    processes early. If the caller is killed, they end a second later.

    Raises what `play_song` raises, at the turn of that song, and ChildProcessError when a process
    was killed.
    """
    songs = [(domain, seed, index, seconds, sample_rate) for index in indices]
    count = min(processes, len(songs))
    if count <= 1 or sys.platform == "win32":
        for song in songs:
            yield play_song(*song)
        return
    performers: list[Performer] = []
    try:
        for _ in range(count):
            performers.append(engage())
        yield from in_order(performers, songs)
    finally:
        dismiss(performers)


def in_order(
    performers: Sequence[Performer], songs: Sequence[_Song]
) -> Generator[list[Track], None, None]:
    """Gives songs to performers when they become idle, and yields the tracks in order."""
    idle = list(performers)
    playing: dict[Performer, int] = {}
    played: dict[int, list[Track] | Exception] = {}
    begun = 0
    for turn in range(len(songs)):
        while True:
            # The performers also play while the consumer works on the song of this turn.
            while idle and begun < min(len(songs), turn + len(performers) + 1):
                performer = idle.pop()
                _ask(performer, songs[begun])
                playing[performer] = begun
                begun += 1
            if turn in played:
                break
            ready = wait([performer.pipe for performer in playing])
            for performer in [each for each in playing if each.pipe in ready]:
                number = playing.pop(performer)
                played[number] = _answer(performer, songs[number])
                idle.append(performer)
        if isinstance(tracks := played.pop(turn), Exception):
            raise tracks
        yield tracks
        # Frees the song before the wait for the next one.
        del tracks


def _ask(performer: Performer, song: _Song) -> None:
    try:
        performer.pipe.send(song)
    except ConnectionError:
        raise _death(performer, song) from None


def _answer(performer: Performer, song: _Song) -> list[Track] | Exception:
    """Receives a song's tracks or error. Raises ChildProcessError when the performer is dead."""
    tracks = []
    try:
        while isinstance(message := performer.pipe.recv(), Track):
            tracks.append(message)
    except (EOFError, OSError):
        raise _death(performer, song) from None
    return tracks if message is None else message


def _death(performer: Performer, song: _Song) -> ChildProcessError:
    code = performer.process.wait()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    domain, _, index, *_ = song
    return ChildProcessError(
        f"the process that played song {index} of domain {domain} ended by {how}; if memory ran "
        "out, play shorter songs, or fewer at once on fewer cores (taskset)"
    )


def engage() -> Performer:
    """Starts a process with the same `sys.path`, in which each library uses one thread."""
    ours, theirs = Pipe()
    words = [str(theirs.fileno()), str(os.getpid()), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *words],
        env=os.environ | _ONE_THREAD,
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        # In a process group of its own it gets no Ctrl-C from a terminal.
        process_group=0,
    )
    # Only the performer holds this end now, so the pipe closes when the performer ends.
    theirs.close()
    return Performer(process, ours)


def dismiss(performers: Sequence[Performer]) -> None:
    """Ends the performers' processes, whatever they do, and waits for their end."""
    for performer in performers:
        performer.process.terminate()
        performer.pipe.close()
    for performer in performers:
        with suppress(subprocess.TimeoutExpired):
            performer.process.wait(PATIENCE_S)
        performer.process.kill()
        performer.process.wait()


def serve() -> None:
    """The main function of a performer's process.

    Its command line gives the pipe and the caller's process id. The performer receives songs from
    the pipe. For each it sends the tracks and then None, or the error.
    """
    pipe, caller = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with, args=(caller,), daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            _play(pipe.recv(), pipe)


def _play(song: _Song, pipe: Connection) -> None:
    try:
        tracks = play_song(*song)
    except (InputError, OSError) as error:
        pipe.send(error)
        return
    except Exception:
        pipe.send(RuntimeError(f"play_song{song}: {traceback.format_exc()}"))
        return
    # Tracks are sent one by one, because both sides copy each message.
    for track in tracks:
        pipe.send(track)
    pipe.send(None)


def _leave(*_: object) -> None:
    """Removes the temporary files and ends this process at once.

    An exception would not end it: espeak calls back into Python, where exceptions are ignored.
    """
    atexit._run_exitfuncs()
    os._exit(1)


def _leave_with(caller: int) -> None:
    """Ends this process within a second after its caller has ended, for any reason."""
    while os.getppid() == caller:
        time.sleep(1.0)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
