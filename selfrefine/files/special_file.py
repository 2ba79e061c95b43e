"""Pipes, sockets and devices in the place of a file."""

import errno
import stat
from pathlib import Path


def refuse_special(path: Path) -> None:
    """Raises OSError for what is neither a file nor a folder, which may keep its reader waiting for
    ever, and for a path that is not there."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
