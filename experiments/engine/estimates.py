"""How long a stage will take, from the runs that the store has seen."""

import json
from functools import cache
from typing import Any

from experiments.stages import BandSongs, Classifier, Separator, Stage, closure, expression, kind
from experiments.store import Store
from selfrefine import settings as method
from selfrefine.scales import MINI

MINI_SECONDS = {
    "own-songs": 15.0,
    "corrupted": 4.0,
    "trimmed": 3.0,
    "coloured": 90.0,
    "classifier": 120.0,
    "probabilities": 15.0,
    "recognition-outputs": 12.0,
    "recognition-score": 0.1,
    "adaptive-thresholds": 0.1,
    "relabelled": 0.1,
    "weighed": 0.5,
    "truly-labelled": 0.1,
    "separator": 120.0,
    "separation-score": 15.0,
}
"""Per stage at the mini profile on one core, for a store that has seen none of its kind."""

MINI_RATE = 16000

PLAYED_SHARE = 0.07
"""Of a band song's length at this rate, what making it takes."""


def cost_key(record_stage: dict[str, Any]) -> str:
    """What decides a stage's time: its kind and settings, not what it is made from."""
    own = {
        name: value
        for name, value in record_stage.items()
        if name != "seed" and not (isinstance(value, dict) and "version" in value)
    }
    if record_stage["is"] == "SeparationScore":
        own["network"] = record_stage["separator"]["settings"]
    return json.dumps(own, sort_keys=True)


@cache
def seen_seconds(store: Store) -> dict[str, list[float]]:
    """Seconds of finished stages, by what decides them."""
    seen: dict[str, list[float]] = {}
    for record in store.records():
        seen.setdefault(cost_key(record["stage"]), []).append(record["run"]["seconds"])
    return seen


def estimated_seconds(stage: Stage, store: Store) -> float | None:
    """The mean over like stages in the store; else scaled from mini's, for mini's network sizes;
    None where neither says anything."""
    past = seen_seconds(store).get(cost_key(expression(stage)))
    if past:
        return sum(past) / len(past)
    seconds = MINI_SECONDS.get(kind(stage))
    if isinstance(stage, BandSongs):
        seconds = PLAYED_SHARE * stage.songs * stage.seconds
    rates = [getattr(each, "sample_rate", 0) for each in closure([stage])]
    if seconds is None or max(rates) > MINI_RATE:
        return None
    if isinstance(stage, Classifier | Separator):
        if stage.settings.steps is None:
            return None
        return seconds * stage.settings.steps / mini_steps(stage)
    return seconds


def mini_steps(stage: Classifier | Separator) -> int:
    """Of the same network's training at mini."""
    settings: method.ClassifierSettings | method.SeparatorSettings
    if isinstance(stage.settings, method.ClassifierSettings):
        settings = MINI.classifier
    elif isinstance(stage.settings.network, method.XUMX):
        settings = MINI.xumx
    else:
        settings = MINI.hdemucs
    assert settings.steps is not None
    return settings.steps
