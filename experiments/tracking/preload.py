"""What every tracked worker needs of W&B, imported once by the server that workers fork from: 2 s
of a core each otherwise."""

from contextlib import suppress
from importlib import import_module

from experiments.tracking.mode import silence, tracked, wandb_mode

MODULES = ("wandb", "wandb.sdk.artifacts.artifact", "pandas")

if tracked(wandb_mode()):
    silence()
    # With a broken W&B, each worker finds out for itself and goes on untracked.
    with suppress(Exception):
        for module in MODULES:
            import_module(module)
