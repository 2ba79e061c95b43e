"""Folders that end with the process that made them, or are removed by the next one after a kill."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from selfrefine.errors import InputError

if sys.platform != "win32":
    import fcntl

PREFIX = ".selfrefine-"
"""Short, and nothing that a person names a folder: what bears it is removed."""

LONGEST_PLACE = 50
"""Bytes of the path of a place for the folder: that of a socket in the folder has at most 107."""

AFTER_MULTIPROCESSING = -200
"""The priority of an action at a process' end that comes after those of `multiprocessing`."""


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


def use_own_temporary_folder() -> None:
    """Lets this process, and all that it starts, keep temporary files in a folder that is removed
    at its end, unless $TMPDIR is too long a path for sockets a folder deeper. Workers are killed,
    or end without cleaning up, so they cannot remove their own files.

    Raises InputError when there is no place for a folder.
    """
    if PREFIX not in tempfile.gettempdir() and len(tempfile.gettempdir()) > LONGEST_PLACE:
        return
    tempfile.tempdir = os.environ["TMPDIR"] = str(own_temporary_folder())


@cache
def own_temporary_folder() -> Path:
    """This process' folder. Its lock is held until the process ends."""
    try:
        place = Path(tempfile.gettempdir())
        remove_abandoned(place, PREFIX)
        folder, _ = locked_folder(place, PREFIX)
    except OSError as error:
        raise InputError(
            f"no temporary folder can be made ({error}); free space, or name another in TMPDIR"
        ) from error
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=AFTER_MULTIPROCESSING)
    return folder
