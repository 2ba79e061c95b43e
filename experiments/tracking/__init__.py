"""Each stage as a W&B run: offline unless the user is logged in, off with WANDB_MODE=disabled.

`mode` decides which; `run` keeps a run in a thread of its own, so that nothing W&B does or fails to
do costs a stage; `stage` says what a stage's run is, `content` and `lineage` what it holds.
"""
