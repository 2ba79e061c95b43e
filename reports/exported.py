"""Results as a few small files, which a person can open and `python -m reports --results` reads.

`results.json` has every stage's result and run. `rows.csv` is for people and has one line per row
and seed. `outputs.csv` has the classifiers' outputs for the test items, `validation.csv` the scores
of trainings on validation songs, and `examples/` a few seconds of audio.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import compress, groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean

from experiments.examples import FOLDER as EXAMPLES
from experiments.examples import MIXTURE, REFERENCE
from experiments.stages.recognition_outputs import MULTI, SINGLE, Tests, outputs_of_rows
from reports.results import Record, Results
from selfrefine.classes import CLASSES, label_words
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json
from selfrefine.files.table import read_csv, write_csv

FORMAT = 3
RESULTS, ROWS, OUTPUTS, VALIDATION = "results.json", "rows.csv", "outputs.csv", "validation.csv"

STAGE = "stage"
"""Name of the column with a stage's identity."""
CELLS = (*CLASSES, "avg", "single avg F1", "multi avg F1")
RUN = ("seconds", "commit", "device", "started")
IN_TABLES = ("outputs", "looks", "examples")
"""Fields of Results that are in the other files, not in `results.json`."""


def export(results: Results, folder: Path, listened: list[str]) -> None:
    """Writes the files that `load_results` reads. Audio examples are exported for the rows in
    `listened`, but not for a user's own songs."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / ROWS, ("row", "seed", STAGE, *CELLS, *RUN), row_lines(results))
    write_csv(folder / OUTPUTS, (STAGE, "test", "labels", *CLASSES), output_lines(results))
    measures = {name: None for looks in results.looks.values() for look in looks for name in look}
    (folder / VALIDATION).unlink(missing_ok=True)
    if measures:
        columns = (STAGE, *measures)
        write_csv(folder / VALIDATION, columns, validation_lines(results, columns))
    shutil.rmtree(folder / EXAMPLES, ignore_errors=True)
    for label in [] if results.on_folder else listened:
        record = results.first(label)
        if record is not None and record.id in results.examples:
            copy_examples(results.examples[record.id], folder / EXAMPLES, label)
    written = {name: value for name, value in asdict(results).items() if name not in IN_TABLES}
    write_json(folder / RESULTS, {"format": FORMAT, **written})


def row_lines(results: Results) -> Iterator[list[object]]:
    """The lines of `rows.csv`: SDR in dB by class or a classifier's F1, and where the stage ran."""
    for label in results.rows:
        for record in results.runs(label):
            found = record.result
            cells: dict[str, float] = {}
            if "sdr" in found:
                cells = {**found["sdr"], "avg": fmean(found["sdr"].values())}
            elif SINGLE in found:
                cells = {f"{test} avg F1": found[test]["f1"]["avg"] for test in (SINGLE, MULTI)}
            numbers = [f"{cells[name]:.4f}" if name in cells else "" for name in CELLS]
            run = [record.run.get(name, "") for name in RUN]
            yield [label, record.seed, record.id, *numbers, *run]


def output_lines(results: Results) -> Iterator[list[object]]:
    for id, tests in results.outputs.items():
        for test, (truth, outputs) in tests.items():
            for held, values in zip(truth.tolist(), outputs.tolist(), strict=True):
                label = label_words(compress(CLASSES, held))
                yield [id, test, label, *(f"{value:.5f}" for value in values)]


def validation_lines(results: Results, columns: Sequence[str]) -> Iterator[list[object]]:
    for id, looks in results.looks.items():
        for look in looks:
            yield [id, *(f"{look[name]:.6g}" if name in look else "" for name in columns[1:])]


def copy_examples(source: Path, folder: Path, label: str) -> None:
    """Copies a row's estimates into a folder named after the row.

    Mixtures and references are the same for every row. They are copied into `folder` itself, from
    the first row that has them.
    """
    own = folder / label.partition("/")[2]
    own.mkdir(parents=True)
    for path in sorted(source.glob("*.ogg")):
        shared = path.name.endswith((MIXTURE, REFERENCE))
        target = (folder if shared else own) / path.name
        if not target.exists():
            shutil.copyfile(path, target)


def load_results(folder: Path) -> Results:
    """Reads the files of an export. Raises InputError for a folder that `export` did not write."""
    path = folder / RESULTS
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise InputError(
                f"{path}: format {found['format']}, this version reads {FORMAT}; export the "
                "results again"
            )
        rows = ids_by_label(found["rows"])
        return Results(
            found["data"],
            found["profile"],
            found["meaning"],
            tuple(found["deviations"]),
            rows,
            {
                id: Record(**{**record, "inputs": tuple(record["inputs"])})
                for id, record in found["stages"].items()
            },
            read_outputs_table(folder / OUTPUTS),
            read_validation_table(folder / VALIDATION),
            example_folders(folder / EXAMPLES, rows),
            found["test"],
            ids_by_label(found["data_rows"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not results as `python -m reports export` writes them ({error})"
        ) from error


def ids_by_label(rows: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {label: tuple(ids) for label, ids in rows.items()}


def read_outputs_table(path: Path) -> dict[str, Tests]:
    rows = read_csv(path, (STAGE, "test", "labels", *CLASSES))
    return {id: outputs_of_rows(own) for id, own in groupby(rows, itemgetter(STAGE))}


def read_validation_table(path: Path) -> dict[str, list[dict[str, float]]]:
    """The scores on validation songs, by stage. Empty if no training was watched."""
    rows = read_csv(path, (STAGE,)) if path.exists() else []
    return {
        id: [
            {name: float(value) for name, value in row.items() if value and name != STAGE}
            for row in own
        ]
        for id, own in groupby(rows, itemgetter(STAGE))
    }


def example_folders(folder: Path, rows: dict[str, tuple[str, ...]]) -> dict[str, Path]:
    """The folders of the rows' audio examples, by the identity of a row's first run."""
    return {
        ids[0]: own
        for label, ids in rows.items()
        if ids and (own := folder / label.partition("/")[2]).is_dir()
    }
