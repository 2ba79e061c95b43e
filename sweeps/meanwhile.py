"""Lines in the log of a command whose work says nothing for a while."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.engine.runner import QUIET_SECONDS, tell
from selfrefine.progress import duration


@contextmanager
def told_meanwhile(name: str) -> Iterator[None]:
    """Prints every `QUIET_SECONDS` that the block goes on, unless the output is a terminal."""
    over = threading.Event()
    began = time.monotonic()

    def repeat() -> None:
        while not over.wait(QUIET_SECONDS):
            tell(f"       {name}: goes on, {duration(time.monotonic() - began)} so far")

    thread = threading.Thread(target=repeat, daemon=True)
    if not sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        over.set()
