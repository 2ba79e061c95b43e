"""Every row of the paper's tables, each a label, the paper's cells and one stage.

Rows are written at the paper's scale and with the paper's data sets; profiles, data choices and
seeds come later. A row differs from its neighbour by what it differs in. Two rows that are equal
stages are one run: the whole paper is six classifiers and seventeen separators, and the reference
rows that it does not have are four separators more.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from experiments.data import CLEAN, NOISY, START, TEST, UNCORRUPTED, VALIDATION
from experiments.stages import (
    AdaptiveThresholds,
    Classifier,
    Coloured,
    Probabilities,
    RecognitionOutputs,
    RecognitionScore,
    Relabelled,
    SeparationScore,
    Separator,
    Stage,
    StemSet,
    Thresholds,
    Trimmed,
    TrulyLabelled,
    Weighed,
    rebuild,
)
from selfrefine import settings
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.scales import MINI, PAPER_THRESHOLD
from selfrefine.settings import (
    LIGHTER_EFFECTS,
    PAPER_HDEMUCS,
    PAPER_XUMX,
    SURE,
    EffectRanges,
)

SEPARATION_CELLS = (*CLASSES, "avg")
"""SDR (dB) per class and averaged."""


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
    """Rows, what their labels are, and a caption."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


clean = Trimmed(CLEAN)
noisy = Trimmed(NOISY)
uncorrupted = Trimmed(UNCORRUPTED)
truly_labelled = TrulyLabelled(noisy)

MOST_PROBABLE = True
"""Whether a stem that passes no threshold keeps its most probable class; else it is dropped. The
paper leaves it unsaid."""

EFFECTS = MINI.classifier.effects
OTHER_EFFECTS = EffectRanges() if EFFECTS == LIGHTER_EFFECTS else LIGHTER_EFFECTS
"""The effects of random mixing that mini has, and those of the other strength."""


def refined(by: Classifier, threshold: float = PAPER_THRESHOLD) -> Relabelled:
    """The noisy stems as relabelled by a classifier: always the original ones."""
    thresholds = (threshold, threshold, threshold, threshold)
    return Relabelled(Probabilities(noisy, by), thresholds, MOST_PROBABLE)


def refined_classifiers(first: Classifier, iterations: int) -> tuple[Classifier, ...]:
    """`first`, then each trained on the single-labelled stems that the one before it refined."""
    found = [first]
    while len(found) < iterations:
        found.append(Classifier(train=refined(found[-1]), single_labelled_only=True))
    return tuple(found)


psi_clean = Classifier(train=clean)
psi_noisy = Classifier(train=noisy)
ITERATIONS = refined_classifiers(psi_noisy, 5)
"""The classifier of each self-refining iteration, the first at index 0."""
psi_refined = ITERATIONS[1]


psi_band = Classifier(train=Coloured(Trimmed(START[0]), Trimmed(START[1])))
"""The classifier that ours start from, which comes with the package: of the band's own songs,
whatever the data, under their true labels."""


def started(trainings: int) -> Weighed:
    """The noisy stems as weighed by psi_band and by so many classifiers trained on from it, each
    under the labels of the one before, as `selfrefine refine` does."""
    labels = Weighed(Probabilities(noisy, psi_band))
    for _ in range(trainings):
        psi = Classifier(train=labels, single_labelled_only=True, start=psi_band)
        labels = Weighed(Probabilities(noisy, psi), labels)
    return labels


def that_stands(labels: Weighed) -> Weighed:
    """Where a found label set is not sure enough, the given one."""
    return replace(labels, sure=SURE)


psi_started = started(2).of.by
"""Of the second training."""


def outputs(of: Classifier, split: Trimmed) -> RecognitionOutputs:
    return RecognitionOutputs(split, of)


def recognition(of: Classifier, thresholds: Thresholds = (0.9, 0.9, 0.9, 0.9)) -> RecognitionScore:
    return RecognitionScore(outputs(of, Trimmed(TEST)), thresholds)


def adaptively_refined(by: Classifier, split: Trimmed) -> Relabelled:
    """The noisy stems relabelled at the thresholds with the highest F1 on a split."""
    thresholds = AdaptiveThresholds(outputs(by, split))
    return Relabelled(Probabilities(noisy, by), thresholds, MOST_PROBABLE)


def score(separator: settings.SeparatorSettings, train: StemSet) -> SeparationScore:
    return SeparationScore(Separator(train, separator), TEST)


def with_refining(stage: Stage, **values: Any) -> Any:
    """`stage` with fields of every refinement behind it replaced."""

    def change(part: Any) -> Any:
        return replace(part, **values) if isinstance(part, Relabelled) else part

    return rebuild(stage, change)


def with_effects(stage: Stage, effects: EffectRanges) -> Any:
    """`stage` with the effects of every classifier behind it replaced."""

    def change(part: Any) -> Any:
        return (
            replace(part, effects=effects)
            if isinstance(part, settings.ClassifierSettings)
            else part
        )

    return rebuild(stage, change)


def sdr(*printed: float) -> dict[str, float]:
    return dict(zip(SEPARATION_CELLS, printed, strict=True))


def averages(single: tuple[float, float], multi: tuple[float, float]) -> dict[str, float]:
    """The printed average accuracies (%) and F1; the other cells of Tables 1 and 4 are lost."""
    return {
        "single avg accuracy": single[0],
        "single avg F1": single[1],
        "multi avg accuracy": multi[0],
        "multi avg F1": multi[1],
    }


RECOGNITION_PAPER = {
    "clean": averages((95.1, 0.906), (90.2, 0.907)),
    "noisy": averages((92.5, 0.860), (87.6, 0.887)),
    "refined": averages((92.8, 0.866), (89.2, 0.901)),
}

TABLE1 = Table(
    "table1",
    "Instrument recognition of classifiers by training data, on the test songs",
    ("training data",),
    tuple(
        Row(name, (name,), recognition(classifier), RECOGNITION_PAPER[name])
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

TABLE2_PAPER = {
    ("Demucs", "clean"): sdr(5.92, 6.16, 5.58, 4.43, 5.52),
    ("Demucs", "noisy"): sdr(3.37, 1.92, 0.70, 0.86, 1.71),
    ("Demucs", "w/ Psi_clean"): sdr(5.31, 5.12, 1.32, 2.16, 3.48),
    ("Demucs", "w/ Psi_noisy"): sdr(4.15, 4.58, 1.62, 2.85, 3.30),
    ("Demucs", "w/ Psi_refined"): sdr(5.36, 5.04, 3.09, 3.13, 4.16),
    ("X-UMX", "clean"): sdr(5.76, 4.44, 5.47, 3.65, 4.83),
    ("X-UMX", "noisy"): sdr(3.39, 1.78, 1.52, 0.96, 1.91),
    ("X-UMX", "w/ Psi_clean"): sdr(4.50, 3.22, 3.66, 2.73, 3.53),
    ("X-UMX", "w/ Psi_noisy"): sdr(4.72, 4.11, 3.22, 2.89, 3.74),
    ("X-UMX", "w/ Psi_refined"): sdr(4.99, 3.93, 5.00, 3.18, 4.28),
}


def row_name(network: str, data: str) -> str:
    """As in "x-umx-psi-refined"."""
    return f"{network.lower()}-{re.sub('[_ ]', '-', data.removeprefix('w/ ').lower())}"


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


def measured_against(noisy_row: str, *rows: Row) -> tuple[Row, ...]:
    """Rows of X-UMX that each close a share of the gap between two of them: the noisy one and
    "uncorrupted"."""
    return tuple(replace(row, gap=(noisy_row, "uncorrupted")) for row in rows)


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
        Row("clean", ("clean",), recognition(psi_clean), RECOGNITION_PAPER["clean"]),
        *(
            Row(
                f"iteration-{number}",
                (f"{number} (proposed)" if number == 2 else str(number),),
                recognition(classifier),
                RECOGNITION_PAPER.get({1: "noisy", 2: "refined"}.get(number, ""), {}),
            )
            for number, classifier in enumerate(ITERATIONS, start=1)
        ),
    ),
)

TABLE5_PAPER = {
    1: sdr(4.72, 4.11, 3.22, 2.89, 3.74),
    2: sdr(4.99, 3.93, 5.00, 3.18, 4.28),
    3: sdr(5.03, 3.81, 4.05, 3.02, 3.98),
    4: sdr(4.86, 3.81, 4.64, 3.07, 4.09),
    5: sdr(4.65, 3.87, 5.07, 2.89, 4.12),
}

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
"""By `most_probable` of a refinement, a row's name and label."""
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
        Row("refined", ("refined",), recognition(psi_refined), RECOGNITION_PAPER["refined"]),
        Row("band", ("band: the start",), recognition(psi_band), ours=True),
        Row("started", ("started: trained on from it",), recognition(psi_started), ours=True),
    ),
)

TABLES = {table.name: table for table in (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5)}
OURS = {table.name: table for table in (OPTIONS, STARTED, STARTED_RECOGNITION)}
"""Tables that the paper does not have."""
TARGETS = {**TABLES, FIGURE4.name: FIGURE4, **OURS}
"""What can be run, besides `all`, which is all of the paper."""


def rows_of(target: str) -> dict[str, Row]:
    """By `table/row`, the rows of a table, a row, a pattern over either, or `all` of the paper.

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
