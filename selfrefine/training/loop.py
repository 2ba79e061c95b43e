"""The one training loop, for the classifier and both separators.

Every random draw of a step depends on the seed and the step alone. A run that is killed and resumed
therefore computes what an unbroken one does, bit for bit on a CPU. On a GPU two runs differ in the
last bits: its sums are not always in the same order, and cuDNN chooses algorithms by timing.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfrefine.progress import Progress, StepReport
from selfrefine.training.checkpoint import Checkpoints
from selfrefine.training.compiling import compile_layers
from selfrefine.training.device import items_at_once
from selfrefine.training.drawing import Draws, draw_now, drawn_batches
from selfrefine.training.fitting import Fitting
from selfrefine.training.gradients import Gradients, gradient_norm
from selfrefine.training.history import History
from selfrefine.training.inspection import Inspect, Inspections
from selfrefine.training.losses import Losses
from selfrefine.training.precision import trusts_bf16
from selfrefine.training.schedule import Schedule, adamw, set_rate
from selfrefine.training.speed import batch_flops
from selfrefine.training.task import Task
from selfrefine.training.timing import StepTimer
from selfrefine.training.warm_up import warm_up

STEPS_A_REPORT = {"cpu": 1, "cuda": 20}
"""Steps between reports. Reading a loss waits for a GPU, so there it is read less often."""


@dataclass(frozen=True)
class Place:
    """Where a training computes, and what it reports to.

    `folder` gets checkpoints and weights. `inspect` changes no weight and no report.
    `items_at_once` of a batch go through the network together at first; None stands for all.
    """

    folder: Path
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    inspect: Inspect | None = None
    items_at_once: int | None = None


@dataclass(frozen=True)
class Trained:
    """How a training of `steps` steps ended.

    `history` is that of the whole training, also where it was resumed. `step_flops` are the
    floating-point operations of a step. They are 0 if memory does not hold what counts them.
    `items_at_once` went through the network together in the last step. `stems_on_device` says
    whether the stems were on the GPU.
    """

    steps: int
    history: History
    step_flops: int
    items_at_once: int
    stems_on_device: bool


def train(
    model: nn.Module, task: Task[Any], schedule: Schedule, seed: int, place: Place
) -> Trained:
    """Trains `model` in place. Resumes from the checkpoint in the place's folder if there is one.

    Leaves the trained weights in `folder/model.pt` and removes the checkpoint. Where memory runs
    out, fewer items go through the network together. Raises InputError when a loss or a gradient
    is not finite, with the stems' names; when memory does not hold one item; and when the disk does
    not take a file.
    """
    device, note = place.device, place.progress.note
    model.to(device).train()
    compile_layers(model, device)
    optimiser = adamw(model, schedule.weight_decay)
    draws = Draws(task.draw, task.pool, seed, device)
    at_once = items_at_once(task.items, place.items_at_once)
    fitting = Fitting(model, task.pool, at_once, task.items, device, note)

    def exact_step() -> None:
        exact = Gradients(model, task, seed, device, short=False)
        fitting.without_effect(partial(exact.compute, draw_now(draws, 0), 0))

    # Before the checkpoint is loaded, so that a resumed training checks the same untrained network.
    short = trusts_bf16(model, device, exact_step, note)
    gradients = Gradients(model, task, seed, device, short)

    training = asdict(schedule) | {"seed": seed, "items": task.items}
    checkpoints = Checkpoints(place.folder, model, optimiser, training)
    done, history = checkpoints.resume(schedule.steps)
    steps = range(done, schedule.steps)
    draw_seconds = warm_up(draws, gradients, fitting, steps[0]) if steps else 0.0
    inspections = Inspections(place.inspect, model, schedule.steps, device, note)
    losses, timer = Losses(), StepTimer(device, draw_seconds)

    def report(step: int) -> None:
        place.progress.step(step_report(step, schedule, losses, timer, history))
        timer.restart()

    with drawn_batches(draws, steps) as batches:
        for step in steps:
            with timer.waiting_for_data():
                batch = next(batches)
            set_rate(optimiser, schedule.rate(step))
            loss = fitting.fitted(partial(gradients.compute, batch, step), step)
            losses.add(step, loss, gradient_norm(model), task.sources(batch))
            if losses.count == STEPS_A_REPORT[device.type] or step + 1 == schedule.steps:
                report(step)
            optimiser.step()
            # Before the checkpoint: a kill can then repeat an inspection, but not lose it.
            if inspections.due(step + 1):
                with timer.stopped():
                    inspections.look(step + 1)
            if checkpoints.due():
                # A checkpoint keeps the losses of all its steps. Reading them raises for what is
                # not finite.
                if losses.count:
                    report(step)
                checkpoints.save(step + 1, history)

    checkpoints.finish()
    last = schedule.steps - 1
    if not steps:
        # A kill after the last checkpoint left no step to do.
        batch = draw_now(draws, last)
    flops = batch_flops(gradients, batch, last, fitting.at_once)
    on_device = task.pool is not None and task.pool.elsewhere
    return Trained(schedule.steps, history, flops, fitting.at_once, on_device)


def step_report(
    step: int, schedule: Schedule, losses: Losses, timer: StepTimer, history: History
) -> StepReport:
    """The report after `step`, over all steps since the one before, which are added to the
    history. Raises what `Losses.take` raises."""
    # Before the time is read: this waits for the GPU, whose work is part of the steps.
    taken, norm = losses.take()
    seconds, data_seconds = timer.means(len(taken))
    history.add(taken, seconds, data_seconds)
    loss, rate = sum(taken) / len(taken), schedule.rate(step)
    return StepReport(step + 1, schedule.steps, loss, rate, norm, seconds, data_seconds)
