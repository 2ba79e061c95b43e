"""Where results live: one folder a stage, named by its identity, whole once it holds done.json."""

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
    """A folder of stages' results. Opening it makes it when it is not there.

    Raises InputError for a store that another version wrote, or a place that cannot be written.
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
        """Whether there is a checkpoint to go on from."""
        return (self.folder(stage) / "checkpoint.pt").exists()

    def record(self, stage: Stage) -> dict[str, Any]:
        """What `finish` wrote. Raises InputError when it cannot be read."""
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
        """Writes done.json: the stage, its result and where it ran. The last thing a stage does."""
        record = {"stage": expression(stage), "result": result, "run": run}
        write_json(self.folder(stage) / "done.json", record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every finished stage's record."""
        for path in sorted(self.root.glob("*/*/done.json")):
            yield json.loads(path.read_text())

    @contextmanager
    def locked(self, stage: Stage) -> Iterator[bool]:
        """Holds the stage's lock, waiting for whoever has it; yields whether it had to wait.

        The lock goes with the process that holds it, however that ends.
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
