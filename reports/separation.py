"""Tables of SDR: a data frame of ours beside the paper's, from the store."""

from typing import Any

import pandas as pd

from experiments.commands import resolved
from experiments.naming import describe
from experiments.profiles import Profile, deviations
from experiments.registry import Row, Table
from experiments.stages import Relabelled, Stage, closure, identity
from experiments.store import Store
from selfrefine.classes import CLASSES

COLUMNS = (*CLASSES, "avg")
NOT_RUN = "not run"


def separation_frame(
    rows: tuple[Row, ...], profile: Profile, data: str, store: Store
) -> pd.DataFrame:
    """One line a row: network, training_data, SDR (dB) per class and average, then the same of
    the paper, then the stage's identity. A row that was not run has None."""
    lines = []
    for row in rows:
        stage = resolved(row, profile, data)
        line: dict[str, Any] = {"network": row.labels[0], "training_data": row.labels[-1]}
        result = store.result(stage) if store.done(stage) else None
        sdr = {**result["sdr"], "avg": result["average"]} if result else {}
        line |= {column: sdr.get(column) for column in COLUMNS}
        line |= {f"{c}_paper": value for c, value in row.paper.items()}
        line["stage"] = identity(stage)
        lines.append(line)
    return pd.DataFrame(lines)


def cell(ours: float | None, paper: float) -> str:
    return f"{NOT_RUN if pd.isna(ours) else f'{ours:.2f}'} ({paper:.2f})"


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Each of our cells with the paper's in brackets."""
    shown = frame[["network", "training_data"]].copy()
    for column in COLUMNS:
        shown[column] = [
            cell(ours, paper)
            for ours, paper in zip(frame[column], frame[f"{column}_paper"], strict=True)
        ]
    return shown


def label_audit(stages: list[Stage], store: Store) -> pd.DataFrame:
    """How right the label sets are that the rows were trained on, where the truth is known."""
    lines = []
    for stage in stages:
        if store.done(stage) and "accuracy" in store.result(stage):
            result = store.result(stage)
            accuracy = result["accuracy"]
            lines.append(
                {
                    "labels": label_name(stage),
                    "exact": accuracy["exact"],
                    "F1": accuracy["f1"],
                    "precision": accuracy["precision"],
                    "recall": accuracy["recall"],
                    "single": result.get("single", result.get("stems")),
                    "multi": result.get("multi", 0),
                    "dropped": result.get("dropped", 0),
                }
            )
    return pd.DataFrame(lines)


def label_name(stage: Stage) -> str:
    return describe(stage) if isinstance(stage, Relabelled) else "as given"


def separation_report(table: Table, profile: Profile, data: str, store: Store) -> str:
    """The table as Markdown, with what a reader must know to read it."""
    frame = separation_frame(table.rows, profile, data, store)
    stages = closure([resolved(row, profile, data) for row in table.rows])
    lines = [
        f"# {table.title}",
        "",
        f"Data `{data}`, profile `{profile.name}`: {profile.scale.meaning}. Ours (the paper's).",
        "",
        readable(frame).to_markdown(index=False, disable_numparse=True),
        "",
    ]
    audit = label_audit(stages, store)
    if len(audit):
        lines += [
            "Label sets against the known truth (share of stems exactly right; F1, precision and "
            "recall over stems and classes):",
            "",
            audit.to_markdown(index=False, floatfmt=".3f"),
            "",
        ]
    differs = deviations(profile)
    if differs:
        lines += ["Settings that are not the paper's:", "", *(f"- {each}" for each in differs), ""]
    return "\n".join(lines)
