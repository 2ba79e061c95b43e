"""The folder that a command writes into. It lies outside the folder that the command reads."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json

SOURCE = "source.path"
"""A file in the `work` folder of a refinement. It holds the path of the input folder, in the bytes
of the file system."""


def make_output_folder(
    out: Path, source: Path | None, keep: bool = False, resumable: bool = False
) -> None:
    """Creates `out`, or accepts an empty folder there. With `keep`, the folder may hold something.
    `resumable` says that the command has a --resume, which the refusal then names.

    Raises InputError where `out` lies inside `source`, which must not change, or `source` inside
    `out`; where `out` holds something, without `keep`; and where it cannot be written.
    """
    real = Path(os.path.realpath(out))
    if source is not None:
        given = Path(os.path.realpath(source))
        if real == given or given in real.parents:
            raise InputError(f"{out}: lies inside the input {source}; choose a folder outside it")
        if real in given.parents:
            raise InputError(f"{out}: holds the input {source}; choose a folder beside it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = any(out.iterdir())
    except OSError as error:
        raise InputError(
            f"{out}: cannot be made a folder ({error.strerror}); choose another"
        ) from error
    if held and not keep:
        resume = ", or give --resume to continue the run in it" if resumable else ""
        raise InputError(f"{out}: holds something already; choose a new or an empty folder{resume}")
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot be written; change its rights, or choose another folder")


def begin_or_resume(out: Path, mark: dict[str, Any]) -> Path:
    """Begins a run in `out`, or resumes the one that was begun there. Returns `out/work`.

    `mark` are JSON values that say what the run computes, and how; `work/order.json` keeps them. A
    name that the kept mark lacks counts as None there. Raises InputError for an `out` that was
    begun with another mark, or that holds something else.
    """
    work = out / "work"
    path = work / "order.json"
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(before, dict):
                raise ValueError("no JSON object")
        except (OSError, RecursionError, ValueError) as error:
            raise InputError(
                f"{path}: is damaged, so that {out} cannot be resumed; choose another folder, or "
                f"delete {out} and run again"
            ) from error
        differing = [name for name, value in mark.items() if before.get(name) != value]
        if differing:
            hint = ""
            if "--start" in differing and "--start" not in before:
                hint = " (it was begun by a version that had no --start: give --start none)"
            raise InputError(
                f"{out}: was begun with other {' and '.join(differing)}; choose another folder, or "
                f"give the same arguments as then{hint}"
            )
    elif set(out.rglob("*")) - {work, *work.glob(f"{path.name}.*partial")}:
        # A killed run may leave a part of order.json, which may be overwritten.
        raise InputError(
            f"{out}: nothing to resume there, and it holds something else; choose a new or an "
            "empty folder"
        )
    try:
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{work}: cannot be made a folder ({error.strerror}); delete it, or choose another "
            "folder"
        ) from error
    write_json(path, mark)
    return work


def refuse_full_disk(folder: Path, needed: float, what: str) -> None:
    """Raises InputError where the disk of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {what} may take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there; "
            "choose a folder on another disk"
        )
