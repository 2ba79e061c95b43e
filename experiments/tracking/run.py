"""A W&B run that is handled by its own thread."""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from experiments.tracking.mode import (
    Mode,
    note_unreachable,
    patience,
    reachable,
    silence,
    tracked,
    wandb_mode,
)
from selfrefine.files.atomic import write_json
from selfrefine.progress import StepReport

PROJECT = "selfrefine"
STEPS_BETWEEN_LOGS = 10
LONGEST_TAG = 64
SLOW_DISK_SECONDS = 120.0
"""Time (s) that writing a run's files may take on a busy machine, without a server."""
FLUSH_SECONDS = 5.0
"""Time (s) between two writes of a run's file: the most that a kill can lose."""

log = logging.getLogger(__name__)

Call = Callable[[Any], object]


@dataclass(frozen=True)
class Opening:
    """The description of a run at its beginning.

    The run's files go to `folder`/wandb. Its id and address are written to the file `link`. At the
    run's end, `show` turns the result into the last calls to the run.
    """

    id: str
    name: str
    kind: str
    groups: list[str]
    tags: list[str]
    config: dict[str, Any]
    folder: Path
    link: Path
    show: Callable[[dict[str, Any]], list[Call]]


class Tracker:
    """Passes calls to a run in their order. Only `finish` waits for the run."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.mode = wandb_mode()
        self.patience = patience()
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self.exit_code = 0
        self.thread: threading.Thread | None = None
        silence()
        if tracked(self.mode):
            self.thread = threading.Thread(target=self.keep, daemon=True)
            self.thread.start()

    def keep(self) -> None:
        """The body of the thread: begins the run, makes the calls, and ends it. Only the first
        failed call is logged."""
        try:
            run = self.begin()
            failed = False
            while (call := self.calls.get()) is not None:
                try:
                    call(run)
                except Exception as error:
                    # W&B can raise any kind of error. The remaining calls are still made.
                    if not failed:
                        log.warning("W&B: %s: %s", self.opening.name, error)
                    failed = True
            self.end(run)
        except Exception as error:
            log.warning("W&B: %s; %s goes on untracked", error, self.opening.name)

    def begin(self) -> Any:
        """Opens the run, in files if the server cannot be reached. Raises whatever W&B raises."""
        folder = self.opening.folder
        if self.mode == "online" and reachable(folder):
            before = set(folder.glob(f"wandb/*-{self.opening.id}"))
            try:
                return open_run(self.opening, self.mode)
            except Exception as error:
                note_unreachable(folder)
                forget_attempt(set(folder.glob(f"wandb/*-{self.opening.id}")) - before)
                log.warning(
                    "W&B: the server cannot be reached (%s); runs go to files in %s, which "
                    "`wandb sync` sends later",
                    str(error).splitlines()[0] if str(error) else repr(error),
                    folder / "wandb",
                )
        if self.mode == "online":
            self.mode = "offline"
        return open_run(self.opening, self.mode)

    def end(self, run: Any) -> None:
        try:
            run.finish(exit_code=self.exit_code)
        except TimeoutError:
            self.give_up()

    def give_up(self) -> None:
        note_unreachable(self.opening.folder)
        log.warning(
            "W&B did not take all of %s in time; `wandb sync --include-online %s` sends the rest",
            self.opening.name,
            self.opening.folder / "wandb",
        )

    def tell(self, call: Call) -> None:
        if self.thread is not None:
            self.calls.put(call)

    def step(self, report: StepReport) -> None:
        if report.step % STEPS_BETWEEN_LOGS and report.step != report.steps:
            return
        values = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "steps_per_second": 1 / report.seconds if report.seconds else 0.0,
            "data_share": report.data_seconds / report.seconds if report.seconds else 0.0,
        }
        self.tell(lambda run: run.log(values, step=report.step))

    def validation(self, step: int, values: dict[str, float]) -> None:
        named = {f"validation/{name}": value for name, value in values.items()}
        self.tell(lambda run: run.log(named, step=step))

    def finish(self, result: dict[str, Any] | None) -> None:
        """Sends the content of a result, or a failure if it is None, and waits a limited time for
        the run's end."""
        if self.thread is None:
            return
        if result is None:
            self.exit_code = 1
        else:
            for call in self.opening.show(result):
                self.tell(call)
        self.calls.put(None)
        self.thread.join(timeout=2 * self.patience + 5)
        if self.thread.is_alive() and self.mode == "offline":
            self.thread.join(timeout=SLOW_DISK_SECONDS)
        if self.thread.is_alive():
            self.give_up()


def forget_attempt(folders: set[Path]) -> None:
    """Ends W&B's own process, which holds the run's id, and removes the files of the failed
    attempt."""
    import wandb

    wandb.teardown()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def open_run(opening: Opening, mode: Mode) -> Any:
    import wandb

    opening.folder.mkdir(parents=True, exist_ok=True)
    # Until artifacts are sent, their files are kept next to the runs, not in the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(opening.folder))
    labels = dict.fromkeys([*opening.tags, *opening.groups])
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=opening.id,
        name=opening.name,
        group=opening.groups[0] if opening.groups else None,
        job_type=opening.kind,
        tags=[label[:LONGEST_TAG] for label in labels],
        config=opening.config,
        dir=str(opening.folder),
        mode=mode,
        # Offline runs need no resume: W&B joins the files of one id when they are sent.
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            x_save_requirements=False,
            x_disable_machine_info=True,
            disable_git=True,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
            init_timeout=patience() / 2 if mode == "online" else SLOW_DISK_SECONDS,
            finish_timeout=patience() if mode == "online" else SLOW_DISK_SECONDS,
            finish_timeout_raises=True,
        ),
    )
    opening.link.parent.mkdir(parents=True, exist_ok=True)
    write_json(opening.link, {"id": run.id, "url": run.url if mode == "online" else None})
    return run


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results as one dictionary, with keys joined by slashes as in W&B's tables."""
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, dict):
            found |= flat(entry, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = entry
    return found
