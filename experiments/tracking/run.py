"""A stage's W&B run, kept by a thread of its own."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from experiments.naming import describe
from experiments.stages import (
    BandSongs,
    FolderSongs,
    Stage,
    closure,
    expression,
    identity,
    kind,
    trained_seed,
)
from experiments.store import Store, write_json
from experiments.tracking.mode import (
    PATIENCE,
    Mode,
    note_unreachable,
    reachable,
    silence_when_offline,
    wandb_mode,
)

if TYPE_CHECKING:  # it loads torch, which studies and reports do without
    from selfrefine.training.loop import StepReport

PROJECT = "selfrefine"
STEPS_BETWEEN_LOGS = 10
LONGEST_TAG = 64
LINK = "wandb.json"
"""In a stage's folder: its run's id, and its address when it has one."""

log = logging.getLogger(__name__)

Call = Callable[[Any], object]


@dataclass(frozen=True)
class Tracked:
    """What a run is told at its beginning. `groups` are the table and the rows that need the stage,
    `tags` what a dashboard filters by, `origin` where it runs: commit, device and the like."""

    stage: Stage
    store: Store
    groups: list[str]
    tags: list[str]
    origin: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.store.root / "wandb"


class Tracker:
    """Hands calls to a run in the order they came, and never waits for it but at the end."""

    def __init__(self, tracked: Tracked, mode: Mode) -> None:
        self.tracked = tracked
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self.exit_code = 0
        self.thread: threading.Thread | None = None
        if mode != "disabled":
            self.thread = threading.Thread(target=self.keep, args=(mode,), daemon=True)
            self.thread.start()

    def keep(self, mode: Mode) -> None:
        """The thread: begins the run, makes the calls, ends it. What fails is said once."""
        try:
            run = begin(self.tracked, mode)
            failed = False
            while (call := self.calls.get()) is not None:
                try:
                    call(run)
                except Exception as error:
                    # W&B's failures are of no fixed kind; what other calls can do is still done.
                    if not failed:
                        log.warning("W&B: %s: %s", describe(self.tracked.stage), error)
                    failed = True
            end(run, self.tracked, self.exit_code)
        except Exception as error:
            log.warning("W&B: %s; this stage goes on untracked", error)

    def tell(self, call: Call) -> None:
        if self.thread is not None:
            self.calls.put(call)

    def step(self, report: "StepReport") -> None:
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

    def finish(self, result: dict[str, Any] | None) -> None:
        """Hands over what a finished stage holds and waits a while for the run's end; None for a
        stage that failed."""
        if self.thread is None:
            return
        if result is None:
            self.exit_code = 1
        else:
            self.tell(lambda run: run.summary.update(summary_of(result)))
            self.tell(lambda run: log_content(run, self.tracked, result))
            self.tell(lambda run: log_artifacts(run, self.tracked))
        self.calls.put(None)
        self.thread.join(timeout=2 * PATIENCE + 5)
        if self.thread.is_alive():
            note_unreachable(self.tracked.folder)
            log.warning(
                "W&B takes too long; `wandb sync --include-online %s` sends the rest later",
                self.tracked.folder / "wandb",
            )


def start_tracking(
    stage: Stage, groups: list[str], root: Path, tags: list[str], origin: dict[str, Any]
) -> Tracker:
    """A run for `stage`, grouped by the table that needs it first. The same stage resumed is the
    same run."""
    mode = wandb_mode()
    silence_when_offline(mode)
    return Tracker(Tracked(stage, Store(root), groups, tags, origin), mode)


def begin(tracked: Tracked, mode: Mode) -> Any:
    """The run; in files when the server cannot be reached. Raises whatever W&B raises."""
    if mode == "online" and reachable(tracked.folder):
        try:
            return open_run(tracked, mode)
        except Exception as error:
            note_unreachable(tracked.folder)
            log.warning(
                "W&B: the server cannot be reached (%s); runs go to files in %s, which "
                "`wandb sync` sends later",
                str(error).splitlines()[0] if str(error) else repr(error),
                tracked.folder / "wandb",
            )
    return open_run(tracked, "offline" if mode == "online" else mode)


def open_run(tracked: Tracked, mode: Mode) -> Any:
    import wandb

    stage = tracked.stage
    tracked.folder.mkdir(parents=True, exist_ok=True)
    labels = [*tracked.tags, f"seed {trained_seed(stage)}", *tracked.groups[1:]]
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=run_id(stage),
        name=describe(stage),
        group=tracked.groups[0] if tracked.groups else None,
        job_type=kind(stage),
        tags=[label[:LONGEST_TAG] for label in dict.fromkeys(labels)],
        config=config_of(tracked),
        dir=str(tracked.folder),
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
            init_timeout=PATIENCE,
            finish_timeout=PATIENCE,
            finish_timeout_raises=True,
        ),
    )
    link = {"id": run.id, "url": run.url if mode == "online" else None}
    write_json(tracked.store.folder(stage) / LINK, link)
    return run


def run_id(stage: Stage) -> str:
    return f"{kind(stage)}-{identity(stage)}"


def end(run: Any, tracked: Tracked, exit_code: int) -> None:
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        note_unreachable(tracked.folder)
        log.warning(
            "W&B did not take all of %s in time; `wandb sync --include-online %s` sends the rest",
            describe(tracked.stage),
            Path(run.dir).parent,
        )


def config_of(tracked: Tracked) -> dict[str, Any]:
    """The resolved stage, its identity, the data's fingerprints, and where it runs."""
    songs = [s for s in closure([tracked.stage]) if isinstance(s, BandSongs | FolderSongs)]
    data = {
        describe(each): each.fingerprint if isinstance(each, FolderSongs) else identity(each)
        for each in songs
    }
    return {
        **expression(tracked.stage),
        "identity": identity(tracked.stage),
        "data_fingerprint": data,
        "origin": tracked.origin,
        "store": str(tracked.store.folder(tracked.stage)),
    }


def log_content(run: Any, tracked: Tracked, result: dict[str, Any]) -> None:
    from experiments.tracking.content import content_of

    values = content_of(tracked.stage, tracked.store, result)
    if values:
        run.log(values)


def log_artifacts(run: Any, tracked: Tracked) -> None:
    from experiments.tracking.lineage import log_lineage

    log_lineage(run, tracked.stage, tracked.store)


def summary_of(result: dict[str, Any]) -> dict[str, Any]:
    """A result for a run's summary; what is per track is in a table instead."""
    return flat({key: value for key, value in result.items() if key != "tracks"})


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results with their keys joined by slashes, as W&B's tables show them."""
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, dict):
            found |= flat(entry, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = entry
    return found
