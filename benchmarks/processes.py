"""Ends commands together with the processes that they started."""

import contextlib
import os
import signal


def end_group(group: int) -> None:
    """Kills a process group, if it exists."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
