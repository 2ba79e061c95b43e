"""Settings of a machine, not of an experiment: environment variables named SELFREFINE_….

An empty variable counts as not set. Every function raises InputError for a value that cannot be
used. This module does not import torch, so that a command can refuse a bad value before it loads or
writes anything.
"""

import os
import re

from selfrefine.errors import InputError

LONGEST_SECONDS = 1e6
"""Eleven days, which stands for never. Much longer waits exceed the limit of Python's threads."""


def chosen_device() -> str | None:
    """SELFREFINE_DEVICE, a name of torch's such as cuda:1. None when it is not set.

    `training_device` checks that the GPU exists, since only torch knows.
    """
    chosen = os.environ.get("SELFREFINE_DEVICE", "")
    if chosen and not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]?))?", chosen, re.ASCII):
        raise InputError(f"SELFREFINE_DEVICE={chosen}: give cpu, cuda, or a GPU such as cuda:1")
    return chosen or None


def only_float32() -> bool:
    """Whether SELFREFINE_PRECISION=float32 forbids bf16 on every device."""
    chosen = os.environ.get("SELFREFINE_PRECISION", "")
    if chosen not in ("", "float32"):
        raise InputError(
            f"SELFREFINE_PRECISION={chosen}: give float32, or unset it for bf16 where the "
            "device has it"
        )
    return chosen == "float32"


def effects_by_pedalboard() -> bool:
    """Whether SELFREFINE_EFFECTS=pedalboard asks for random mixing's effects from pedalboard.

    This is the reference: one source at a time, on the CPU. In the benchmark our chain matches it
    with an SNR of 119 dB or more.
    """
    chosen = os.environ.get("SELFREFINE_EFFECTS", "")
    if chosen not in ("", "pedalboard"):
        raise InputError(
            f"SELFREFINE_EFFECTS={chosen}: give pedalboard, or unset it for our own chain"
        )
    return chosen == "pedalboard"


def chosen_items_at_once() -> int | None:
    """SELFREFINE_ITEMS_AT_ONCE: how many items of a batch pass the network together.

    None when it is not set.
    """
    chosen = os.environ.get("SELFREFINE_ITEMS_AT_ONCE", "")
    if chosen and (not chosen.isdecimal() or int(chosen) < 1):
        raise InputError(f"SELFREFINE_ITEMS_AT_ONCE={chosen}: give a number of 1 or more")
    return int(chosen) if chosen else None


def chosen_draw_ahead() -> bool | None:
    """SELFREFINE_DRAW_AHEAD: whether a thread draws the next batch during a step (1: yes, 0: no).

    None when it is not set.
    """
    chosen = os.environ.get("SELFREFINE_DRAW_AHEAD", "")
    if chosen not in ("", "0", "1"):
        raise InputError(f"SELFREFINE_DRAW_AHEAD={chosen}: give 0 or 1")
    return chosen == "1" if chosen else None


def chosen_compile() -> bool | None:
    """SELFREFINE_COMPILE: whether torch.compile fuses the layers of networks that train on a GPU
    (1: yes, 0: no).

    None when it is not set.
    """
    chosen = os.environ.get("SELFREFINE_COMPILE", "")
    if chosen not in ("", "0", "1"):
        raise InputError(f"SELFREFINE_COMPILE={chosen}: give 0 or 1")
    return chosen == "1" if chosen else None


def chosen_checkpoint_seconds() -> float | None:
    """SELFREFINE_CHECKPOINT_SECONDS: time between checkpoints in s, which a kill can cost at most.

    None when it is not set.
    """
    chosen = os.environ.get("SELFREFINE_CHECKPOINT_SECONDS")
    return seconds_of("SELFREFINE_CHECKPOINT_SECONDS", 0.0) if chosen else None


def seconds_of(variable: str, default: float) -> float:
    """The value of `variable` in s, or `default` when it is not set.

    Raises InputError for a value that is not a number from 0 to `LONGEST_SECONDS`, such as NaN.
    """
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
    """Raises InputError for the first of these variables with a value that cannot be used."""
    for read in (
        chosen_device,
        only_float32,
        effects_by_pedalboard,
        chosen_items_at_once,
        chosen_draw_ahead,
        chosen_compile,
        chosen_checkpoint_seconds,
    ):
        read()
