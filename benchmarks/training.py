"""A training step of each network against the plain use of the library that it comes from.

    python -m benchmarks.training [--profile mini] [--steps N]

The classifier against timm's ConvNeXt in torch's usual memory format, X-UMX against four of
Open-Unmix's own models bridged layer by layer, Hybrid Demucs against torchaudio's model. Both start
from the same weights and see the same batch, that of a training. On a CPU the peers are in float32
with an optimiser that is not fused. On a GPU they have what ours have, TF32, a bf16 autocast and
cuDNN's choice of algorithms, and AdamW's defaults. cuDNN's LSTMs then run in float16, ours in
float32, so the first losses of X-UMX and Demucs may differ in the third digit. X-UMX is also
measured with one branch after another there.

Ours and the peer take turns, one in memory at a time. Where a batch does not fit, half of what went
through the network together is tried, of each by itself; gradients are summed. The first steps of a
turn, in which algorithms are chosen, do not count. Prints per step the least time (on a CPU of the
processor) over N steps, their ratio, ours in GFLOP/s and as a share of what a large matrix product
reaches here, on a GPU the most memory in use, the batch with it, then the items that went through
together and the losses of the first step.
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
"""A GPU is behind what it is told to do; a training waits for it now and then."""
TURNS = 2


@dataclass(frozen=True)
class Turn:
    """What a network did in one turn: its least seconds a step, the bytes it had of a GPU."""

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
    # torch's own choice on a GPU; on a CPU that is one weight after another.
    return torch.optim.AdamW(model.parameters(), foreach=None if device.type == "cuda" else False)


def in_bf16(side: Side, batch: Batch, at_once: int, device: torch.device) -> bool:
    """Whether a network multiplies in bf16: ours where its training does, a plain one on a GPU."""
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
    """Adds a batch's gradients to the model's, so many items at once; its loss."""
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
    """Builds the network, trains it for some steps, and leaves nothing of it."""
    set_precision(side.plain, device)
    short = in_bf16(side, batch, at_once, device)
    model = side.build().to(device).train()
    optimiser = plain_adamw(model, side.plain, device)
    torch.manual_seed(0)  # The same dropout for all.

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
    """A turn with `at_once` items, or so many fewer that memory lasts. Raises InputError where it
    does not for one."""
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
    """The least time and the most memory of those with as many items at once as the last."""
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
    """Lines of the table. `product` is what a matrix product reaches here, in FLOP/s."""
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
    parser.add_argument("--steps", type=int, help="that are measured; 6 on a CPU, 20 on a GPU")
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
