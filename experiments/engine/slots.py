"""What starts next, and on how many cores: decisions without processes, which the runner and a
simulation of it share.

A CPU machine runs one stage on each core. On a GPU machine the GPU runs as many of its stages as
its memory holds, and stages that need no GPU share the cores that are left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.stages.band_songs import BandSongs
from experiments.stages.stage import Stage, closure, inputs
from experiments.stages.training import Training
from experiments.trainings.trial import Settings

CORES_OF_A_GPU_STAGE = 2
"""One for its own thread, one for the thread that draws batches."""

CORES_BEHIND_A_GPU_STAGE = 4
"""The GPU has one stage at most for so many cores of the machine. With fewer, that gets one."""

FULL_GPU = 0.85
"""Of the GPU's memory, what stages side by side may take."""

INFERENCE_SHARE = 0.1
"""Of the GPU's memory, what a stage that applies a trained network is taken to need."""


@dataclass(frozen=True)
class Machine:
    """Its `cores`, and whether it has a GPU. `workers` is the user's choice of how many stages run
    at once, on a GPU machine how many of the GPU's; None where he gave none."""

    cores: int
    gpu: bool
    workers: int | None = None


@dataclass(frozen=True)
class Grant:
    """A stage, and the cores that it computes on."""

    stage: Stage
    cores: int


@dataclass(frozen=True)
class Needs:
    """Bytes of the GPU's memory: the `total` that it has, None until a worker measured it, and by
    their settings what `trainings` take."""

    total: float | None = None
    trainings: Mapping[Settings, float] = field(default_factory=dict)


def with_measured(needs: Needs, stage: Stage, memory: float, total: float) -> Needs:
    """`needs` with what a running stage was found to take. The most counts: trainings of the same
    settings keep different stems on the GPU."""
    if not isinstance(stage, Training):
        return Needs(total, needs.trainings)
    most = max(memory, needs.trainings.get(stage.settings, 0.0))
    return Needs(total, {**needs.trainings, stage.settings: most})


def by_urgency(stages: Sequence[Stage]) -> list[Stage]:
    """Those that most others wait for first, else in the order given."""
    behind = dict.fromkeys(stages, 0)
    for stage in stages:
        for needed in closure([stage]):
            if needed in behind:
                behind[needed] += 1
    return sorted(stages, key=lambda stage: -behind[stage])


def next_grant(
    ready: Sequence[Stage], running: Sequence[Grant], machine: Machine, needs: Needs
) -> Grant | None:
    """The first of the stages `ready` that may start beside those `running`; None where none may.

    Something may always start where nothing runs.
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
    """Whether a stage may join those `beside` it on the GPU. What a user chose goes unquestioned.

    A training whose need of memory is unknown runs beside no other training; beside inference it
    does, as a network that is applied needs little.
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
    """What a stage takes of the GPU's memory; None for a training of which it is not known."""
    if not isinstance(stage, Training):
        return INFERENCE_SHARE
    need = needs.trainings.get(stage.settings)
    return None if need is None or needs.total is None else need / needs.total


def cores_of_a_gpu_stage(machine: Machine) -> int:
    return CORES_OF_A_GPU_STAGE if machine.cores >= CORES_BEHIND_A_GPU_STAGE else 1


def cores_left(running: Sequence[Grant], machine: Machine) -> int:
    """For further stages without GPU. The cores of one GPU stage stay free for it; less than none
    are left after several GPU stages have started beside a full machine."""
    gpu_stages = sum(grant.stage.on_gpu for grant in running)
    shared = machine.cores - cores_of_a_gpu_stage(machine) * max(1, gpu_stages)
    taken = sum(grant.cores for grant in running if not grant.stage.on_gpu)
    return max(1, shared) - taken


def shared_cores(stage: Stage, ready: Sequence[Stage], left: int) -> int:
    """Of the cores `left`, what a stage without GPU gets: one, and where several cores speed it up
    its share of what other ready stages leave, so that stages of that kind end together."""
    if not stage.many_cores:
        return 1
    many = [each for each in ready if each.many_cores]
    single = sum(not each.on_gpu and not each.many_cores for each in ready)
    free = left - single
    share = round(free * seconds_of_songs(stage) / sum(map(seconds_of_songs, many)))
    # Every other stage of the kind gets a core at least.
    return max(1, min(share, free - (len(many) - 1)))


def seconds_of_songs(stage: Stage) -> float:
    """How much work a stage is, beside others of many cores."""
    return stage.songs * stage.seconds if isinstance(stage, BandSongs) else 1.0


def wall_seconds(
    stages: Sequence[Stage],
    seconds: Callable[[Stage], float],
    done: Callable[[Stage], bool],
    machine: Machine,
    needs: Needs,
) -> float:
    """When the last of the stages that are not `done` ends, in seconds from the first one's start.

    `seconds` are a stage's on one core; several cores share the work of one that can use them. A
    GPU stage is taken to be as fast beside others as alone. An input that is not among the stages
    is not waited for.
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
