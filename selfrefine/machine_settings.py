"""Settings of a machine, not of an experiment: SELFREFINE_… environment variables. An empty one
counts as none.

Free of torch, so that a command can refuse a bad one before anything is loaded or made.
"""

import os
import re

from selfrefine.errors import InputError

LONGEST_SECONDS = 1e6
"""Eleven days: for what should never happen. Far longer waits are more than threads can take."""


def chosen_device() -> str | None:
    """SELFREFINE_DEVICE, as torch names devices. Whether there is such a GPU only torch knows:
    see `training_device`."""
    chosen = os.environ.get("SELFREFINE_DEVICE", "")
    if chosen and not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]?))?", chosen, re.ASCII):
        raise InputError(f"SELFREFINE_DEVICE={chosen}: give cpu, cuda, or a GPU such as cuda:1")
    return chosen or None


def only_float32() -> bool:
    """SELFREFINE_PRECISION=float32 keeps every device from bf16."""
    chosen = os.environ.get("SELFREFINE_PRECISION", "")
    if chosen not in ("", "float32"):
        raise InputError(
            f"SELFREFINE_PRECISION={chosen}: give float32, or unset it for bf16 where the "
            "device has it"
        )
    return chosen == "float32"


def effects_by_pedalboard() -> bool:
    """SELFREFINE_EFFECTS=pedalboard has random mixing's effects from pedalboard, one source at a
    time on the CPU: the reference, from which ours is 119 dB away at most."""
    chosen = os.environ.get("SELFREFINE_EFFECTS", "")
    if chosen not in ("", "pedalboard"):
        raise InputError(
            f"SELFREFINE_EFFECTS={chosen}: give pedalboard, or unset it for our own chain"
        )
    return chosen == "pedalboard"


def chosen_items_at_once() -> int | None:
    """SELFREFINE_ITEMS_AT_ONCE."""
    chosen = os.environ.get("SELFREFINE_ITEMS_AT_ONCE", "")
    if chosen and (not chosen.isdecimal() or int(chosen) < 1):
        raise InputError(f"SELFREFINE_ITEMS_AT_ONCE={chosen}: give a number of 1 or more")
    return int(chosen) if chosen else None


def chosen_draw_ahead() -> bool | None:
    """SELFREFINE_DRAW_AHEAD: yes with 1, no with 0."""
    chosen = os.environ.get("SELFREFINE_DRAW_AHEAD", "")
    if chosen not in ("", "0", "1"):
        raise InputError(f"SELFREFINE_DRAW_AHEAD={chosen}: give 0 or 1")
    return chosen == "1" if chosen else None


def chosen_checkpoint_seconds() -> float | None:
    """SELFREFINE_CHECKPOINT_SECONDS: what a kill can cost."""
    chosen = os.environ.get("SELFREFINE_CHECKPOINT_SECONDS")
    return seconds_of("SELFREFINE_CHECKPOINT_SECONDS", 0.0) if chosen else None


def seconds_of(variable: str, default: float) -> float:
    """Raises InputError for what is no number of seconds, NaN and negative ones included."""
    chosen = os.environ.get(variable) or str(default)
    try:
        seconds = float(chosen)
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise InputError(
            f"{variable}={chosen}: give a number of seconds from 0 to {LONGEST_SECONDS:.0f}"
        )
    return seconds


def refuse_bad_settings() -> None:
    """Raises InputError for the first variable here that cannot be used."""
    for read in (
        chosen_device,
        only_float32,
        effects_by_pedalboard,
        chosen_items_at_once,
        chosen_draw_ahead,
        chosen_checkpoint_seconds,
    ):
        read()
