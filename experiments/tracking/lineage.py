"""Stages as W&B artifacts: a run names the artifacts that it used and the one that it made.

An artifact holds the stage's expression and its small files, and never audio. Weights are given by
path and checksum. Equal stages give equal artifacts, so the artifact that one run made is the
same that a later run uses.
"""

import json
from typing import Any

from experiments.stages.relabelling import Relabelling
from experiments.stages.stage import Stage, describe, expression, identity, inputs, kind
from experiments.store import Store
from experiments.tracking.labels import confusion_counts, label_rows, table_text

SMALL_FILES = ("truth.csv", "probabilities.csv", "outputs.csv")
WEIGHTS = "model.pt"


def log_lineage(run: Any, stage: Stage, store: Store) -> None:
    """Records that the run used the stage's inputs and made the stage.

    `run.use_artifact` refuses to work offline, although `wandb sync` understands the record that it
    writes. The private function that it calls writes this record in both modes.
    """
    for needed in inputs(stage):
        run._log_artifact(artifact_of(needed, store), is_user_created=True, use_after_commit=True)
    run.log_artifact(artifact_of(stage, store))


def artifact_of(stage: Stage, store: Store) -> Any:
    import wandb

    folder = store.finished(stage)
    artifact = wandb.Artifact(
        artifact_name(stage),
        type=kind(stage),
        description=describe(stage),
        metadata={"identity": identity(stage), "folder": str(folder)},
    )
    texts = {"stage.json": json.dumps(expression(stage), indent=1) + "\n"}
    texts["result.json"] = json.dumps(store.result(stage), indent=1) + "\n"
    for path in (folder / name for name in SMALL_FILES):
        if path.exists():
            texts[path.name] = path.read_text(encoding="utf-8", errors="replace")
    if isinstance(stage, Relabelling):
        texts |= label_texts(stage, store)
    for name, text in texts.items():
        with artifact.new_file(name) as file:
            file.write(text)
    if (folder / WEIGHTS).exists():
        artifact.add_reference((folder / WEIGHTS).as_uri(), name=WEIGHTS)
    return artifact


def artifact_name(stage: Stage) -> str:
    return f"{kind(stage)}-{identity(stage)}"


def label_texts(stage: Relabelling, store: Store) -> dict[str, str]:
    """The texts of labels.csv and confusion.csv.

    confusion.csv compares the refined label sets with the true ones if these are known, else with
    the given ones. The name of its first column says which.
    """
    rows = label_rows(stage, store)
    return {"labels.csv": table_text(rows), "confusion.csv": table_text(confusion_counts(rows))}
