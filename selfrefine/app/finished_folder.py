"""Output folders that appear whole, and remember what they were made of, so that the same command
passes over what is done when it is called again."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfrefine.errors import InputError
from selfrefine.files.atomic import on_disk, write_json
from selfrefine.files.temporary_folder import temporary_folder

MARK = ".made-of.json"
"""A hidden file in a finished folder: what it was made of, and its files' sizes in bytes."""
UNFINISHED = ".unfinished-"


def is_finished(folder: Path, made_of: dict[str, Any]) -> bool:
    """Whether `folder` was made of these JSON values before. False where there is no folder, or an
    empty one.

    Raises InputError for a folder that holds something else, was made of something else, or is no
    longer as it was written.
    """
    if not folder.exists() and not folder.is_symlink():
        return False
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, and a folder is to be made; choose another --out")
    mark = folder / MARK
    if not mark.exists():
        if not any(folder.iterdir()):
            return False
        raise InputError(f"{folder}: holds something already; choose another --out")
    try:
        kept = json.loads(mark.read_text())
        before, sizes = dict(kept["made of"]), dict(kept["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{mark}: is damaged; delete {folder} and run again") from error
    differing = [name for name, value in made_of.items() if before.get(name) != value]
    if differing:
        raise InputError(
            f"{folder}: was made with other {' and '.join(differing)}; delete it, or choose "
            "another --out"
        )
    if sizes != file_sizes(folder):
        raise InputError(f"{folder}: is not as it was written; delete it and run again")
    return True


@contextmanager
def finished_folder(folder: Path, made_of: dict[str, Any]) -> Iterator[Path]:
    """Yields a folder to fill. At the end of the block it becomes `folder`, which is not there yet
    or empty. If the block raises, or the process is killed, there is no `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent, UNFINISHED) as temporary:
        building = temporary / "building"
        building.mkdir()
        yield building
        write_json(building / MARK, {"made of": made_of, "bytes": file_sizes(building)})
        os.replace(building, folder)
    on_disk(folder.parent)


def file_sizes(folder: Path) -> dict[str, int]:
    """The bytes of a folder's files by their names, without the mark and hidden files."""
    return {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.name != MARK and not path.name.startswith(".")
    }
