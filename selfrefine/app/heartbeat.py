"""A line on stderr each half minute, where no progress bar can be drawn: in a log or a pipe."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from selfrefine.progress import duration

EVERY_S = 30.0


@dataclass
class Doing:
    """What a command does at the moment, in words."""

    words: str = "working"


NOW = Doing()
"""What the command of this process does. Progress bars write it, and the heartbeat reads it."""


@contextmanager
def heartbeat(command: str) -> Iterator[None]:
    """In the block, says each EVERY_S what the command does, unless stderr is a terminal."""
    NOW.words = "working"
    if sys.stderr.isatty():
        yield
        return
    began = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(EVERY_S):
            line = f"{command}: {NOW.words} ({duration(time.monotonic() - began)} in all)"
            try:
                print(line, file=sys.stderr, flush=True)
            except (OSError, ValueError):
                return  # Nobody reads stderr any more.

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
