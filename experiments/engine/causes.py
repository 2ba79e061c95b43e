"""Why a stage failed, in one line with the remedy."""

import errno
import os
import signal
import traceback
from contextlib import suppress
from pathlib import Path

from experiments.store import WRITABLE

NOT_WRITTEN = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}
"""Errors of a disk or a folder that takes no file."""

PROBE_BYTES = 1 << 20

LESS_MEMORY = "run fewer stages at once (--workers), or set SELFREFINE_ITEMS_AT_ONCE lower"


def words_of_end(code: int) -> str:
    """Why a worker ended that sent no last message, by its exit code."""
    if code == -signal.SIGKILL:
        return (
            "its process was killed (signal 9), which the system does when memory runs out; "
            f"{LESS_MEMORY}, and run again"
        )
    if code == -signal.SIGBUS:
        return "its process ended by signal 7, which a full disk can cause; free space"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended by {how}"


def words_of_error(error: Exception, folder: Path) -> str:
    """Why a stage failed that raised an error. One that is not the disk's goes to error.log in the
    stage's folder, with its traceback."""
    said = first_line(error)
    if isinstance(error, OSError) and error.errno in NOT_WRITTEN:
        return f"{error.filename or folder}: {error.strerror}; {WRITABLE}"
    # Libraries hide the disk's errors behind their own.
    unwritten = disk_trouble(folder)
    if unwritten:
        return f"{folder}: {unwritten}; {WRITABLE} ({said})"
    log = folder / "error.log"
    try:
        log.write_text("".join(traceback.format_exception(error)))
    except OSError:
        return said
    return f"{said} (see {log})"


def first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def disk_trouble(folder: Path) -> str | None:
    """Why the folder takes no further megabyte; None where it does."""
    probe = folder / f"probe.{os.getpid()}.partial"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror
    finally:
        with suppress(OSError):
            probe.unlink()
    return None
