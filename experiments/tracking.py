"""Each stage as a W&B run: offline unless the user is logged in, off with WANDB_MODE=disabled.

Nothing that W&B does or fails to do may fail a stage, so every call into it is guarded here and
nowhere else.
"""

import logging
import netrc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from experiments.naming import describe
from experiments.stages import Stage, expression, identity, kind
from selfrefine.training.loop import StepReport

Mode = Literal["online", "offline", "disabled", "shared"]

PROJECT = "selfrefine"
STEPS_BETWEEN_LOGS = 10

log = logging.getLogger(__name__)


def wandb_mode() -> Mode:
    """What $WANDB_MODE says; else online with a key in the environment or in .netrc, else
    offline."""
    chosen = os.environ.get("WANDB_MODE")
    for mode in get_args(Mode):
        if chosen == mode:
            return cast(Mode, mode)
    if chosen:
        log.warning("WANDB_MODE=%s is none of W&B's modes; tracking offline", chosen)
        return "offline"
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    try:
        logins = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        logins = {}
    return "online" if any("wandb" in host for host in logins) else "offline"


@dataclass
class Tracker:
    """One stage's run; `run` is None when tracking is off or failed to start."""

    run: Any = None

    def guarded(self, call: Callable[[Any], object]) -> None:
        """Hands the run to `call`; a failure is logged once and ends the tracking."""
        if self.run is None:
            return
        try:
            call(self.run)
        except Exception as error:  # W&B's failures are of no fixed kind, and none may cost a stage
            log.warning("W&B: %s; this stage goes on untracked", error)
            self.run = None

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
        self.guarded(lambda run: run.log(values, step=report.step))

    def finish(self, result: dict[str, Any] | None) -> None:
        """Writes a stage's result into the run's summary and closes it; None for a failure."""
        if result is not None:
            self.guarded(lambda run: run.summary.update(flat(result)))
        self.guarded(lambda run: run.finish(exit_code=0 if result is not None else 1))
        self.run = None


def start_tracking(stage: Stage, groups: list[str], folder: Path, tags: list[str]) -> Tracker:
    """A run for `stage`, grouped by the table that needs it first. The same stage resumed is the
    same run."""
    mode = wandb_mode()
    if mode == "disabled":
        return Tracker()
    tracker = Tracker(run=False)

    def begin(_: Any) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        tracker.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=f"{kind(stage)}-{identity(stage)}",
            name=describe(stage),
            group=groups[0] if groups else None,
            job_type=kind(stage),
            tags=[*tags, *groups[1:]],
            config=expression(stage),
            dir=str(folder),
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    tracker.guarded(begin)
    return tracker


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results with their keys joined by slashes, as W&B's tables show them."""
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, dict):
            found |= flat(entry, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = entry
    return found
