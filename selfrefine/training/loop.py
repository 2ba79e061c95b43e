"""The one training loop, for the classifier and both separators.

Every random draw of a step depends on the seed and the step alone, so a run that was killed
and resumed computes what an unbroken one does, bit for bit on the CPU. On a GPU two runs differ in
the last bits: its sums are not always in the same order, and cuDNN chooses algorithms by timing.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import StemPool, place_on_device
from selfrefine.progress import Progress, StepReport
from selfrefine.randomness import generator_for
from selfrefine.training.checkpoint import CheckpointPace, load_checkpoint, save_atomically
from selfrefine.training.device import items_at_once, memory_left
from selfrefine.training.drawing import Draw, draw_now, drawn_batches, seconds_of_a_draw
from selfrefine.training.fitting import Fitting
from selfrefine.training.memory import free_memory, unless_out_of_memory
from selfrefine.training.precision import (
    autocast,
    is_doubtful,
    layers_wrong_in_bf16,
    multiplies_in_bf16,
)
from selfrefine.training.speed import step_flops, wait

INSPECTIONS = 6
"""How often a training is looked at, evenly over its steps, the last time at its end."""

STEPS_A_REPORT = {"cpu": 1, "cuda": 20}
"""Reading a loss waits for the GPU to finish, so there it is read only now and then."""

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Schedule:
    """AdamW's settings: linear warm-up to `learning_rate`, then a half cosine down to
    `final_rate` times it (1.0: constant)."""

    steps: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    final_rate: float

    def rate(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)


@dataclass(frozen=True)
class Task(Generic[BatchT]):
    """What differs between trainings.

    `draw(step, generator)` makes a batch of `items` on the device, possibly in a thread of its
    own; `parts(batch, at_once)` splits it into what goes through the network together, each with
    its share of the items; `loss(model, part, step)` is the mean over a part's items;
    `sources(batch)` names the stems in it, for the message when a loss is not finite. `pool` is
    what batches are drawn from.
    """

    draw: Draw[BatchT]
    parts: Callable[[BatchT, int], list[tuple[BatchT, float]]]
    loss: Callable[[nn.Module, BatchT, int], Tensor]
    sources: Callable[[BatchT], list[str]]
    items: int
    pool: StemPool | None = None


Inspect = Callable[[nn.Module, int, int], None]
"""Looks at a model, evaluating and without gradients, after so many of so many steps."""


@dataclass(frozen=True)
class Place:
    """Where a training computes and whom it tells.

    `folder` gets checkpoints and weights. `inspect` changes no weight and no report.
    `items_at_once` of a batch go through the network together at first, None for all.
    """

    folder: Path
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    inspect: Inspect | None = None
    items_at_once: int | None = None


@dataclass(frozen=True)
class Trained:
    """`step_flops` are the floating-point operations of a step, 0 when none was left to do. At the
    end `items_at_once` went through the network together, and the stems lay on the GPU or not."""

    step_flops: int
    items_at_once: int
    stems_on_device: bool


def train(
    model: nn.Module, task: Task[Any], schedule: Schedule, seed: int, place: Place
) -> Trained:
    """Trains `model` in place, resuming from the folder's checkpoint if there is one.

    Leaves the trained weights in `folder/model.pt` and removes the checkpoint. Where memory runs
    out, fewer items go through the network together. Raises InputError with the stems' names when
    a loss or a gradient is not finite, and when not even one item fits into memory.
    """
    device = place.device
    model.to(device).train()
    optimiser = adamw(model, schedule)
    at_once = items_at_once(task.items, place.items_at_once)
    fitting = Fitting(model, task.pool, at_once, task.items, device, place.progress.note)
    batch = None
    least_data = 0.0

    def gradients(step: int, short: bool, at_once: int) -> Tensor:
        """Leaves the batch's gradients; its loss."""
        # Dropout draws from torch's global generators.
        torch.manual_seed(generator_for(seed, step).initial_seed())
        optimiser.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=device)
        for part, share in task.parts(batch, at_once):
            with autocast(device, short):
                part_loss = task.loss(model, part, step) * share
            part_loss.backward()
            loss += part_loss.detach()
        return loss

    short = multiplies_in_bf16(device)
    if short and is_doubtful(device):
        # By the untrained network and the first batch, also when resuming: the answer is the same.
        batch = draw_now(task.draw, task.pool, seed, 0, device)
        exact_step = partial(fitting.without_effect, partial(gradients, 0, False))
        wrong = layers_wrong_in_bf16(model, exact_step)
        batch, short = None, not wrong
        optimiser.zero_grad(set_to_none=True)
        if wrong:
            place.progress.note(
                f"this CPU computes {len(wrong)} of the network's layers wrong in bf16, as "
                f"{wrong[0]}: it trains in float32"
            )
    checkpoint = place.folder / "checkpoint.pt"
    first = load_checkpoint(checkpoint, model, optimiser) if checkpoint.exists() else 0
    if first < schedule.steps:
        # Compiles what drawing needs and fills a bank of sources: once, and so no part of a step.
        batch = draw_now(task.draw, task.pool, seed, first, device)
        if device.type == "cuda":
            # Without an effect: cuDNN chooses its algorithms, in more memory than they need later;
            # then the network's own need shows, and the stems take the rest.
            for _ in range(2):
                free_memory(device)
                fitting.without_effect(partial(gradients, first, short))
            optimiser.zero_grad(set_to_none=True)
            if task.pool is not None:
                pool, room = task.pool, memory_left(device)
                # Another training may have taken it meanwhile; then they stay on the host.
                unless_out_of_memory(lambda: place_on_device(pool, room))
            least_data = seconds_of_a_draw(task.draw, task.pool, seed, first + 1, device)
    pace = CheckpointPace(model)
    losses = Losses()
    inspected = inspected_steps(schedule.steps) if place.inspect is not None else set()
    data_seconds, began = 0.0, time.monotonic()
    steps = range(first, schedule.steps)
    with drawn_batches(task.draw, task.pool, seed, steps, device) as batches:
        for step in steps:
            data_began = time.monotonic()
            batch = next(batches)
            data_seconds += time.monotonic() - data_began
            rate = schedule.rate(step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = fitting.fitted(partial(gradients, step, short), step)
            losses.add(step, loss, gradient_norm(model), task.sources(batch))
            if losses.count == STEPS_A_REPORT[device.type] or step + 1 == schedule.steps:
                count = losses.count
                mean, norm = losses.take()
                seconds = (time.monotonic() - began) / count
                data = max(least_data, data_seconds / count)
                place.progress.step(
                    StepReport(step + 1, schedule.steps, mean, rate, norm, seconds, data)
                )
                data_seconds, began = 0.0, time.monotonic()
            optimiser.step()
            if place.inspect is not None and step + 1 in inspected:
                # Before the checkpoint, so that a kill can repeat a look but not lose it.
                began += inspection_seconds(model, place, step + 1, schedule.steps)
            if pace.due():
                losses.read()
                pace.save(checkpoint, model, optimiser, step + 1)
    save_atomically({"model": model.state_dict()}, place.folder / "model.pt")
    checkpoint.unlink(missing_ok=True)
    flops = 0
    if batch is not None:
        part, share = task.parts(batch, fitting.at_once)[0]
        with autocast(device, short):
            flops = flops_or_none(lambda: task.loss(model, part, schedule.steps - 1), share)
    return Trained(flops, fitting.at_once, task.pool is not None and task.pool.elsewhere)


def flops_or_none(forward: Callable[[], Tensor], share: float) -> int:
    """A whole step's operations, by the forward pass of a share of its items; 0 where it does not
    fit into memory."""
    found = unless_out_of_memory(lambda: step_flops(forward))
    return round(found[0] / share) if found else 0


def adamw(model: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """With its moments made, so that the first step needs no more memory than any other."""
    weights = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=0.0, weight_decay=schedule.weight_decay, fused=True)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for moments in optimiser.state.values():
        moments["step"].zero_()
    optimiser.zero_grad(set_to_none=True)
    return optimiser


def gradient_norm(model: nn.Module) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


class Losses:
    """Losses and norms of gradients since the last report, read as late as may be: reading waits
    for the GPU."""

    def __init__(self) -> None:
        self._unread: list[tuple[int, Tensor, Tensor, list[str]]] = []
        self._read: list[tuple[float, float]] = []

    @property
    def count(self) -> int:
        return len(self._unread) + len(self._read)

    def add(self, step: int, loss: Tensor, norm: Tensor, sources: list[str]) -> None:
        self._unread.append((step, loss, norm, sources))

    def read(self) -> None:
        """Raises InputError for the first step whose loss or gradient is not finite, with the names
        of its stems."""
        if not self._unread:
            return
        values = torch.stack([torch.stack((loss, norm)) for _, loss, norm, _ in self._unread])
        for (step, _, _, sources), (loss, norm) in zip(self._unread, values.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                named = ", ".join(sorted(set(sources)))
                raise InputError(
                    f"the loss is {loss} and the gradient's norm {norm} at step {step}; look for "
                    f"broken audio in the stems of that batch, or lower the learning rate: {named}"
                )
            self._read.append((loss, norm))
        self._unread = []

    def take(self) -> tuple[float, float]:
        """The mean loss and the last norm; the next report begins."""
        self.read()
        taken, self._read = self._read, []
        return sum(loss for loss, _ in taken) / len(taken), taken[-1][1]


def inspected_steps(steps: int) -> set[int]:
    """After how many steps a training is looked at."""
    return {math.ceil(steps * look / INSPECTIONS) for look in range(1, INSPECTIONS + 1)}


def inspection_seconds(model: nn.Module, place: Place, step: int, steps: int) -> float:
    """Has a training model looked at, and leaves it and torch's generators as they were. A look
    that does not fit into memory is tried once more, then left out."""
    inspect, device = place.inspect, place.device
    assert inspect is not None
    wait(device)
    began = time.monotonic()
    model.eval()
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.no_grad():
        looked = unless_out_of_memory(lambda: inspect(model, step, steps))
        if looked is None:
            free_memory(device)
            looked = unless_out_of_memory(lambda: inspect(model, step, steps))
        if looked is None:
            place.progress.note(f"not looked at after step {step}: memory ran out")
            free_memory(device)
    model.train()
    return time.monotonic() - began
