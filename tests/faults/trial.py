"""One command line, run in a process of its own, and what is wrong with how it ended."""

import importlib
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext

import psutil

TIMEOUT_S = 120.0
MEMORY_BYTES = 12 * 10**9
"""A command that asks for more has believed a number in a hostile file."""

PRELOADED = (
    "selfrefine.cli",
    "selfrefine.app.refine_folder",
    "selfrefine.training.separator",
    "experiments.__main__",
    "reports.__main__",
    "sweeps.__main__",
)


@dataclass(frozen=True)
class Trial:
    """A command line and its end. `code` is None where it did not end in time. A process that a
    signal ended has a negative code."""

    words: tuple[str, ...]
    code: int | None
    said: str

    def fault(self, refused: bool, named: Sequence[str] = ()) -> str | None:
        """What is wrong, in words; None where nothing is.

        With `refused`, the exit code must not be 0, and a line must hold every word of `named`.
        """
        if self.code is None:
            return f"does not end in {TIMEOUT_S:.0f} s"
        if "Traceback (most recent call last)" in self.said:
            return f"traceback: {self.said.strip().splitlines()[-1]}"
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        if not refused:
            return None
        if self.code == 0:
            return "accepted without a word"
        lines = self.said.splitlines()
        if not any(all(word in line for word in named) for line in lines):
            return f"no line names {' and '.join(named)}: {lines[-1] if lines else 'nothing said'}"
        return None


@cache
def server() -> ForkServerContext:
    """Forks processes that have loaded torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def tried(module: str, words: Sequence[object], timeout: float = TIMEOUT_S) -> Trial:
    """Runs `main` of a module, such as selfrefine.cli, with these words."""
    texts = tuple(str(word) for word in words)
    with tempfile.NamedTemporaryFile() as said:
        process = server().Process(target=run, args=(module, texts, said.name))
        process.start()
        process.join(timeout)
        code = process.exitcode
        if code is None:
            kill_session(process.pid)
            process.join()
        return Trial((module, *texts), code, said.read().decode(errors="replace"))


def kill_session(leader: int | None) -> None:
    assert leader is not None
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                process.kill()


def run(module: str, words: tuple[str, ...], said: str) -> None:
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    sys.argv = [module, *words]
    code = importlib.import_module(module).main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
