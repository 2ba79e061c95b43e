"""Writing a file, or replacing a folder, whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


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
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text. File names that are not valid UTF-8 keep their bytes; line ends stay as
    they are."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with a line end."""
    write_text(path, json.dumps(value, indent=1) + "\n")
