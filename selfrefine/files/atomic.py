"""Writing a file, or replacing a folder, whole or not at all.

What stands in its place is on the disk: neither a kill nor a power cut leaves half a file there.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP)
"""Errors of file systems that cannot bring a file or a folder to the disk on demand."""


def on_disk(path: Path) -> None:
    """Returns when a file's bytes, or the names in a folder, are on the disk. Raises OSError where
    the disk does not take them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise
    finally:
        os.close(handle)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to. At the end of the block that file replaces `path`.

    If the block raises, `path` stays as it was and the new file is removed. Two processes can write
    the same file at once; the later one stands.

    >>> with written_whole(Path("labels.csv")) as partial:  # doctest: +SKIP
    ...     partial.write_text("song,file")
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        on_disk(partial)
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(partial):
            # The user knows the file by this name.
            error.filename, error.filename2 = str(path), None
        raise
    on_disk(path.parent)


@contextmanager
def folder_replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder` to fill. At the end of the block it replaces `folder`.

    If the block raises, `folder` stays as it was and the new folder is removed. What a killed
    process left of one is removed at the beginning.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            if not path.is_symlink():
                on_disk(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    on_disk(folder.parent)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text. File names that are not valid UTF-8 keep their bytes; line ends stay as
    they are."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with a line end."""
    write_text(path, json.dumps(value, indent=1) + "\n")
