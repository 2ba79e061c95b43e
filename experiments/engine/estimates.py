"""How long a stage will take, from stages like it that were run: in this store, else in the results
that come with the code."""

import hashlib
import json
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure, expression, inputs, kind, own_settings
from experiments.stages.stem_set import StemSet
from experiments.stages.training import Training
from experiments.store import Store

COMMITTED = Path(__file__).parents[2] / "results"
"""Exported results, one folder each."""

RATE = 16000
"""Hz. At a higher rate a stage is not taken to be like one of another size."""


def cost_of_run(stage: Stage) -> dict[str, str]:
    """What a finished run notes, so that its time can stand for others: `cost` is equal for stages
    that take the same time, `like` for those that do the same to more or less."""
    return {"cost": cost_mark(stage), "like": like_words(stage)}


def cost_mark(stage: Stage) -> str:
    """Of what decides a stage's time: its kind and settings, how much sound goes in, and the
    networks that it applies."""
    own = {name: expression(value) for name, value in own_settings(stage) if name != "seed"}
    parts = [kind(stage), own, [input_cost(each) for each in inputs(stage)]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def input_cost(stage: Stage) -> Any:
    if isinstance(stage, Songs | StemSet):
        return float(f"{stage.stem_seconds():.2g}")
    return expression(stage.settings) if isinstance(stage, Training) else kind(stage)


def like_words(stage: Stage) -> str:
    """The kind, and the networks that it trains or applies: "separator XUMX"."""
    near = [stage, *inputs(stage)]
    names = [type(each.settings.network).__name__ for each in near if isinstance(each, Training)]
    return " ".join([kind(stage), *dict.fromkeys(names)])


@cache
def seen_seconds(store: Store) -> dict[str, list[float]]:
    """Seconds of the store's finished stages, by their cost."""
    seen: dict[str, list[float]] = {}
    for record in store.records():
        run = record["run"]
        if "cost" in run:
            seen.setdefault(run["cost"], []).append(run["seconds"])
    return seen


@cache
def committed_runs() -> tuple[dict[str, Any], ...]:
    """The records of all stages of all exported results; none where there are none."""
    found = []
    for path in sorted(COMMITTED.glob("*/results.json")):
        try:
            found += json.loads(path.read_text())["stages"].values()
        except (OSError, ValueError, KeyError):
            continue
    return tuple(each for each in found if "cost" in each["run"])


def estimated_seconds(stage: Stage, store: Store) -> float | None:
    """The mean over stages of the same cost, in the store or else in the exported results; for
    small networks else scaled from stages that are like it. None where no stage is."""
    mark = cost_mark(stage)
    seen = seen_seconds(store).get(mark)
    committed = [run["run"]["seconds"] for run in committed_runs() if run["run"]["cost"] == mark]
    if seen or committed:
        return mean(seen or committed)
    rates = [getattr(each, "sample_rate", 0) for each in closure([stage])]
    like = [run for run in committed_runs() if run["run"]["like"] == like_words(stage)]
    if max(rates) > RATE or not like:
        return None
    if isinstance(stage, Training):
        if stage.settings.steps is None:
            return None
        return stage.settings.steps * mean(
            run["run"]["seconds"] / run["result"]["steps"] for run in like
        )
    return mean(run["run"]["seconds"] for run in like)
