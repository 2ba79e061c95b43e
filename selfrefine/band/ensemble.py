"""Plays several songs of the embedded band at once, each in a process of its own.

The processes are fresh interpreters that know nothing of the caller. A fork would hold all that the
caller has loaded, and may hang where it has threads; `multiprocessing` would import the caller's
main module, torch and all. Each has a pipe to itself: where many share one, as in
`ProcessPoolExecutor`, a process that is killed while it sends a song is waited for forever.
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
"""How long a process may take to end that was told to."""

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
    """A process that plays the songs that are asked for through `pipe`, one at a time."""

    process: subprocess.Popen[bytes]
    pipe: Connection


def play_songs(
    domain: str, seed: int, indices: Sequence[int], seconds: float, sample_rate: int, processes: int
) -> Generator[list[Track], None, None]:
    """Yields what `play_song` gives for each index, in the order of `indices`.

    Up to `processes` songs are played at once, each by one thread of a process; with one process or
    one song, and on Windows, this process plays. At most `processes` + 1 songs are there at once,
    the one yielded among them. Close the generator (`contextlib.closing`) to end the processes
    early; when this process is killed they end a second later.

    Raises in its song's turn what `play_song` raises, and ChildProcessError when a process was
    killed.
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
    """Gives songs to performers as these come free, and yields them in their order."""
    idle = list(performers)
    playing: dict[Performer, int] = {}
    played: dict[int, list[Track] | Exception] = {}
    begun = 0
    for turn in range(len(songs)):
        while True:
            # Even while the consumer works on this turn's song, the performers go on.
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
        # The song is not kept alive here while the next is waited for.
        del tracks


def _ask(performer: Performer, song: _Song) -> None:
    try:
        performer.pipe.send(song)
    except ConnectionError:
        raise _death(performer, song) from None


def _answer(performer: Performer, song: _Song) -> list[Track] | Exception:
    """What came of a song. Raises ChildProcessError when its performer is dead."""
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
    """Starts a process that imports from the same places, with one thread for each library."""
    ours, theirs = Pipe()
    words = [str(theirs.fileno()), str(os.getpid()), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *words],
        env=os.environ | _ONE_THREAD,
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        # A group of its own, to which a terminal sends no Ctrl-C.
        process_group=0,
    )
    # The performer then has the only one: the pipe ends when the performer does.
    theirs.close()
    return Performer(process, ours)


def dismiss(performers: Sequence[Performer]) -> None:
    """Ends their processes, whatever these do, and waits until they are gone."""
    for performer in performers:
        performer.process.terminate()
        performer.pipe.close()
    for performer in performers:
        with suppress(subprocess.TimeoutExpired):
            performer.process.wait(PATIENCE_S)
        performer.process.kill()
        performer.process.wait()


def serve() -> None:
    """A performer's whole life. Its pipe and its caller's id are words of its command line.

    It takes songs from the pipe; for each it puts the tracks and None there, or the error.
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
    # One by one: a message is copied on both sides.
    for track in tracks:
        pipe.send(track)
    pipe.send(None)


def _leave(*_: object) -> None:
    """Ends this process at once, its temporary files removed. An exception would not do: espeak
    calls Python back, and swallows what is raised there."""
    atexit._run_exitfuncs()
    os._exit(1)


def _leave_with(caller: int) -> None:
    """Has this process leave soon after its caller is gone, however that went."""
    while os.getppid() == caller:
        time.sleep(1.0)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
