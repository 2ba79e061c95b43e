"""Runs the missing stages. Independent stages run in parallel, each in its own process."""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

from experiments.engine.causes import words_of_end
from experiments.engine.messages import Counted, Failed, Finished, Measured, Order, Said
from experiments.engine.processes import MEMORY_SETTINGS, allocator_settings, gpu_here
from experiments.engine.slots import Grant, Machine, Needs, by_urgency, next_grant, with_measured
from experiments.engine.watched import needed_to_watch, watched_with
from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure, describe, identity
from experiments.store import Store
from experiments.trainings.validation import FOR_WATCHING
from selfrefine.errors import InputError
from selfrefine.files.temporary_folder import use_own_temporary_folder
from selfrefine.progress import duration

QUIET_SECONDS = 30.0
"""Time (s) between two progress lines of a stage when the output is not a terminal."""


@dataclass(frozen=True)
class Failure:
    """A stage that failed, and why."""

    stage: Stage
    message: str


@dataclass
class Job:
    """A running stage on `cores` cores.

    `slot` is its line on the terminal. It began, and had its last line in a log, at the times
    `began` and `told` (s, monotonic). `latest` is its last progress. `outcome` is the last message
    of its worker, or None while it runs.
    """

    stage: Stage
    cores: int
    slot: int
    process: BaseProcess
    pipe: Connection
    bar: Any
    began: float
    told: float
    latest: Counted | None = None
    outcome: Finished | Failed | None = None


def run_missing(
    targets: list[Stage],
    store: Store,
    groups: dict[Stage, list[str]],
    tags: list[str],
    workers: int | None,
    validation: Songs | None = None,
) -> list[Failure]:
    """Computes every stage that the targets need and the store lacks. Returns the failures.

    A finished stage that is damaged is a failure, and is named before anything is computed. After
    a failure the other stages go on, except those that need the failed one. A finished stage that
    disappears meanwhile is made again. `groups` names
    the tables and rows that need each stage. `workers` has the meaning of `Machine.workers`.
    Trainings are watched with the `validation` songs, which are made first; if it is None,
    trainings are not watched.
    """
    wanted = closure(targets)
    failures = damaged_stages(wanted, store)
    lost = {failure.stage for failure in failures}
    waiting = by_urgency([stage for stage in wanted if not store.done(stage)])
    first = needed_to_watch(waiting, validation, store)
    waiting = without(lost, first + [stage for stage in waiting if stage not in first])
    if not waiting:
        return failures
    watched = {stage: watched_with(stage, validation) for stage in waiting}
    machine = machine_here(workers)
    needs = Needs()
    context = fork_server(machine)
    jobs: list[Job] = []
    retried: set[Stage] = set()
    remade: set[Stage] = set()
    try:
        ready = ready_stages(waiting, store, watched)
        while waiting or jobs:
            while grant := next_grant(ready, grants(jobs), machine, needs):
                stage = grant.stage
                ready.remove(stage)
                waiting.remove(stage)
                known, by = groups.get(stage, [FOR_WATCHING]), watched.get(stage)
                order = Order(stage, store.root, known, tags, grant.cores, stage.on_gpu, by)
                start(context, order, jobs)
            wait([each for job in jobs for each in (job.pipe, job.process.sentinel)], timeout=1.0)
            for job in jobs:
                needs = listen(job, needs)
                tell_when_quiet(job)
            ended = [job for job in jobs if job.outcome is not None]
            for job in ended:
                jobs.remove(job)
                job.process.join()
                job.bar.close()
                if not isinstance(job.outcome, Failed):
                    continue
                if job.stage not in retried and not all(map(store.done, needed_by(job.stage))):
                    # What it failed without is made again below, and then the stage.
                    retried.add(job.stage)
                    waiting.append(job.stage)
                    continue
                if job.stage in wanted:
                    failures.append(Failure(job.stage, job.outcome.message))
                tell(f"FAILED {identity(job.stage)}  {describe(job.stage)}: {job.outcome.message}")
                # Stages that need the failed one, directly or not, cannot run.
                waiting = without({job.stage}, waiting)
                unwatched = {s for s, by in watched.items() if by and job.stage in closure([by])}
                watched |= dict.fromkeys(unwatched)
                if unwatched & set(waiting):
                    tell(f"note   without {describe(job.stage)}, trainings go unwatched")
            if ended or not jobs:
                for stage in disappeared(waiting, jobs, store, watched):
                    tell(f"note   {store.folder(stage)} has disappeared; it is made again")
                    if stage in remade:
                        raise InputError(
                            f"{store.folder(stage)} disappears again and again; find out what "
                            "deletes it, and run again"
                        )
                    remade.add(stage)
                    waiting.append(stage)
                    by = watched_with(stage, validation)
                    watched[stage] = by if by and store.done(by) else None
                ready = ready_stages(waiting, store, watched)
    except BaseException:
        end_all(jobs)
        raise
    return failures


def grants(jobs: list[Job]) -> list[Grant]:
    return [Grant(job.stage, job.cores) for job in jobs]


def damaged_stages(stages: list[Stage], store: Store) -> list[Failure]:
    """The finished stages that are damaged, each told on a line. A file is hashed where that was
    not done before, which can take long."""
    failures = []
    told = time.monotonic()
    for stage in stages:
        if time.monotonic() - told > QUIET_SECONDS:
            told = time.monotonic()
            tell(f"       checking the files of: {describe(stage)}")
        if not store.done(stage):
            continue
        try:
            store.finished(stage)
        except InputError as error:
            failures.append(Failure(stage, str(error)))
            tell(f"FAILED {identity(stage)}  {describe(stage)}: {error}")
    return failures


def needed_by(stage: Stage) -> list[Stage]:
    """All stages that `stage` is made from, directly or not. It may read any of them."""
    return closure([stage])[:-1]


def without(failed: set[Stage], stages: list[Stage]) -> list[Stage]:
    """The stages that need no failed one."""
    return [stage for stage in stages if failed.isdisjoint(closure([stage]))]


def needed_now(stage: Stage, watched: dict[Stage, Stage | None]) -> list[Stage]:
    """What must be done before `stage` starts: its inputs, and the songs it is `watched` with."""
    songs = watched.get(stage)
    return needed_by(stage) if songs is None else [*needed_by(stage), *closure([songs])]


def ready_stages(
    waiting: list[Stage], store: Store, watched: dict[Stage, Stage | None]
) -> list[Stage]:
    """The waiting stages for which all that they need is done.

    This reads the disk, so the runner does not call it at every message.
    """
    return [stage for stage in waiting if all(map(store.done, needed_now(stage, watched)))]


def disappeared(
    waiting: list[Stage], jobs: list[Job], store: Store, watched: dict[Stage, Stage | None]
) -> list[Stage]:
    """What waiting stages need that is neither done nor to be done: it was there, and is gone."""
    needed = dict.fromkeys(each for stage in waiting for each in needed_now(stage, watched))
    coming = {*waiting, *(job.stage for job in jobs)}
    return [stage for stage in needed if stage not in coming and not store.done(stage)]


def machine_here(workers: int | None) -> Machine:
    """This machine: the number of cores that this process may use, and whether there is a GPU."""
    return Machine(len(os.sched_getaffinity(0)), gpu_here(), workers)


def workers_and_threads(workers: int | None) -> tuple[int, int]:
    """How many trials of a study are computed in parallel, and the number of threads of each."""
    machine = machine_here(workers)
    return machine.workers or (1 if machine.gpu else machine.cores), 1


def fork_server(machine: Machine) -> ForkServerContext:
    """Returns the context in which workers fork from a server that has loaded torch once.

    This sets the server's environment before any library reads it. Raises InputError when there is
    no place for temporary files.
    """
    use_own_temporary_folder()
    # All workers share this environment. Each worker sets torch to the cores that it was granted.
    # BLAS, OpenMP and the processes that a stage starts use one core each, since two threads next
    # to another busy process are many times slower than one.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    if not machine.gpu:
        # If every core has a worker, a thread that draws batches only slows the networks down.
        spare = (machine.workers or machine.cores) < machine.cores
        os.environ.setdefault("SELFREFINE_DRAW_AHEAD", str(int(spare)))
    os.environ.update(allocator_settings())
    for name, value in MEMORY_SETTINGS.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.engine.preload", "experiments.tracking.preload"])
    return context


def start(context: ForkServerContext, order: Order, jobs: list[Job]) -> None:
    """Starts a worker on the first free line of the terminal. The worker is added to `jobs` before
    it starts, so that an interruption at any moment can end it."""
    slot = next(place for place in count() if place not in {job.slot for job in jobs})
    receiving, sending = context.Pipe(duplex=False)
    # A daemon process cannot start processes of its own.
    process = context.Process(target=begin_work, args=(order, sending), daemon=False)
    from tqdm import tqdm

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
    now = time.monotonic()
    jobs.append(Job(order.stage, order.cores, slot, process, receiving, bar, now, now))
    try:
        process.start()
    except OSError as error:
        raise InputError(
            f"no worker can be started ({error}); free memory, and space in "
            f"{tempfile.gettempdir()}, or name another folder in TMPDIR"
        ) from error
    sending.close()


def end_all(jobs: list[Job]) -> None:
    """Kills all workers and the processes that they started, and waits for the workers' end."""
    workers = [job.process for job in jobs if job.process.pid is not None]
    for worker in workers:
        worker.terminate()  # it may not have its own process group yet
        kill_group(worker)
    for worker in workers:
        worker.join()
    for job in jobs:
        job.bar.close()


def kill_group(worker: BaseProcess) -> None:
    """Kills what is left of a worker's process group: the worker and the processes it started."""
    if worker.pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)


def begin_work(order: Order, pipe: Connection) -> None:
    """The first call in a worker process. It loads torch unless the server has loaded it."""
    from experiments.engine.worker import work

    work(order, pipe)


def listen(job: Job, needs: Needs) -> Needs:
    """Reads and shows the worker's new messages, and sets the job's outcome at its end. Returns
    `needs` with the memory that the worker measured."""
    name = describe(job.stage)
    # Asked before the pipe is read: the pipe of an ended worker then holds all its messages. The
    # pipe alone does not tell its end, since processes that it started may hold the other end.
    gone = not job.process.is_alive()
    try:
        while job.outcome is None and job.pipe.poll():
            message = job.pipe.recv()
            match message:
                case Counted():
                    job.latest = message
                case Said():
                    tell(f"note   {name}: {message.sentence}")
                case Measured():
                    needs = with_measured(needs, job.stage, message.memory, message.total)
                case Finished():
                    job.outcome = message
                    how = "done elsewhere" if message.elsewhere else f"{message.seconds:.0f} s"
                    tell(f"done   {identity(job.stage)}  {name} ({how})")
                case Failed():
                    job.outcome = message
    except EOFError:
        gone = True
    if gone and job.outcome is None:
        job.process.join()
        kill_group(job.process)
        job.outcome = Failed(words_of_end(job.process.exitcode or 0))
    if job.outcome is None and job.latest is not None:
        job.bar.total = job.latest.total
        job.bar.n = job.latest.done
        job.bar.set_postfix_str(job.latest.word)
    return needs


def tell_when_quiet(job: Job) -> None:
    """Without a terminal, prints a line on the stage every `QUIET_SECONDS`, also where its worker
    says nothing."""
    now = time.monotonic()
    if not job.bar.disable or job.outcome is not None or now - job.told < QUIET_SECONDS:
        return
    job.told = now
    reached = ""
    if job.latest is not None:
        counted = job.latest
        reached = f"{job.stage.unit} {counted.done}/{counted.total} {counted.word}, "
    tell(f"       {describe(job.stage)}: {reached}running for {duration(now - job.began)}")


def tell(line: str) -> None:
    # Here, since a machine that only asks for allocator settings may lack it.
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def report_failures(failures: list[Failure], again: str) -> None:
    """Prints all failures and the command that tries again from the last checkpoints."""
    for failure in failures:
        tell(f"\n{describe(failure.stage)} failed: {failure.message}")
    tell(f"\nTo try again from the last checkpoints: {again}")
