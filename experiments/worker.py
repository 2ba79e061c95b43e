"""One stage in a process of its own: lock, compute, record."""

import logging
import os
import subprocess
import threading
import time
import traceback
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from experiments.compute import Work, compute
from experiments.messages import Failed, Finished, Order, Progress, Said
from experiments.store import Store
from experiments.tracking.stage import start_tracking
from experiments.validation import add_validation
from selfrefine.errors import InputError
from selfrefine.training.device import training_device
from selfrefine.training.loop import StepReport


def work(order: Order, pipe: Connection) -> None:
    """Computes one stage, telling `pipe` how it goes; its last message is Finished or Failed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    threading.Thread(target=end_with_parent, args=(order.parent,), daemon=True).start()
    torch.set_num_threads(order.threads)
    store = Store(order.root)
    folder = store.folder(order.stage)
    try:
        with store.locked(order.stage) as waited:
            if waited and store.done(order.stage):
                pipe.send(Finished(0.0, elsewhere=True))
                return
            pipe.send(Finished(computed(order, store, folder, pipe), elsewhere=False))
    except InputError as error:
        pipe.send(Failed(str(error)))
    except Exception as error:  # whatever it is, the other stages go on and the user reads of it
        (folder / "error.log").write_text(traceback.format_exc())
        pipe.send(Failed(f"{type(error).__name__}: {error} (see {folder / 'error.log'})"))


def computed(order: Order, store: Store, folder: Path, pipe: Connection) -> float:
    """Computes the stage, tracked, and records it; returns its seconds."""
    began = time.monotonic()
    started = datetime.now(UTC)
    origin = {
        "commit": git_commit(),
        "device": device_name(),
        "threads": order.threads,
        "torch": torch.__version__,
        "started": started.isoformat(timespec="seconds"),
    }
    tracker = start_tracking(order.stage, order.groups, order.root, order.tags, origin)

    def listen(report: StepReport) -> None:
        rate = 1 / report.seconds if report.seconds else 0.0
        word = f"loss {report.loss:.4f}, {rate:.1f} steps/s"
        pipe.send(Progress(report.step, report.steps, word))
        tracker.step(report)

    def validated(step: int, values: dict[str, float]) -> None:
        add_validation(folder, step, values)
        tracker.validation(step, values)

    job = Work(
        store,
        folder,
        listen,
        lambda done, total: pipe.send(Progress(done, total)),
        lambda sentence: pipe.send(Said(sentence)),
        order.watched_with,
        validated,
    )
    result: dict[str, Any] | None = None
    try:
        result = compute(order.stage, job)
        seconds = time.monotonic() - began
        store.finish(order.stage, result, {**origin, "seconds": round(seconds, 2)})
        return seconds
    finally:
        tracker.finish(result)


def end_with_parent(parent: int) -> None:
    """Ends this process soon after its runner is gone, however that went."""
    while True:
        time.sleep(1.0)
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)


def device_name() -> str:
    device = training_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def git_commit() -> str:
    """The commit of the code, "+" behind it when files differ from it; "unknown" without git."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changes else "")
