"""Every row of the paper's tables, each a label, the paper's cells and one stage.

Rows are written at the paper's scale and with the paper's data sets; profiles, data choices and
seeds come later. A row differs from its neighbour by what it differs in. Two rows that are equal
stages are one run: the whole paper is six classifiers and seventeen separators, and the reference
rows that it does not have are four separators more.
"""

import fnmatch
from dataclasses import replace
from functools import partial

from experiments.method import (
    ITERATIONS,
    OTHER_EFFECTS,
    adaptively_refined,
    clean,
    noisy,
    outputs,
    psi_band,
    psi_clean,
    psi_noisy,
    psi_refined,
    psi_started,
    recognised_by,
    refined,
    score,
    started,
    that_stands,
    truly_labelled,
    uncorrupted,
    with_effects,
    with_refining,
)
from experiments.noise_rate import NOISE_RATE
from experiments.printed import RECOGNITION_PAPER, TABLE2_PAPER, TABLE5_PAPER, sdr
from experiments.robust import ROBUST
from experiments.rows import Row, Table, measured_against, row_name
from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.data_set import TEST, VALIDATION
from experiments.stages.relabelled import MOST_PROBABLE
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import Trimmed
from selfrefine import settings
from selfrefine.errors import InputError
from selfrefine.settings import (
    LIGHTER_EFFECTS,
    PAPER_HDEMUCS,
    PAPER_XUMX,
)

TABLE1 = Table(
    "table1",
    "Instrument recognition of classifiers by training data, on the test songs",
    ("training data",),
    tuple(
        Row(name, (name,), recognised_by(classifier), RECOGNITION_PAPER[name])
        for name, classifier in (
            ("clean", psi_clean),
            ("noisy", psi_noisy),
            ("refined", psi_refined),
        )
    ),
)

TRAINING_DATA: dict[str, StemSet] = {
    "clean": clean,
    "uncorrupted": uncorrupted,
    "true labels": truly_labelled,
    "noisy": noisy,
    "w/ Psi_clean": refined(psi_clean),
    "w/ Psi_noisy": refined(psi_noisy),
    "w/ Psi_refined": refined(psi_refined),
}


TABLE2 = Table(
    "table2",
    "SDR (dB) of separators by training data",
    ("network", "training data"),
    tuple(
        Row(
            row_name(network, data),
            (network, data),
            score(separator, train),
            TABLE2_PAPER.get((network, data), {}),
            ours=(network, data) not in TABLE2_PAPER,
            gap=(f"{network.lower()}-noisy", f"{network.lower()}-uncorrupted"),
        )
        for network, separator in (("Demucs", PAPER_HDEMUCS), ("X-UMX", PAPER_XUMX))
        for data, train in TRAINING_DATA.items()
    ),
)


NOISY_ROW = Row(
    "noisy", ("noisy",), score(PAPER_XUMX, noisy), TABLE2_PAPER["X-UMX", "noisy"], ours=True
)
UNCORRUPTED_ROW = Row("uncorrupted", ("uncorrupted",), score(PAPER_XUMX, uncorrupted), ours=True)

proposed = refined(psi_refined)
SINGLE_ONLY = replace(PAPER_XUMX, single_share=1.0)
FINETUNE = replace(PAPER_XUMX, single_share=11 / 30)  # 20,680 of 56,400 iterations

TABLE3 = Table(
    "table3",
    "SDR (dB) of X-UMX when one part of the method is changed",
    ("method",),
    measured_against(
        "noisy",
        Row(
            "proposed",
            ("proposed",),
            score(PAPER_XUMX, proposed),
            sdr(4.99, 3.93, 5.00, 3.18, 4.28),
        ),
        Row(
            "threshold-half",
            ("threshold = 0.5",),
            score(PAPER_XUMX, refined(psi_refined, 0.5)),
            sdr(5.06, 4.13, 4.77, 3.06, 4.25),
        ),
        Row(
            "adaptive-thresholds",
            ("adaptive thresholds",),
            score(PAPER_XUMX, adaptively_refined(psi_refined, Trimmed(VALIDATION))),
            sdr(4.70, 3.72, 3.70, 2.62, 3.68),
        ),
        Row(
            "single-only",
            ("train only w/ single-labeled",),
            score(SINGLE_ONLY, proposed),
            sdr(4.90, 3.73, 4.54, 3.18, 4.09),
        ),
        Row(
            "finetune",
            ("+ finetune w/ multi-labeled",),
            score(FINETUNE, proposed),
            sdr(4.33, 4.33, 4.19, 3.14, 4.00),
        ),
        Row(
            "self-refining-5x",
            ("self-refining 5x",),
            score(PAPER_XUMX, refined(ITERATIONS[4])),
            sdr(4.65, 3.87, 5.07, 2.89, 4.12),
        ),
        NOISY_ROW,
        UNCORRUPTED_ROW,
    ),
)

TABLE4 = Table(
    "table4",
    "Instrument recognition by self-refining iteration, on the test songs",
    ("iteration",),
    (
        Row("clean", ("clean",), recognised_by(psi_clean), RECOGNITION_PAPER["clean"]),
        *(
            Row(
                f"iteration-{number}",
                (f"{number} (proposed)" if number == 2 else str(number),),
                recognised_by(classifier),
                RECOGNITION_PAPER.get({1: "noisy", 2: "refined"}.get(number, ""), {}),
            )
            for number, classifier in enumerate(ITERATIONS, start=1)
        ),
    ),
)

TABLE5 = Table(
    "table5",
    "SDR (dB) of X-UMX by the number of refinements of its training data",
    ("refinements",),
    measured_against(
        "refined-0",
        Row("clean", ("clean",), score(PAPER_XUMX, clean), TABLE2_PAPER["X-UMX", "clean"]),
        UNCORRUPTED_ROW,
        Row("refined-0", ("0 (noisy)",), score(PAPER_XUMX, noisy), TABLE2_PAPER["X-UMX", "noisy"]),
        *(
            Row(
                f"refined-{number}",
                (f"{number} (proposed)" if number == 2 else str(number),),
                score(PAPER_XUMX, refined(classifier)),
                TABLE5_PAPER[number],
            )
            for number, classifier in enumerate(ITERATIONS, start=1)
        ),
    ),
)

FIGURE4 = Table(
    "figure4",
    "Precision and recall of Psi_refined against the decision threshold, on the test songs",
    ("part",),
    (
        Row("outputs", ("outputs on the test songs",), outputs(psi_refined, Trimmed(TEST))),
        Row(
            "thresholds",
            ("thresholds chosen on validation songs",),
            AdaptiveThresholds(outputs(psi_refined, Trimmed(VALIDATION))),
        ),
    ),
)

PROPOSED = score(PAPER_XUMX, proposed)
WHERE_NONE_PASSES = {
    False: ("drop", "stems that pass no threshold dropped"),
    True: ("most-probable", "most probable class where none passes"),
}
"""A row's name and label, by `most_probable` of its refinement."""
EFFECTS_ROW = (
    ("lighter-effects", "lighter effects")
    if OTHER_EFFECTS == LIGHTER_EFFECTS
    else ("stronger-effects", "stronger effects")
)

OPTIONS = Table(
    "options",
    "SDR (dB) of X-UMX under readings of the paper that are not the default",
    ("option",),
    measured_against(
        "noisy",
        Row(
            "adaptive-thresholds-on-test",
            ("adaptive thresholds, chosen on the test songs",),
            score(PAPER_XUMX, adaptively_refined(psi_refined, Trimmed(TEST))),
            sdr(4.70, 3.72, 3.70, 2.62, 3.68),
        ),
        Row(
            WHERE_NONE_PASSES[not MOST_PROBABLE][0],
            (WHERE_NONE_PASSES[not MOST_PROBABLE][1],),
            PROPOSED,
            change=partial(with_refining, most_probable=not MOST_PROBABLE),
        ),
        Row(
            "drop-half",
            (f"threshold = 0.5, {WHERE_NONE_PASSES[False][1]}",),
            PROPOSED,
            change=partial(with_refining, thresholds=(0.5,) * 4, most_probable=False),
        ),
        Row(
            EFFECTS_ROW[0],
            (EFFECTS_ROW[1],),
            PROPOSED,
            change=partial(with_effects, effects=OTHER_EFFECTS),
        ),
        NOISY_ROW,
        UNCORRUPTED_ROW,
    ),
)


def started_rows(network: str, separator: settings.SeparatorSettings) -> tuple[Row, ...]:
    """Rows of a separator on labels by the paper's way and by ours."""
    sets: dict[str, StemSet] = {
        "noisy": noisy,
        "w/ Psi_refined": refined(psi_refined),
        "w/ Psi_band": that_stands(started(0)),
        "w/ Psi_started": that_stands(started(2)),
        "true labels": truly_labelled,
        "uncorrupted": uncorrupted,
    }
    return tuple(
        Row(
            row_name(network, data),
            (network, data),
            score(separator, train),
            TABLE2_PAPER.get((network, data), {}),
            ours=(network, data) not in TABLE2_PAPER,
            gap=(row_name(network, "noisy"), row_name(network, "uncorrupted")),
        )
        for data, train in sets.items()
    )


STARTED = Table(
    "started",
    "SDR (dB) of separators on labels by classifiers that start from one of other songs",
    ("network", "training data"),
    (*started_rows("X-UMX", PAPER_XUMX), *started_rows("Demucs", PAPER_HDEMUCS)),
)

STARTED_RECOGNITION = Table(
    "started-recognition",
    "Instrument recognition of classifiers that start from one of other songs, on the test songs",
    ("classifier",),
    (
        Row("refined", ("refined",), recognised_by(psi_refined), RECOGNITION_PAPER["refined"]),
        Row("band", ("band: the start",), recognised_by(psi_band), ours=True),
        Row("started", ("started: trained on from it",), recognised_by(psi_started), ours=True),
    ),
)

TABLES = {table.name: table for table in (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5)}
OURS = {table.name: table for table in (OPTIONS, STARTED, STARTED_RECOGNITION, ROBUST, NOISE_RATE)}
"""Tables that the paper does not have."""
TARGETS = {**TABLES, FIGURE4.name: FIGURE4, **OURS}
"""Every target but `all`, which is all of the paper."""


def rows_of(target: str) -> dict[str, Row]:
    """The rows of a table, of a row's name, of a pattern over either, or of `all`, by `table/row`.

    Raises InputError when nothing is called so.
    """
    found = {
        f"{table.name}/{row.name}": row
        for table in TARGETS.values()
        for row in table.rows
        if fnmatch.fnmatchcase(table.name, target)
        or fnmatch.fnmatchcase(f"{table.name}/{row.name}", target)
        or (target in ("all", "tables") and table.name not in OURS)
    }
    if not found:
        raise InputError(
            f"no target called {target!r}; choose a table ({', '.join(TARGETS)}), all, a row as "
            "`python -m experiments list` prints them, or a pattern over them"
        )
    return found
