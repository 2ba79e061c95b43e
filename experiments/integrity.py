"""The sizes and SHA-256 of the files that a finished stage leaves, and whether they still hold.

Sizes are compared at every reading. A file is hashed once and then remembered in `verified.json`
beside it, until its size, times or inode change.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfrefine.errors import InputError
from selfrefine.files.atomic import on_disk, write_json

DONE = "done.json"
VERIFIED = "verified.json"

NOT_OF_THE_RESULT = {"lock", DONE, VERIFIED, "checkpoint.pt", "error.log", "wandb.json"}
"""Files in a stage's folder that are no part of what it made."""

CLOCK_SECONDS = 0.05
"""Two changes of a file within this time (s) can leave it the same times."""

Files = dict[str, tuple[int, str]]
"""The size (bytes) and the SHA-256 of each file, by its path in the stage's folder."""


def damaged(path: Path, what: str, folder: Path) -> InputError:
    """The error for a file of the finished stage in `folder`, with its remedy."""
    return InputError(f"{path}: damaged ({what}); delete {folder} and run again")


def digest(record: dict[str, Any]) -> str:
    """The SHA-256 of a record without its own digest."""
    body = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_files(folder: Path) -> Iterator[Path]:
    """The files that a stage made, at any depth. What a killed process left half written is no
    such file."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".partial" and path.name not in NOT_OF_THE_RESULT:
            yield path


def settle(folder: Path) -> Files:
    """Brings all that a stage made to the disk. Returns its files."""
    marks: dict[str, list[Any]] = {}
    files: Files = {}
    for path in made_files(folder):
        on_disk(path)
        name = path.relative_to(folder).as_posix()
        hashed, mark = hashed_and_marked(path)
        files[name] = (path.stat().st_size, hashed)
        if mark is not None:
            marks[name] = mark
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            on_disk(path)
    if marks:
        remember(folder, marks)
    return files


def refuse_other_sizes(folder: Path, files: Files) -> None:
    """Raises InputError for a file that is missing or has another size."""
    for name, (size, _) in files.items():
        path = folder / name
        try:
            found = path.stat().st_size
        except OSError as error:
            raise damaged(path, str(error.strerror), folder) from error
        if found != size:
            raise damaged(path, f"it has {found} bytes instead of {size}", folder)


def refuse_other_content(folder: Path, files: Files) -> None:
    """Raises InputError for a file that is not what the stage made. What was hashed before, and
    has not changed since, is not hashed again."""
    known = remembered(folder)
    marks: dict[str, list[Any]] = {}
    for name, (_, expected) in files.items():
        path = folder / name
        try:
            mark: list[Any] | None = [*marked_numbers(path), expected]
            if known.get(name) != mark:
                hashed, mark = hashed_and_marked(path)
                if hashed != expected:
                    raise damaged(path, "its bytes are not those that were written", folder)
        except OSError as error:
            raise damaged(path, str(error.strerror), folder) from error
        if mark is not None:
            marks[name] = mark
    if marks != known:
        remember(folder, marks)


def hashed_and_marked(path: Path) -> tuple[str, list[Any] | None]:
    """A file's SHA-256, and what tells that it has not changed since. That is None for a file that
    changed just now: its times would not show a further change."""
    began = time.time()
    before = marked_numbers(path)
    hashed = sha256(path)
    _, modified, changed, _ = before
    quiet = max(modified, changed) < (began - CLOCK_SECONDS) * 1e9
    return hashed, [*before, hashed] if quiet and marked_numbers(path) == before else None


def marked_numbers(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def remembered(folder: Path) -> dict[str, Any]:
    """The marks of the files that were hashed, by name; none where the note cannot be read."""
    try:
        found = json.loads((folder / VERIFIED).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(folder: Path, marks: dict[str, list[Any]]) -> None:
    """Notes the marks, and removes what killed processes left of theirs. Where the store cannot be
    written, or two processes note at once, the files are hashed again next time."""
    try:
        for left in folder.glob(f"{VERIFIED}.*.partial"):
            left.unlink(missing_ok=True)
        write_json(folder / VERIFIED, marks)
    except OSError:
        return
