"""A W&B run, kept by a thread of its own."""

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
"""How long writing a run's files may take on a busy machine; no server is waited for."""
FLUSH_SECONDS = 5.0
"""What a kill can cost of a run's file at most."""

log = logging.getLogger(__name__)

Call = Callable[[Any], object]


@dataclass(frozen=True)
class Opening:
    """What a run is told at its beginning. Its files go to `folder`/wandb; `link` is a file that
    gets the run's id and its address. `show` makes of a result what is told at the run's end."""

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
    """Hands calls to a run in the order they came, and never waits for it but at the end."""

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
        """The thread: begins the run, makes the calls, ends it. What fails is said once."""
        try:
            run = self.begin()
            failed = False
            while (call := self.calls.get()) is not None:
                try:
                    call(run)
                except Exception as error:
                    # W&B's failures are of no fixed kind; what other calls can do is still done.
                    if not failed:
                        log.warning("W&B: %s: %s", self.opening.name, error)
                    failed = True
            self.end(run)
        except Exception as error:
            log.warning("W&B: %s; %s goes on untracked", error, self.opening.name)

    def begin(self) -> Any:
        """The run; in files when the server cannot be reached. Raises whatever W&B raises."""
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
        """Tells what a result shows and waits a while for the run's end; None for a failure."""
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
    """Ends W&B's own process, which holds the run's id, and removes what it began to write."""
    import wandb

    wandb.teardown()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def open_run(opening: Opening, mode: Mode) -> Any:
    import wandb

    opening.folder.mkdir(parents=True, exist_ok=True)
    # Artifacts' files wait beside the runs, not in the user's home, until they are sent.
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
        # Offline, the files of one id are appended to each other when they are sent.
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
    """Nested results with their keys joined by slashes, as W&B's tables show them."""
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, dict):
            found |= flat(entry, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = entry
    return found
