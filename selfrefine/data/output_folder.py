"""Folders that a command writes into: new ones, apart from what it reads."""

import os
from pathlib import Path

from selfrefine.errors import InputError


def make_output_folder(out: Path, source: Path | None, keep: bool = False) -> None:
    """Creates `out`, or takes an empty folder; with `keep` one that holds something already.

    Raises InputError where it lies inside `source` (which would be changed) or the other way
    round, holds something, or cannot be written.
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
        raise InputError(f"{out}: holds something already; choose a new or an empty folder")
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot be written; change its rights, or choose another folder")
