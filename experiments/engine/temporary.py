"""The temporary folder of a process and of all that it starts: workers, and W&B's processes.

Workers are killed, or end without cleaning up, so they cannot remove their own files. The folder
ends with the process that made it, or is removed by the next one after a kill.
"""

import os
import shutil
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.files.temporary_folder import locked_folder, remove_abandoned

PREFIX = ".selfrefine-"
"""Short, and nothing that a person names a folder: what bears it is removed."""

LONGEST_PLACE = 50
"""Bytes of the path of a place for the folder: that of a socket in the folder has at most 107."""

AFTER_MULTIPROCESSING = -200
"""The priority of an action at a process' end that comes after those of `multiprocessing`."""


def use_own_temporary_folder() -> None:
    """Lets this process and those that it starts keep temporary files in a folder that is removed
    at its end, unless $TMPDIR is too long a path for sockets a folder deeper. Raises InputError
    when there is no place for one."""
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
