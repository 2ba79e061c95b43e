"""Every row of the paper's tables, each a label, the paper's cells and one stage.

Rows are written at the paper's scale and with the paper's data sets; profiles and data choices
come later. A row differs from its neighbour by what it differs in.
"""

import fnmatch
from dataclasses import dataclass

from experiments.data import CLEAN, NOISY, TEST
from experiments.stages import (
    Classifier,
    Probabilities,
    Relabelled,
    SeparationScore,
    Separator,
    StemSet,
    Trimmed,
)
from selfrefine import settings
from selfrefine.errors import InputError
from selfrefine.settings import PAPER_HDEMUCS, PAPER_XUMX


@dataclass(frozen=True)
class SeparationRow:
    """A row of Table 2, 3 or 5. `paper` is the printed SDR in dB: vocals, bass, drums, other,
    average."""

    name: str
    network: str
    training_data: str
    paper: tuple[float, float, float, float, float]
    stage: SeparationScore


@dataclass(frozen=True)
class Table:
    """Rows and their caption."""

    name: str
    title: str
    rows: tuple[SeparationRow, ...]


clean = Trimmed(CLEAN)
noisy = Trimmed(NOISY)


def refined(by: Classifier, threshold: float = 0.9) -> Relabelled:
    """The noisy stems as relabelled by a classifier: always the original ones."""
    return Relabelled(Probabilities(noisy, by), (threshold, threshold, threshold, threshold))


psi_clean = Classifier(train=clean)
psi_noisy = Classifier(train=noisy)
psi_refined = Classifier(train=refined(psi_noisy), single_labelled_only=True)


def score(separator: settings.Separator, train: StemSet) -> SeparationScore:
    return SeparationScore(Separator(train, separator), TEST)


TRAINING_DATA: dict[str, StemSet] = {
    "clean": clean,
    "noisy": noisy,
    "w/ Psi_clean": refined(psi_clean),
    "w/ Psi_noisy": refined(psi_noisy),
    "w/ Psi_refined": refined(psi_refined),
}

TABLE2_PAPER = {
    ("Demucs", "clean"): (5.92, 6.16, 5.58, 4.43, 5.52),
    ("Demucs", "noisy"): (3.37, 1.92, 0.70, 0.86, 1.71),
    ("Demucs", "w/ Psi_clean"): (5.31, 5.12, 1.32, 2.16, 3.48),
    ("Demucs", "w/ Psi_noisy"): (4.15, 4.58, 1.62, 2.85, 3.30),
    ("Demucs", "w/ Psi_refined"): (5.36, 5.04, 3.09, 3.13, 4.16),
    ("X-UMX", "clean"): (5.76, 4.44, 5.47, 3.65, 4.83),
    ("X-UMX", "noisy"): (3.39, 1.78, 1.52, 0.96, 1.91),
    ("X-UMX", "w/ Psi_clean"): (4.50, 3.22, 3.66, 2.73, 3.53),
    ("X-UMX", "w/ Psi_noisy"): (4.72, 4.11, 3.22, 2.89, 3.74),
    ("X-UMX", "w/ Psi_refined"): (4.99, 3.93, 5.00, 3.18, 4.28),
}

TABLE2 = Table(
    "table2",
    "SDR (dB) of separators by training data: median of 1 s frames, then of test songs",
    tuple(
        SeparationRow(
            f"{network.lower()}-{data.removeprefix('w/ ').lower().replace('_', '-')}",
            network,
            data,
            paper,
            score(PAPER_XUMX if network == "X-UMX" else PAPER_HDEMUCS, TRAINING_DATA[data]),
        )
        for (network, data), paper in TABLE2_PAPER.items()
    ),
)

TABLES = {table.name: table for table in (TABLE2,)}


def targets() -> dict[str, tuple[SeparationRow, ...]]:
    """What can be run: every table, and every row as `table/row`."""
    rows = {f"{table.name}/{row.name}": (row,) for table in TABLES.values() for row in table.rows}
    return {table.name: table.rows for table in TABLES.values()} | rows


def rows_of(target: str) -> tuple[SeparationRow, ...]:
    """The rows of a table, a row, or a glob over either; InputError when it matches nothing."""
    found = [rows for name, rows in targets().items() if fnmatch.fnmatchcase(name, target)]
    if not found:
        raise InputError(
            f"no target called {target!r}; choose a table ({', '.join(TABLES)}), a row as "
            "`python -m experiments list` prints them, or a pattern over them"
        )
    return tuple(dict.fromkeys(row for rows in found for row in rows))
