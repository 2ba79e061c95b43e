"""The one training loop, for the classifier and both separators.

Every random draw of a step depends on the seed and the step alone, so a run that was killed
and resumed computes what an unbroken one does, bit for bit on the CPU.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from selfrefine.errors import InputError
from selfrefine.machine_settings import checkpoint_seconds
from selfrefine.randomness import generator_for
from selfrefine.threads import one_thread
from selfrefine.training.device import autocast, draws_ahead, items_at_once
from selfrefine.training.speed import step_flops, wait

INSPECTIONS = 6
"""How often a training is looked at, evenly over its steps, the last time at its end."""

TIMED_DRAWS = 4
"""Over how many draws one is timed on a GPU: with `source_uses` they do not cost alike."""

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

    `draw(step, generator)` makes a batch on the device, possibly in a thread of its own;
    `parts(batch)` splits it into what goes through the network together, each with its share of
    the items; `loss(model, part, step)` is the mean over a part's items; `sources(batch)` names
    the stems in it, for the message when a loss is not finite.
    """

    draw: Callable[[int, torch.Generator], BatchT]
    parts: Callable[[BatchT], list[tuple[BatchT, float]]]
    loss: Callable[[nn.Module, BatchT, int], Tensor]
    sources: Callable[[BatchT], list[str]]


@dataclass(frozen=True)
class StepReport:
    """`seconds` and `data_seconds` are the mean per step since the last report. Data is what a step
    waits for; on a GPU, whose own work drawing is, what a draw alone takes there."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    data_seconds: float


Listener = Callable[[StepReport], None]

Inspect = Callable[[nn.Module, int, int], None]
"""Looks at a model, evaluating and without gradients, after so many of so many steps."""


def slices(items: int) -> list[slice]:
    """A batch cut into what goes through the network together, by `items_at_once`.

    The sum of the parts' gradients is the whole batch's, but for X-UMX, whose batch normalisation
    then sees a part at a time.
    """
    at_once = items_at_once(items)
    return [slice(first, min(first + at_once, items)) for first in range(0, items, at_once)]


def train(
    model: nn.Module,
    task: Task[Any],
    schedule: Schedule,
    seed: int,
    folder: Path,
    device: torch.device,
    listen: Listener,
    inspect: Inspect | None = None,
) -> int:
    """Trains `model` in place, resuming from `folder`'s checkpoint if there is one.

    Leaves the trained weights in `folder/model.pt` and removes the checkpoint. `inspect` changes
    no weight and no report. Raises InputError with the stems' names when a loss or a gradient is
    not finite. Returns the floating-point operations of a step, 0 when none was left to do.
    """
    model.to(device).train()
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    checkpoint = folder / "checkpoint.pt"
    first = load_checkpoint(checkpoint, model, optimiser) if checkpoint.exists() else 0
    between_checkpoints = checkpoint_seconds()
    # Reading a loss waits for the GPU to finish, so there it is read only now and then.
    every = 1 if device.type == "cpu" else 20
    batch = None
    pending: list[tuple[int, Tensor, Tensor, list[str]]] = []
    least_data = 0.0
    if first < schedule.steps:
        # Compiles what drawing needs and fills a bank of sources: once, and so no part of a step.
        task.draw(first, generator_for(seed, first))
        if device.type == "cuda":
            least_data = seconds_of_a_draw(task, seed, first + 1, device)
    saved = began = time.monotonic()
    data_seconds = 0.0
    inspected = inspected_steps(schedule.steps) if inspect is not None else set()
    with drawn_batches(task, seed, range(first, schedule.steps), device) as batches:
        for step in range(first, schedule.steps):
            data_began = time.monotonic()
            batch = next(batches)
            data_seconds += time.monotonic() - data_began
            # Dropout draws from torch's global generators.
            torch.manual_seed(generator_for(seed, step).initial_seed())
            rate = schedule.rate(step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            loss = torch.zeros((), device=device)
            for part, share in task.parts(batch):
                with autocast(device):
                    part_loss = task.loss(model, part, step) * share
                part_loss.backward()
                loss += part_loss.detach()
            norm = nn.utils.get_total_norm(
                [p.grad for p in model.parameters() if p.grad is not None]
            )
            pending.append((step, loss, norm, task.sources(batch)))
            if len(pending) == every or step + 1 == schedule.steps:
                losses = [refuse_not_finite(*entry) for entry in pending]
                seconds = (time.monotonic() - began) / len(pending)
                listen(
                    StepReport(
                        step + 1,
                        schedule.steps,
                        sum(losses) / len(losses),
                        rate,
                        float(norm),
                        seconds,
                        max(least_data, data_seconds / len(pending)),
                    )
                )
                pending, data_seconds, began = [], 0.0, time.monotonic()
            optimiser.step()
            if inspect is not None and step + 1 in inspected:
                # Before the checkpoint, so that a kill can repeat a look but not lose it.
                began += inspection_seconds(model, inspect, step + 1, schedule.steps, device)
            if time.monotonic() - saved > between_checkpoints:
                save_checkpoint(checkpoint, model, optimiser, step + 1)
                saved = time.monotonic()
    save_atomically({"model": model.state_dict()}, folder / "model.pt")
    checkpoint.unlink(missing_ok=True)
    if batch is None:
        return 0
    part, share = task.parts(batch)[0]
    with autocast(device):
        return round(step_flops(lambda: task.loss(model, part, schedule.steps - 1)) / share)


@contextmanager
def drawn_batches(
    task: Task[BatchT], seed: int, steps: range, device: torch.device
) -> Iterator[Iterator[BatchT]]:
    """The batches of `steps`, where `draws_ahead` says so each drawn while the network is at the
    one before. They are the same either way: a batch depends on the seed and the step alone.

    On a CPU the network then has one thread, so that drawing has another core.
    """

    def draw(step: int) -> BatchT:
        return task.draw(step, generator_for(seed, step))

    if not draws_ahead(device):
        yield (draw(step) for step in steps)
        return
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(one_thread())
        drawing = stack.enter_context(ThreadPoolExecutor(1, "draw", torch.set_num_threads, (1,)))
        yield one_ahead(drawing, draw, steps)


def seconds_of_a_draw(task: Task[Any], seed: int, step: int, device: torch.device) -> float:
    """Until the device has done all of it: the mean over the draws of `TIMED_DRAWS` steps."""
    wait(device)
    began = time.monotonic()
    for later in range(step, step + TIMED_DRAWS):
        task.draw(later, generator_for(seed, later))
    wait(device)
    return (time.monotonic() - began) / TIMED_DRAWS


def one_ahead(
    drawing: ThreadPoolExecutor, draw: Callable[[int], BatchT], steps: range
) -> Iterator[BatchT]:
    coming = [drawing.submit(draw, step) for step in steps[:1]]
    for step in steps:
        batch = coming.pop().result()
        if step + 1 in steps:
            coming.append(drawing.submit(draw, step + 1))
        yield batch


def inspected_steps(steps: int) -> set[int]:
    """After how many steps a training is looked at."""
    return {math.ceil(steps * look / INSPECTIONS) for look in range(1, INSPECTIONS + 1)}


def inspection_seconds(
    model: nn.Module, inspect: Inspect, step: int, steps: int, device: torch.device
) -> float:
    """Has a training model looked at, and leaves it and torch's generators as they were."""
    wait(device)
    began = time.monotonic()
    model.eval()
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.no_grad():
        inspect(model, step, steps)
    model.train()
    return time.monotonic() - began


def refuse_not_finite(step: int, loss: Tensor, norm: Tensor, sources: list[str]) -> float:
    value = float(loss)
    if math.isfinite(value) and math.isfinite(float(norm)):
        return value
    named = ", ".join(sorted(set(sources)))
    raise InputError(
        f"the loss is {value} and the gradient's norm {float(norm)} at step {step}; look for "
        f"broken audio in the stems of that batch, or lower the learning rate: {named}"
    )


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int
) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    save_atomically(state, path)


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Restores both and returns the step to go on with."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all. Raises InputError where the disk does not take it."""
    partial = path.with_name(path.name + ".partial")
    try:
        torch.save(state, partial)
    except RuntimeError as error:
        # How torch reports a full disk; its words say no more than that a write failed.
        partial.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written; free space on the disk, or choose another folder"
        ) from error
    os.replace(partial, path)


def load_model(model: nn.Module, path: Path, device: torch.device) -> nn.Module:
    """The weights that `train` left, ready for inference on `device`."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model.to(device).eval()
