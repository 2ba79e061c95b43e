"""What a table of the registry is made of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.stages.stage import Stage


@dataclass(frozen=True)
class Row:
    """A row of a table. `labels` stand under the table's head; `paper` holds the printed cells
    by name, those that are known. A recognition cell's name is like "multi avg F1".

    `ours` marks a reference row that the paper's table does not have. `gap` names two rows of the
    table, a noisy and an uncorrupted one: the row closes a share of the gap between them. `change`
    is made to the stage at a profile's scale, so that its values stand at every profile.
    """

    name: str
    labels: tuple[str, ...]
    stage: Stage
    paper: Mapping[str, float] = field(default_factory=dict, hash=False)
    ours: bool = False
    gap: tuple[str, str] | None = None
    change: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a head, with a title."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def row_name(network: str, data: str) -> str:
    """As in "x-umx-psi-refined"."""
    return f"{network.lower()}-{re.sub('[_ ]', '-', data.removeprefix('w/ ').lower())}"


def measured_against(noisy_row: str, *rows: Row) -> tuple[Row, ...]:
    """Rows of X-UMX that each close a share of the gap between two of them: the noisy one and
    "uncorrupted"."""
    return tuple(replace(row, gap=(noisy_row, "uncorrupted")) for row in rows)
