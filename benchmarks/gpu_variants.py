"""Times a training step of each network in ways that might be faster on a GPU.

    python -m benchmarks.gpu_variants [--profile paper] [--seconds 150] [--only NAME ...]

Each way runs in a process of its own, so that none disturbs the next, and is stopped after
--seconds. All ways of a network begin with the same weights and see the same batch. Prints the
least time of a step, the ratio to the network as it is, the peak of memory, the seconds until the
first step had ended (compiling is part of them), and the losses of the first and the last step.

The ways: `compiled` fuses layers by torch.compile (SELFREFINE_COMPILE=1). `fast norm` is timm's
layer norm in bf16. `plain memory` is torch's usual memory format instead of channels-last. `group
norm in bf16` keeps Demucs' normalisation in the short format. `CUDA graph` replays X-UMX's forward
and backward pass. `one after another` gives X-UMX's LSTMs one stream.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.clock import ROOT, seconds
from benchmarks.contests import Batch, Side, classifier_contest, separator_contest
from benchmarks.plain_networks import PlainClassifier
from selfrefine.errors import InputError
from selfrefine.models.classifier import InstrumentClassifier
from selfrefine.models.xumx import CrossNet
from selfrefine.scales import SCALES, Scale, scale_named
from selfrefine.training.compiling import compile_layers
from selfrefine.training.device import prepare, training_device
from selfrefine.training.precision import autocast
from selfrefine.training.speed import peak_memory

WARM_STEPS, STEPS, STEPS_A_ROUND = 4, 20, 5

DEMUCS_ITEMS = 48
"""Items of Demucs' batch, so that every way fits into 80 GB."""

Change = Callable[[nn.Module, Batch, torch.device], nn.Module]


def as_it_is(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    return model


def compiled(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    os.environ["SELFREFINE_COMPILE"] = "1"
    compile_layers(model, device)
    return model


def with_fast_norm(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    from timm.layers import set_fast_norm

    set_fast_norm(True)
    for part in model.modules():
        if hasattr(part, "_fast_norm"):
            part._fast_norm = True  # type: ignore[assignment]
    return model


def compiled_with_fast_norm(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    return compiled(with_fast_norm(model, batch, device), batch, device)


def in_plain_memory(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    assert isinstance(model, InstrumentClassifier)
    plain = PlainClassifier(model, scale_named("paper").classifier.network)
    return plain.to(device).train()


class _ShortGroupNorm(nn.GroupNorm):
    """Group normalisation that stays in the format of its input under autocast."""

    def forward(self, values: Tensor) -> Tensor:
        assert self.weight is not None
        assert self.bias is not None
        weight, bias = self.weight.to(values.dtype), self.bias.to(values.dtype)
        with torch.autocast("cuda", enabled=False):
            return nn.functional.group_norm(values, self.num_groups, weight, bias, self.eps)


def with_short_group_norm(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    for part in model.modules():
        if type(part) is nn.GroupNorm:
            part.__class__ = _ShortGroupNorm
    return model


def one_after_another(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    assert isinstance(model, CrossNet)
    model.side_by_side = False
    return model


def as_a_graph(model: nn.Module, batch: Batch, device: torch.device) -> nn.Module:
    assert isinstance(model, CrossNet)
    settings = model.settings
    frames = batch[0].shape[-1] // settings.hop + 1
    sample = torch.rand(len(batch[0]), frames, 2, model.bins_out, device=device)
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        graphed = torch.cuda.make_graphed_callables(model, (sample,), allow_unused_input=True)
    assert isinstance(graphed, nn.Module)
    return graphed


WAYS: dict[str, dict[str, Change]] = {
    "classifier": {
        "as it is": as_it_is,
        "compiled": compiled,
        "fast norm": with_fast_norm,
        "compiled, fast norm": compiled_with_fast_norm,
        "plain memory": in_plain_memory,
    },
    "X-UMX": {
        "as it is": as_it_is,
        "one after another": one_after_another,
        "CUDA graph": as_a_graph,
    },
    "Demucs": {
        "as it is": as_it_is,
        "compiled": compiled,
        "group norm in bf16": with_short_group_norm,
    },
}


def side_and_batch(network: str, scale: Scale, device: torch.device) -> tuple[Side, Batch]:
    torch.manual_seed(0)
    if network == "classifier":
        contest = classifier_contest(scale.classifier)
    elif network == "X-UMX":
        contest = separator_contest(network, scale.xumx, device)
    else:
        few = replace(scale.hdemucs, batch=min(DEMUCS_ITEMS, scale.hdemucs.batch))
        contest = separator_contest(network, few, device)
    return next(iter(contest.ours.values())), contest.draw(device)


def time_way(network: str, way: str, scale: Scale) -> str:
    """The cells of a line: milliseconds a step, GB, seconds to the first step, two losses."""
    device = training_device()
    prepare(device)
    side, batch = side_and_batch(network, scale, device)
    began = time.perf_counter()
    model = WAYS[network][way](side.build().to(device).train(), batch, device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    losses: list[Tensor] = []

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, device.type == "cuda"):
            loss = side.loss(model, *batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())

    step()
    first = seconds(lambda: None, device) + time.perf_counter() - began
    for _ in range(WARM_STEPS):
        step()

    def some_steps() -> None:
        for _ in range(STEPS_A_ROUND):
            step()

    times = [seconds(some_steps, device) / STEPS_A_ROUND for _ in range(STEPS // STEPS_A_ROUND)]
    memory = peak_memory(device) / 1e9
    found = (1000 * min(times), memory, first, float(losses[0]), float(losses[-1]))
    return " ".join(f"{value:.6g}" for value in found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways that might make a training step faster.")
    parser.add_argument("--profile", default="paper", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--seconds", type=float, default=150.0, help="limit of each way")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--time", nargs=2, metavar=("NETWORK", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    scale = scale_named(args.profile)
    if args.time:
        network, way = args.time
        print(time_way(network, way, scale))
        return
    if training_device().type != "cuda":
        raise InputError("benchmarks.gpu_variants compares ways of a GPU, and there is none here")
    columns = ("network", "way", "step, ms", "ratio", "memory, GB", "first step, s", "losses")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    for network in args.only:
        usual = None
        for way in WAYS[network]:
            found = run_way(network, way, args.profile, args.seconds)
            if isinstance(found, str):
                print(f"| {network} | {way} | {found} | - | - | - | - |", flush=True)
                continue
            step_ms, memory, first, loss, last = found
            usual = usual or step_ms
            print(
                f"| {network} | {way} | {step_ms:.1f} | {usual / step_ms:.2f} | {memory:.1f} "
                f"| {first:.0f} | {loss:.4f}, {last:.4f} |",
                flush=True,
            )


def run_way(network: str, way: str, profile: str, limit_s: float) -> list[float] | str:
    """What `time_way` found in a process of its own, or why it found nothing."""
    command = [sys.executable, "-m", "benchmarks.gpu_variants", "--profile", profile]
    try:
        done = subprocess.run(
            [*command, "--time", network, way],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not within {limit_s:g} s"
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return "failed: " + done.stderr.strip().splitlines()[-1][:120]
    return [float(value) for value in done.stdout.split()[-5:]]


if __name__ == "__main__":
    main()
