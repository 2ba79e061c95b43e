"""Records each stage as a W&B run: offline unless the user is logged in, and not at all with
WANDB_MODE=disabled.

`mode` decides between these. `run` handles a run in its own thread, so that no failure of W&B can
fail a stage. `stage` describes a stage's run, and `content` and `lineage` fill it.
"""
