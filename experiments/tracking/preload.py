"""Imports the modules of W&B that every tracked worker needs, once, in the server that workers fork
from. Otherwise each worker spends 2 s of a core on imports."""

from contextlib import suppress
from importlib import import_module

from experiments.tracking.mode import silence, tracked, wandb_mode

MODULES = ("wandb", "wandb.sdk.artifacts.artifact", "pandas")

if tracked(wandb_mode()):
    silence()
    # If W&B is broken, each worker warns about it and goes on untracked.
    with suppress(Exception):
        for module in MODULES:
            import_module(module)
