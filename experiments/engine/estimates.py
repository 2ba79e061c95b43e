"""Estimates the time of a stage from similar stages that were run, in this store or else in the
results that come with the code."""

import hashlib
import json
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure, expression, inputs, kind, own_settings
from experiments.stages.stem_set import StemSet
from experiments.stages.training import Training
from experiments.store import Store

COMMITTED = Path(__file__).parents[2] / "results"
"""Folder of exported results, each in a folder of its own."""

RATE = 16000
"""Highest sample rate (Hz) at which a stage's time is estimated from stages of another size."""


def cost_of_run(stage: Stage) -> dict[str, Any]:
    """Three marks that a finished run records, so that its time can predict that of others.

    `cost` is equal for stages that take the same time. `like` is equal for stages that do the same
    work on different amounts of `sound` (s).
    """
    return {"cost": cost_mark(stage), "like": like_words(stage), "sound": sound_seconds(stage)}


def cost_mark(stage: Stage) -> str:
    """Twelve hexadecimal digits of all that determines a stage's time: its kind and settings, the
    seconds of its input audio, and the networks that it applies."""
    own = {name: expression(value) for name, value in own_settings(stage) if name != "seed"}
    parts = [kind(stage), own, [input_cost(each) for each in inputs(stage)]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def input_cost(stage: Stage) -> Any:
    if isinstance(stage, Songs | StemSet):
        return float(f"{stage.stem_seconds():.2g}")
    return expression(stage.settings) if isinstance(stage, Training) else kind(stage)


def sound_seconds(stage: Stage) -> float:
    """Seconds of the stems in the stage's inputs."""
    return sum(each.stem_seconds() for each in inputs(stage) if isinstance(each, Songs | StemSet))


def like_words(stage: Stage) -> str:
    """The stage's kind and the networks that it trains or applies, like "separator XUMX"."""
    near = [stage, *inputs(stage)]
    names = [type(each.settings.network).__name__ for each in near if isinstance(each, Training)]
    return " ".join([kind(stage), *dict.fromkeys(names)])


@cache
def seen_seconds(store: Store) -> dict[str, list[float]]:
    """Seconds of the store's finished stages, by their mark `cost`."""
    seen: dict[str, list[float]] = {}
    for record in store.records():
        cost, seconds = (record["run"].get(name) for name in ("cost", "seconds"))
        if isinstance(cost, str) and isinstance(seconds, float) and isfinite(seconds):
            seen.setdefault(cost, []).append(seconds)
    return seen


@cache
def committed_runs() -> tuple[dict[str, Any], ...]:
    """The records of all stages in all exported results. Files that cannot be read are skipped."""
    found = []
    for path in sorted(COMMITTED.glob("*/results.json")):
        try:
            found += json.loads(path.read_text())["stages"].values()
        except (OSError, ValueError, KeyError):
            continue
    return tuple(each for each in found if "cost" in each["run"])


def estimated_seconds(stage: Stage, store: Store) -> float | None:
    """Estimated seconds of a stage, or None without comparable stages.

    This is the mean over stages of the same `cost`, in the store or else in the exported results.
    If there are none, at sample rates up to `RATE`, it is scaled from stages that are `like` it: by
    steps for a training, by seconds of sound for a stage that applies a network.
    """
    mark = cost_mark(stage)
    seen = seen_seconds(store).get(mark)
    committed = [each["run"]["seconds"] for each in committed_runs() if each["run"]["cost"] == mark]
    if seen or committed:
        return mean(seen or committed)
    like = [each for each in committed_runs() if each["run"]["like"] == like_words(stage)]
    rates = [getattr(each, "sample_rate", 0) for each in closure([stage])]
    if max(rates) > RATE or not like:
        return None
    if isinstance(stage, Training) and stage.settings.steps is not None:
        steps = stage.settings.steps
        return steps * mean(each["run"]["seconds"] / each["result"]["steps"] for each in like)
    if any(isinstance(each, Training) for each in inputs(stage)):
        sound = sound_seconds(stage)
        return sound * mean(each["run"]["seconds"] / each["run"]["sound"] for each in like)
    return None
