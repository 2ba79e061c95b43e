"""Compares a training step of each network with the plain use of the library that it comes from.

    python -m benchmarks.training [--profile mini] [--steps N]

The peer of the classifier is timm's ConvNeXt in torch's usual memory format. That of X-UMX is four
of Open-Unmix's own models bridged layer by layer, and that of Hybrid Demucs is torchaudio's model.
Our network and its peer start from the same weights and see the same batch, of a training's size.

On a CPU the peers are in float32 with an optimiser that is not fused. On a GPU they use TF32, bf16
autocast and cuDNN's choice of algorithms, as ours do, and AdamW's defaults. cuDNN's LSTMs then run
in float16 and ours in float32, so the first losses of X-UMX and Demucs may differ in the third
digit. On a GPU X-UMX is also measured with one branch after another.

The networks take turns, with one in memory at a time. If a batch does not fit, the network gets
half as many items at once, and gradients are summed; this is decided for each network separately.
The first steps of a turn, in which algorithms are chosen, do not count. Prints the least time of a
step over N steps (processor time on a CPU), the ratio, our GFLOP/s and their share of the speed of
a large matrix product, on a GPU the peak of memory with the batch, the items at once, and the
losses of the first step.
"""

import argparse
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.clock import seconds
from benchmarks.contests import Batch, Contest, Side, contests
from selfrefine.errors import InputError
from selfrefine.scales import SCALES, scale_named
from selfrefine.training.device import prepare, training_device
from selfrefine.training.memory import free_memory, halved, slices, unless_out_of_memory
from selfrefine.training.precision import (
    autocast,
    is_doubtful,
    layers_wrong_in_bf16,
    multiplies_in_bf16,
)
from selfrefine.training.speed import peak_flops, peak_memory, step_flops

STEPS = {"cpu": 6, "cuda": 20}
WARM_STEPS = {"cpu": 1, "cuda": 3}
STEPS_BETWEEN_WAITS = {"cpu": 1, "cuda": 5}
"""A GPU works asynchronously, and a training waits for it only once in several steps."""
TURNS = 2


@dataclass(frozen=True)
class Turn:
    """One turn of a network: its least `seconds` per step, and its peak of GPU `memory` (bytes; 0
    on a CPU)."""

    seconds: float
    first_loss: float
    memory: int
    items_at_once: int


def set_precision(plain: bool, device: torch.device) -> None:
    if plain and device.type == "cpu":
        torch.set_float32_matmul_precision("highest")
    else:
        prepare(device)


def plain_adamw(model: nn.Module, plain: bool, device: torch.device) -> torch.optim.AdamW:
    if not plain:
        return torch.optim.AdamW(model.parameters(), fused=True)
    # None lets torch choose on a GPU. On a CPU its choice is False: one weight after another.
    return torch.optim.AdamW(model.parameters(), foreach=None if device.type == "cuda" else False)


def in_bf16(side: Side, batch: Batch, at_once: int, device: torch.device) -> bool:
    """Whether a network multiplies in bf16: ours if its training does so, a plain one on a GPU that
    has bf16."""
    if not multiplies_in_bf16(device) or (side.plain and device.type == "cpu"):
        return False
    if side.plain or not is_doubtful(device):
        return True

    model = side.build().to(device).train()

    def step() -> None:
        gradients(side, model, batch, at_once, False, device)

    return not layers_wrong_in_bf16(model, step)


def gradients(
    side: Side, model: nn.Module, batch: Batch, at_once: int, short: bool, device: torch.device
) -> Tensor:
    """Adds a batch's gradients to the model's, computed on `at_once` items at a time. Returns the
    batch's loss."""
    loss = torch.zeros((), device=device)
    items = len(batch[0])
    for piece in slices(items, at_once):
        part = tuple(values[piece] for values in batch)
        with autocast(device, short):
            share = side.loss(model, *part) * ((piece.stop - piece.start) / items)
        share.backward()
        loss += share.detach()
    return loss


def take_turn(side: Side, batch: Batch, at_once: int, steps: int, device: torch.device) -> Turn:
    """Builds the network, trains it for some steps, and keeps nothing of it in memory."""
    set_precision(side.plain, device)
    short = in_bf16(side, batch, at_once, device)
    model = side.build().to(device).train()
    optimiser = plain_adamw(model, side.plain, device)
    torch.manual_seed(0)  # The same dropout for all networks.

    def step() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        loss = gradients(side, model, batch, at_once, short, device)
        optimiser.step()
        return loss

    first_loss = float(step())
    for _ in range(WARM_STEPS[device.type] - 1):
        step()
    between = min(steps, STEPS_BETWEEN_WAITS[device.type])

    def some_steps() -> None:
        for _ in range(between):
            step()

    times = [seconds(some_steps, device) / between for _ in range(math.ceil(steps / between))]
    memory = peak_memory(device) if device.type == "cuda" else 0
    return Turn(min(times), first_loss, memory, at_once)


def fitting_turn(side: Side, batch: Batch, at_once: int, steps: int, device: torch.device) -> Turn:
    """A turn with `at_once` items at a time, halved until they fit in memory. Raises InputError if
    one item does not fit."""
    while True:
        free_memory(device)
        turn = unless_out_of_memory(partial(take_turn, side, batch, at_once, steps, device))
        if turn:
            return turn[0]
        if at_once == 1:
            raise InputError(
                f"the memory of {device} does not hold the network and one item of a batch; end "
                "what else uses it, or choose a smaller profile"
            )
        at_once = halved(at_once)


def best(turns: list[Turn]) -> Turn:
    """The least time and the most memory of the turns with the same number of items at once as the
    last turn."""
    last = turns[-1]
    alike = [turn for turn in turns if turn.items_at_once == last.items_at_once]
    memory = max(turn.memory for turn in alike)
    return Turn(min(turn.seconds for turn in alike), last.first_loss, memory, last.items_at_once)


def flops_of(side: Side, batch: Batch, at_once: int, device: torch.device) -> float:
    """Floating-point operations of a step."""
    free_memory(device)
    set_precision(side.plain, device)
    model = side.build().to(device).train()
    part = tuple(values[:at_once] for values in batch)
    with autocast(device, in_bf16(side, batch, at_once, device)):
        of_part = step_flops(lambda: side.loss(model, *part))
    return of_part * len(batch[0]) / len(part[0])


def rows(contest: Contest, steps: int, device: torch.device, product: float) -> list[str]:
    """Lines of the table. `product` is the speed of a large matrix product in FLOP/s."""
    torch.manual_seed(0)
    batch = contest.draw(device)
    sides = [*contest.ours.values(), contest.plain]
    turns: list[list[Turn]] = [[] for _ in sides]
    for _ in range(TURNS):
        for side, taken in zip(sides, turns, strict=True):
            at_once = taken[-1].items_at_once if taken else len(batch[0])
            taken.append(fitting_turn(side, batch, at_once, math.ceil(steps / TURNS), device))
    *ours, plain = map(best, turns)
    lines = []
    for (name, side), own in zip(contest.ours.items(), ours, strict=True):
        rate = flops_of(side, batch, own.items_at_once, device) / own.seconds
        cells = [
            name,
            f"{1000 * own.seconds:.0f}",
            f"{1000 * plain.seconds:.0f}",
            f"{plain.seconds / own.seconds:.2f}",
            f"{rate / 1e9:.0f}",
            f"{rate / product:.0%}",
            gigabytes(own.memory),
            gigabytes(plain.memory),
            str(own.items_at_once),
            str(plain.items_at_once),
            f"{own.first_loss:.4f}",
            f"{plain.first_loss:.4f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def gigabytes(memory: int) -> str:
    return f"{memory / 1e9:.1f}" if memory else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps against their plain forms.")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--steps", type=int, help="steps to measure (CPU: 6, GPU: 20)")
    args = parser.parse_args()
    scale = scale_named(args.profile)
    device = training_device()
    torch.set_num_threads(1)
    prepare(device)
    product = peak_flops(device)
    print(f"a large matrix product: {product / 1e9:.0f} GFLOP/s\n")
    columns = (
        "network", "ours, ms", "plain, ms", "ratio", "ours, GFLOP/s", "of the product",
        "our memory, GB", "plain", "our items at once", "plain", "our first loss", "plain",
    )  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    for contest in contests(scale, device):
        for line in rows(contest, args.steps or STEPS[device.type], device, product):
            print(line, flush=True)


if __name__ == "__main__":
    main()
