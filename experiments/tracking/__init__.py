"""Each stage as a W&B run: offline unless the user is logged in, off with WANDB_MODE=disabled.

`mode` decides which; `run` keeps a stage's run in a thread of its own, so that nothing W&B does or
fails to do costs a stage; `content` and `lineage` say what a run holds.
"""
