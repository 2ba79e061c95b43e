"""Commands that end with all that they started."""

import contextlib
import os
import signal


def end_group(group: int) -> None:
    """Ends a group of processes at once, if there is one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
