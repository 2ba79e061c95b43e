"""Folders that end with the process that made them."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yields a new folder in `parent`, and removes it at the end of the block.

    What killed processes left in `parent` under the same prefix is removed at the beginning. The
    folder of a living process is locked, and the system takes the lock off where a process ends.
    """
    remove_abandoned(parent, prefix)
    folder, handle = locked_folder(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def locked_folder(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Makes a folder and locks it. Returns it with the handle that holds the lock, None where the
    system locks no folders."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        if sys.platform == "win32":
            return folder, None
        handle = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():
            return folder, handle
        # Another process took it for abandoned before it was locked.
        os.close(handle)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Removes the folders of that prefix that no living process has locked."""
    if sys.platform == "win32":
        return
    for name in os.listdir(parent):
        if name.startswith(prefix):
            with suppress(OSError):
                handle = os.open(parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(parent / name, ignore_errors=True)
                finally:
                    os.close(handle)
