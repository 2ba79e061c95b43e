"""Runs what is missing: independent stages side by side, each in a process of its own."""

import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.messages import Failed, Finished, Order, Progress, Said
from experiments.naming import describe
from experiments.stages import Songs, Stage, closure, identity, inputs
from experiments.store import Store
from experiments.validation import needed_to_watch, watched_with

QUIET_SECONDS = 30.0
"""How often a log that is no terminal hears of a running stage."""

FOR_WATCHING = "validation"
"""The group of stages that no row needs: they are made to watch trainings with."""

DEVICES = Path("/dev")

MEMORY_SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc keeps freed memory instead of handing it back: a fifth of a CPU training's time."""


@dataclass(frozen=True)
class Failure:
    """A stage that did not end, and why."""

    stage: Stage
    message: str


@dataclass
class Job:
    """A running stage. `outcome` is its last word, None until it came."""

    stage: Stage
    slot: int
    process: BaseProcess
    pipe: Connection
    bar: Any
    told: float
    outcome: Finished | Failed | None = None


def run_missing(
    targets: list[Stage],
    store: Store,
    groups: dict[Stage, list[str]],
    tags: list[str],
    workers: int | None,
    validation: Songs | None = None,
) -> list[Failure]:
    """Computes every stage that the targets need and the store lacks; returns what failed.

    A failed stage leaves the others running; what needs it is not run. `groups` names the tables
    and rows behind each stage; `workers` of None lets the device decide. Trainings are watched with
    `validation` songs, which are made first; without them they go unwatched.
    """
    wanted = closure(targets)
    waiting = by_urgency([stage for stage in wanted if not store.done(stage)])
    if not waiting:
        return []
    first = needed_to_watch(waiting, validation, store)
    waiting = first + [stage for stage in waiting if stage not in first]
    watched = {stage: watched_with(stage, validation) for stage in waiting}
    count, threads = workers_and_threads(workers)
    context = fork_server(count, threads)
    failures: list[Failure] = []
    jobs: list[Job] = []
    try:
        ready = ready_stages(waiting, store, watched)
        while waiting or jobs:
            while ready and len(jobs) < count:
                stage = ready.pop(0)
                waiting.remove(stage)
                slot = min(set(range(count)) - {job.slot for job in jobs})
                known = groups.get(stage, [FOR_WATCHING])
                order = Order(
                    stage, store.root, known, tags, threads, os.getpid(), watched.get(stage)
                )
                jobs.append(start(context, slot, order))
            wait([job.pipe for job in jobs], timeout=1.0)
            for job in jobs:
                listen(job)
            ended = [job for job in jobs if job.outcome is not None]
            for job in ended:
                jobs.remove(job)
                job.process.join()
                job.bar.close()
                if isinstance(job.outcome, Failed):
                    if job.stage in wanted:
                        failures.append(Failure(job.stage, job.outcome.message))
                    # What needs it can not run; neither, in turn, can what needs that.
                    waiting = [stage for stage in waiting if job.stage not in closure([stage])]
                    lost = {s for s, by in watched.items() if by and job.stage in closure([by])}
                    watched |= dict.fromkeys(lost)
                    if lost & set(waiting):
                        tell(f"note   without {describe(job.stage)}, trainings go unwatched")
            if ended or not jobs:
                ready = ready_stages(waiting, store, watched)
    except BaseException:
        for job in jobs:
            job.process.terminate()
            job.bar.close()
        raise
    return failures


def ready_stages(
    waiting: list[Stage], store: Store, watched: dict[Stage, Stage | None]
) -> list[Stage]:
    """Those whose inputs are done, and what they are `watched` with. Not asked at every message: it
    looks at the disk."""

    def ready(stage: Stage) -> bool:
        songs = watched.get(stage)
        needs = inputs(stage) if songs is None else [*inputs(stage), songs]
        return all(store.done(needed) for needed in needs)

    return [stage for stage in waiting if ready(stage)]


def by_urgency(stages: list[Stage]) -> list[Stage]:
    """Those that most others wait for first, else in the order given."""
    closures = {stage: set(closure([stage])) for stage in stages}
    behind = {stage: sum(stage in needs for needs in closures.values()) for stage in stages}
    return sorted(stages, key=lambda stage: -behind[stage])


def workers_and_threads(workers: int | None) -> tuple[int, int]:
    """Processes at once and threads each. On a CPU, one-thread processes side by side beat one
    process with all threads by a third, and two threads beside another busy process are many times
    slower than one; a GPU takes one stage at a time unless told otherwise."""
    cores = len(os.sched_getaffinity(0))
    if on_gpu():
        count = workers or 1
        return count, max(1, cores // count)
    return workers or cores, 1


def on_gpu() -> bool:
    """Whether workers will train on a GPU; looks for the driver's devices, of which a container may
    have been given any, since torch is not loaded here."""
    if os.environ.get("SELFREFINE_DEVICE", "cuda").startswith("cpu"):
        return False
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return any(DEVICES.glob("nvidia[0-9]*"))


def fork_server(workers: int, threads: int) -> ForkServerContext:
    """Workers fork from a server that has loaded torch once. Its environment is set here, before
    any library reads it."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if not on_gpu():
        # Where every core has a worker, a drawing thread only gets in the networks' way.
        spare = workers < len(os.sched_getaffinity(0))
        os.environ.setdefault("SELFREFINE_DRAW_AHEAD", str(int(spare)))
    for name, value in MEMORY_SETTINGS.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.worker", "experiments.tracking.preload"])
    return context


def start(context: ForkServerContext, slot: int, order: Order) -> Job:
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=begin_work, args=(order, sending), daemon=True)
    process.start()
    sending.close()
    bar = tqdm(
        desc=f"{describe(order.stage)[:44]:44s}",
        total=1,
        position=slot,
        leave=False,
        unit=order.stage.unit,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    tell(f"start  {identity(order.stage)}  {describe(order.stage)}")
    return Job(order.stage, slot, process, receiving, bar, time.monotonic())


def begin_work(order: Order, pipe: Connection) -> None:
    """A worker process' first call; loads torch there unless its server already has."""
    from experiments.worker import work

    work(order, pipe)


def listen(job: Job) -> None:
    """Takes what the worker said since, shows it, and notes its end."""
    name = describe(job.stage)
    latest: Progress | None = None
    try:
        while job.outcome is None and job.pipe.poll():
            message = job.pipe.recv()
            match message:
                case Progress():
                    latest = message
                case Said():
                    tell(f"note   {name}: {message.sentence}")
                case Finished():
                    job.outcome = message
                    how = "done elsewhere" if message.elsewhere else f"{message.seconds:.0f} s"
                    tell(f"done   {identity(job.stage)}  {name} ({how})")
                case Failed():
                    job.outcome = message
    except EOFError:
        job.process.join()
        code = job.process.exitcode or 0
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        job.outcome = Failed(f"its process ended by {reason}")
    if isinstance(job.outcome, Failed):
        tell(f"FAILED {identity(job.stage)}  {name}: {job.outcome.message}")
    elif latest is not None:
        show(job, latest)


def show(job: Job, progress: Progress) -> None:
    """Moves the bar; without a terminal, prints a line now and then."""
    job.bar.total = progress.total
    job.bar.n = progress.done
    job.bar.set_postfix_str(progress.word)
    if job.bar.disable and time.monotonic() - job.told > QUIET_SECONDS:
        job.told = time.monotonic()
        unit = f"{job.stage.unit} {progress.done}/{progress.total}"
        tell(f"       {describe(job.stage)}: {unit} {progress.word}")


def tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def report_failures(failures: list[Failure], again: str) -> None:
    """Says at the end what failed and the command that tries it again, from its checkpoint."""
    for failure in failures:
        tell(f"\n{describe(failure.stage)} failed: {failure.message}")
    tell(f"\nTo try again from the last checkpoints: {again}")
