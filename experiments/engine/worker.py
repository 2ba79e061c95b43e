"""Computes one stage in its own process: takes its lock, computes it, and records the result."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from experiments.commit import commit_of_code
from experiments.engine.causes import LESS_MEMORY, first_line, words_of_error
from experiments.engine.estimates import cost_of_run
from experiments.engine.messages import Counted, Failed, Finished, Measured, Order, Said
from experiments.store import Store
from experiments.tracking.stage import start_tracking
from experiments.trainings.validation import add_validation
from experiments.work import Work
from selfrefine.errors import InputError
from selfrefine.progress import Progress, StepReport
from selfrefine.training.device import training_device
from selfrefine.training.memory import is_out_of_memory

CONTEXT_BYTES = 0.5e9
"""GPU memory (bytes) that a process takes in addition to torch's: CUDA's context and kernels."""


def work(order: Order, pipe: Connection) -> None:
    """Computes one stage and sends messages to `pipe`. The last message is Finished or Failed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # The processes that this one starts are in its group. The runner kills the group, or the
    # thread below does when the runner has ended.
    os.setpgid(0, 0)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if not order.on_gpu:
        # Set before any code asks for the device: a CUDA context takes half a gigabyte of the GPU.
        os.environ["SELFREFINE_DEVICE"] = "cpu"
    torch.set_num_threads(order.cores)
    folder = order.root
    try:
        store = Store(order.root)
        folder = store.folder(order.stage)
        with store.locked(order.stage):
            if store.done(order.stage):
                pipe.send(Finished(0.0, elsewhere=True))
                return
            pipe.send(Finished(computed(order, store, folder, pipe), elsewhere=False))
    except InputError as error:
        pipe.send(Failed(str(error)))
    except Exception as error:  # any error: the other stages go on, and the user gets a message
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            pipe.send(Failed(f"memory ran out ({first_line(error)}); {LESS_MEMORY}"))
        else:
            pipe.send(Failed(words_of_error(error, folder)))


def computed(order: Order, store: Store, folder: Path, pipe: Connection) -> float:
    """Computes the stage with tracking, and records its result. Returns its seconds."""
    began = time.monotonic()
    started = datetime.now(UTC)
    device = training_device()
    unmeasured = device.type == "cuda"
    origin = {
        "commit": commit_of_code(),
        "device": device_in_words(),
        "threads": order.cores,
        "torch": torch.__version__,
        "started": started.isoformat(timespec="seconds"),
    }
    tracker = start_tracking(order.stage, order.groups, order.root, order.tags, origin)

    def step(report: StepReport) -> None:
        nonlocal unmeasured
        if unmeasured:
            unmeasured = False
            pipe.send(measured(device))
        rate = 1 / report.seconds if report.seconds else 0.0
        word = f"loss {report.loss:.4f}, {rate:.1f} steps/s"
        pipe.send(Counted(report.step, report.steps, word))
        tracker.step(report)

    def validated(step: int, values: dict[str, float]) -> None:
        add_validation(folder, step, values)
        tracker.validation(step, values)

    job = Work(
        store,
        folder,
        Progress(
            step,
            lambda done, total: pipe.send(Counted(done, total)),
            lambda sentence: pipe.send(Said(sentence)),
        ),
        order.watched_with,
        validated,
        cores=order.cores,
    )
    result: dict[str, Any] | None = None
    try:
        result = order.stage.compute(job)
        seconds = time.monotonic() - began
        # A resumed training took the time of its earlier steps, too.
        whole = seconds + result.get("resumed_at_seconds", 0.0)
        run = {**origin, "seconds": round(whole, 2), **cost_of_run(order.stage)}
        store.finish(order.stage, result, run)
        return seconds
    finally:
        tracker.finish(result)


def measured(device: torch.device) -> Measured:
    """The peak of GPU memory that this process has taken so far."""
    memory = torch.cuda.max_memory_reserved(device) + CONTEXT_BYTES
    _, total = torch.cuda.mem_get_info(device)
    return Measured(memory, float(total))


def end_with_parent() -> None:
    """Kills this process and those that it started as soon as its runner has ended for any
    reason."""
    runner = multiprocessing.parent_process()
    assert runner is not None
    runner.join()
    os.killpg(0, signal.SIGKILL)


def device_in_words() -> str:
    device = training_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
