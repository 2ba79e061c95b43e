"""The store of results: one folder per stage, named by its identity. A stage is finished when its
folder holds done.json."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.stages.stage import Stage, expression, identity, kind
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json

FORMAT = 1


class Store:
    """A folder with the results of stages. The constructor makes it if it does not exist.

    Raises InputError for a store of another format, and for a folder that cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        mark = self.root / "store.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not mark.exists():
                write_json(mark, {"format": FORMAT})
            found = json.loads(mark.read_text()).get("format")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(
                f"{self.root}: cannot be used as the store ({error}); name another with --store"
            ) from error
        if found != FORMAT:
            raise InputError(
                f"{mark}: this store has format {found}, this version reads {FORMAT}; "
                "name another with --store, or move this one away"
            )

    def folder(self, stage: Stage) -> Path:
        return self.root / kind(stage) / identity(stage)

    def done(self, stage: Stage) -> bool:
        return (self.folder(stage) / "done.json").exists()

    def started(self, stage: Stage) -> bool:
        """Whether the stage left a checkpoint from which it can resume."""
        return (self.folder(stage) / "checkpoint.pt").exists()

    def record(self, stage: Stage) -> dict[str, Any]:
        """The record that `finish` wrote. Raises InputError when it cannot be read."""
        path = self.folder(stage) / "done.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); delete {path.parent} and run again"
            ) from error

    def result(self, stage: Stage) -> dict[str, Any]:
        return self.record(stage)["result"]

    def finish(self, stage: Stage, result: dict[str, Any], run: dict[str, Any]) -> None:
        """Writes done.json with the stage, its result and where it ran. This is a stage's last
        action."""
        record = {"stage": expression(stage), "result": result, "run": run}
        write_json(self.folder(stage) / "done.json", record)

    def records(self) -> Iterator[dict[str, Any]]:
        """The record of every finished stage."""
        for path in sorted(self.root.glob("*/*/done.json")):
            yield json.loads(path.read_text())

    @contextmanager
    def locked(self, stage: Stage) -> Iterator[bool]:
        """Holds the stage's lock, after waiting until it is free. Yields whether it had to wait.

        The lock is released when the process that holds it ends, also when that is killed.
        """
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            waited = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waited = True
                    time.sleep(0.5)
            yield waited
