"""The store of results: one folder per stage, named by its identity. A stage is finished when its
folder holds done.json.

That file has the stage's expression, its result, where it ran, the size and SHA-256 of each file
that it left, and a digest of all this. Whoever reads a finished stage asks `record`, `result` or
`finished`, which refuse what is damaged. Records of earlier versions have no hashes; they are
accepted as they are.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from experiments.integrity import (
    DONE,
    damaged,
    digest,
    refuse_other_content,
    refuse_other_sizes,
    settle,
)
from experiments.stages.stage import Stage, describe, expression, identity, kind
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json

FORMAT = 1

PARTS = ("stage", "result", "run")
"""The keys of every record."""

WRITABLE = "free space, give rights, or delete what is in the way, and run again"
"""The remedy where the store cannot be written."""


class Store:
    """A folder with the results of stages. The constructor makes it if it does not exist.

    Raises InputError for a store of another format, and for a folder that cannot be written.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.resolve()
            self.root.mkdir(parents=True, exist_ok=True)
            mark = self.root / "store.json"
            if not mark.exists():
                write_json(mark, {"format": FORMAT})
            text = mark.read_bytes()
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{root}: cannot be used as the store ({error}); name another with --store"
            ) from error
        try:
            found = json.loads(text)["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{mark}: damaged, or no store's; delete it and run again, or name another store "
                "with --store"
            ) from error
        if found != FORMAT:
            raise InputError(
                f"{mark}: this store has format {found}, this version reads {FORMAT}; "
                "name another with --store, or move this one away"
            )

    def folder(self, stage: Stage) -> Path:
        """Where the stage is computed. Files of a finished stage are read under `finished`."""
        return self.root / kind(stage) / identity(stage)

    def done(self, stage: Stage) -> bool:
        return os.path.exists(self.folder(stage) / DONE)

    def started(self, stage: Stage) -> bool:
        """Whether the stage left a checkpoint from which it can resume."""
        return os.path.exists(self.folder(stage) / "checkpoint.pt")

    def record(self, stage: Stage) -> dict[str, Any]:
        """The record that `finish` wrote.

        Raises InputError when the stage is not finished, when the record is not the stage's or not
        what was written, and when one of its files is missing or has another size.
        """
        folder = self.folder(stage)
        path = folder / DONE
        if not self.done(stage):
            raise InputError(
                f"{path}: not there, so {describe(stage)} is not finished; run again to make it"
            )
        record = read_record(path)
        if record["stage"] != expression(stage):
            raise damaged(path, "it is the record of another stage", folder)
        refuse_other_sizes(folder, record.get("files", {}))
        return record

    def result(self, stage: Stage) -> dict[str, Any]:
        return self.record(stage)["result"]

    def finished(self, stage: Stage) -> Path:
        """The folder of a finished stage, whose files are those that the stage left.

        Raises what `record` raises, and InputError for a file with other bytes.
        """
        files = self.record(stage).get("files", {})
        folder = self.folder(stage)
        refuse_other_content(folder, files)
        return folder

    def finish(self, stage: Stage, result: dict[str, Any], run: dict[str, Any]) -> None:
        """Brings what the stage left to the disk, and then writes done.json. This is a stage's last
        action."""
        folder = self.folder(stage)
        record: dict[str, Any] = {"stage": expression(stage), "result": result, "run": run}
        record["files"] = settle(folder)
        # As it is read: JSON turns keys into text.
        record["digest"] = digest(json.loads(json.dumps(record)))
        write_json(folder / DONE, record)

    def records(self) -> Iterator[dict[str, Any]]:
        """The record of every finished stage, without those that cannot be read."""
        for path in sorted(self.root.glob(f"*/*/{DONE}")):
            with suppress(InputError):
                yield read_record(path)

    @contextmanager
    def locked(self, stage: Stage) -> Iterator[bool]:
        """Holds the stage's lock, after waiting until it is free. Yields whether it had to wait.

        The lock is released when the process that holds it ends, also when that is killed. Raises
        InputError when there can be no such folder or lock.
        """
        folder = self.folder(stage)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / "lock").open("w")
        except OSError as error:
            raise InputError(
                f"{error.filename}: cannot be made ({error.strerror}); {WRITABLE}"
            ) from error
        with file:
            waited = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waited = True
                    time.sleep(0.5)
            yield waited


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file. Raises InputError when it cannot be read, or is not what was
    written."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, f"it cannot be read: {error}", path.parent) from error
    parts = [record.get(key) for key in PARTS] if isinstance(record, dict) else [None]
    whole = all(isinstance(part, dict) for part in parts)
    if not whole or ("files" in record) != ("digest" in record):
        raise damaged(path, "it is no record of a stage", path.parent)
    if "digest" in record and digest(record) != record["digest"]:
        raise damaged(path, "it is not as it was written", path.parent)
    return record
