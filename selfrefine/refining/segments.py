"""Stretches of a stem that hold the same classes, from its windows' probabilities."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """From `start` to `end`, in s of the stem's file, the stem holds the classes of `label` (none:
    too little to judge); `confidence` is the probability that it holds exactly these."""

    start: float
    end: float
    label: tuple[str, ...]
    confidence: float
