"""Decides which stage starts next, and on how many cores.

The functions start no processes, so the runner and a simulation of it share them. A CPU machine
runs one stage on each core. On a GPU machine the GPU runs as many stages as its memory holds, and
stages that need no GPU share the remaining cores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.stages.band_songs import BandSongs
from experiments.stages.stage import Stage, closure, inputs
from experiments.stages.training import Training
from experiments.trainings.step_cost import Settings

CORES_OF_A_GPU_STAGE = 2
"""One core for the training thread, one for the thread that draws batches."""

CORES_BEHIND_A_GPU_STAGE = 4
"""The GPU runs at most one stage per this many cores of the machine. On a machine with fewer cores
it runs one stage, on one core."""

FULL_GPU = 0.85
"""Share of the GPU's memory that parallel stages may take together."""

INFERENCE_SHARE = 0.1
"""Assumed share of the GPU's memory for a stage that applies a trained network."""


@dataclass(frozen=True)
class Machine:
    """A machine with `cores` cores, with or without a GPU.

    `workers` is the number of stages at once that the user chose, or None. On a GPU machine it
    counts only the stages on the GPU.
    """

    cores: int
    gpu: bool
    workers: int | None = None


@dataclass(frozen=True)
class Grant:
    """A stage and the number of cores on which it computes."""

    stage: Stage
    cores: int


@dataclass(frozen=True)
class Needs:
    """GPU memory in bytes: the `total` of the GPU, None until a worker has measured it, and the
    measured need of `trainings`, by their settings."""

    total: float | None = None
    trainings: Mapping[Settings, float] = field(default_factory=dict)


def with_measured(needs: Needs, stage: Stage, memory: float, total: float) -> Needs:
    """`needs` with the measured `memory` of a running stage. Of several measurements the largest
    counts, since trainings of the same settings keep different stems on the GPU."""
    if not isinstance(stage, Training):
        return Needs(total, needs.trainings)
    most = max(memory, needs.trainings.get(stage.settings, 0.0))
    return Needs(total, {**needs.trainings, stage.settings: most})


def by_urgency(stages: Sequence[Stage]) -> list[Stage]:
    """Sorts stages by the number of stages that need them, the most needed first. Ties keep the
    given order."""
    behind = dict.fromkeys(stages, 0)
    for stage in stages:
        for needed in closure([stage]):
            if needed in behind:
                behind[needed] += 1
    return sorted(stages, key=lambda stage: -behind[stage])


def next_grant(
    ready: Sequence[Stage], running: Sequence[Grant], machine: Machine, needs: Needs
) -> Grant | None:
    """The first of the stages `ready` that may start next to those `running`, or None.

    If nothing runs, a ready stage may always start.
    """
    if not machine.gpu:
        free = len(running) < (machine.workers or machine.cores)
        return Grant(ready[0], 1) if ready and free else None
    beside = [grant.stage for grant in running if grant.stage.on_gpu]
    left = cores_left(running, machine)
    for stage in ready:
        if stage.on_gpu:
            if fits_on_gpu(stage, beside, machine, needs):
                return Grant(stage, cores_of_a_gpu_stage(machine))
        elif left > 0:
            return Grant(stage, shared_cores(stage, ready, left))
    return None


def fits_on_gpu(stage: Stage, beside: list[Stage], machine: Machine, needs: Needs) -> bool:
    """Whether a stage may join the stages `beside` it on the GPU.

    The user's number of `workers` is used without a check of the memory. A training of unknown
    memory does not run next to another training. It may run next to inference, which needs little
    memory.
    """
    if machine.workers:
        return len(beside) < machine.workers
    if len(beside) >= max(1, machine.cores // CORES_BEHIND_A_GPU_STAGE):
        return False
    together = [stage, *beside]
    shares = [memory_share(each, needs) for each in together]
    known = [share for share in shares if share is not None]
    trainings = sum(isinstance(each, Training) for each in together)
    if len(known) < len(shares) and trainings > 1:
        return False
    return not beside or sum(known) <= FULL_GPU


def memory_share(stage: Stage, needs: Needs) -> float | None:
    """The share of the GPU's memory that a stage takes; None for a training of unknown memory."""
    if not isinstance(stage, Training):
        return INFERENCE_SHARE
    need = needs.trainings.get(stage.settings)
    return None if need is None or needs.total is None else need / needs.total


def cores_of_a_gpu_stage(machine: Machine) -> int:
    return CORES_OF_A_GPU_STAGE if machine.cores >= CORES_BEHIND_A_GPU_STAGE else 1


def cores_left(running: Sequence[Grant], machine: Machine) -> int:
    """Cores left for further stages without GPU.

    The cores of one GPU stage are always kept free. The result is negative if several GPU stages
    have started while all other cores were in use.
    """
    gpu_stages = sum(grant.stage.on_gpu for grant in running)
    shared = machine.cores - cores_of_a_gpu_stage(machine) * max(1, gpu_stages)
    taken = sum(grant.cores for grant in running if not grant.stage.on_gpu)
    return max(1, shared) - taken


def shared_cores(stage: Stage, ready: Sequence[Stage], left: int) -> int:
    """The number of the cores `left` that a stage without GPU gets.

    A stage that cannot use several cores gets one. The others share the remaining cores by their
    amount of work, so that they end at the same time.
    """
    if not stage.many_cores:
        return 1
    many = [each for each in ready if each.many_cores]
    single = sum(not each.on_gpu and not each.many_cores for each in ready)
    free = left - single
    share = round(free * seconds_of_songs(stage) / sum(map(seconds_of_songs, many)))
    # Every other stage that can use several cores must get at least one.
    return max(1, min(share, free - (len(many) - 1)))


def seconds_of_songs(stage: Stage) -> float:
    """The amount of work of a stage that can use many cores, relative to others of that kind."""
    return stage.songs * stage.seconds if isinstance(stage, BandSongs) else 1.0


def wall_seconds(
    stages: Sequence[Stage],
    seconds: Callable[[Stage], float],
    done: Callable[[Stage], bool],
    machine: Machine,
    needs: Needs,
) -> float:
    """Seconds from now until the last of the stages that are not `done` ends.

    `seconds` gives a stage's time on one core; a stage that can use several cores is faster by
    their number. A GPU stage is assumed to be as fast next to others as alone. Inputs that are not
    among `stages` are assumed to exist.
    """
    waiting = by_urgency([stage for stage in stages if not done(stage)])
    missing = set(waiting)
    left = {stage: missing.intersection(inputs(stage)) for stage in waiting}
    running: list[tuple[float, Grant]] = []
    clock = 0.0
    while waiting or running:
        ready = [stage for stage in waiting if not left[stage]]
        while grant := next_grant(ready, [each for _, each in running], machine, needs):
            ready.remove(grant.stage)
            waiting.remove(grant.stage)
            sharing = grant.cores if grant.stage.many_cores else 1
            running.append((clock + seconds(grant.stage) / sharing, grant))
        clock = min(end for end, _ in running)
        ended = {grant.stage for end, grant in running if end == clock}
        running = [(end, grant) for end, grant in running if end > clock]
        for stage in waiting:
            left[stage] -= ended
    return clock
