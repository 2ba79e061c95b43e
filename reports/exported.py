"""Results as a few small files, which a person can open and `python -m reports --results` reads.

`results.json` has every stage's result and run. `rows.csv` is for people and has one line per row
and seed. `outputs.csv` has the classifiers' outputs for the test items, `validation.csv` the scores
of trainings on validation songs, and `examples/` a few seconds of audio.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import compress, groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.data import CHOICES
from experiments.examples import FOLDER as EXAMPLES
from experiments.examples import MIXTURE, REFERENCE
from experiments.profiles import PROFILES
from experiments.stages.recognition_outputs import MULTI, SINGLE, Tests, outputs_of_rows
from experiments.targets import TESTS, named_rows
from reports.checks import refuse_bad_results
from reports.results import Record, Results
from selfrefine.classes import CLASSES, label_words
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json
from selfrefine.files.table import read_csv, write_csv

log = logging.getLogger(__name__)

FORMAT = 3
RESULTS, ROWS, OUTPUTS, VALIDATION = "results.json", "rows.csv", "outputs.csv", "validation.csv"

STAGE = "stage"
"""Name of the column with a stage's identity."""
CELLS = (*CLASSES, "avg", "single avg F1", "multi avg F1")
EXPORTED = (ROWS, OUTPUTS, VALIDATION, EXAMPLES, RESULTS)
BEGUN, COMPLETE = ".export.partial", ".export.complete"
"""Folders of an export whose files are not all written, and of one whose files are."""
RUN = ("seconds", "commit", "device", "started")
IN_TABLES = ("outputs", "looks", "examples")
"""Fields of Results that are in the other files, not in `results.json`."""


def export(results: Results, folder: Path, listened: Sequence[str]) -> None:
    """Writes the files that `load_results` reads, in the place of those of an earlier export.

    Audio examples are exported for the rows in `listened`, but not for a user's own songs. A
    process that is killed leaves the earlier files whole, or new ones that the next command puts in
    their place. Raises InputError when the folder has files of these names that are no export's,
    and when it cannot be written.
    """
    refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finish_export(folder)
        shutil.rmtree(folder / BEGUN, ignore_errors=True)
        (folder / BEGUN).mkdir()
        write_export(results, folder / BEGUN, listened)
        (folder / BEGUN).rename(folder / COMPLETE)
        finish_export(folder)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); name another "
            "folder with --to"
        ) from error


def refuse_foreign(folder: Path) -> None:
    """Raises InputError for a folder with files that an export would replace, but did not write."""
    found = [name for name in EXPORTED if os.path.lexists(folder / name)]
    try:
        ours = not found or "format" in json.loads((folder / RESULTS).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise InputError(
            f"{folder / found[0]}: not of an export, and would be lost; move it away, or name "
            "another folder with --to"
        )


def write_export(results: Results, folder: Path, listened: Sequence[str]) -> None:
    write_csv(folder / ROWS, ("row", "seed", STAGE, *CELLS, *RUN), row_lines(results))
    write_csv(folder / OUTPUTS, (STAGE, "test", "labels", *CLASSES), output_lines(results))
    measures = {name: None for looks in results.looks.values() for look in looks for name in look}
    if measures:
        columns = (STAGE, *measures)
        write_csv(folder / VALIDATION, columns, validation_lines(results, columns))
    for label in [] if results.on_folder else listened:
        record = results.first(label)
        if record is not None and record.id in results.examples:
            copy_examples(results.examples[record.id], folder / EXAMPLES, label)
    written = {name: value for name, value in asdict(results).items() if name not in IN_TABLES}
    write_json(folder / RESULTS, {"format": FORMAT, **written})


def finish_export(folder: Path) -> None:
    """Puts the files of a complete export in the place of those before. If this is interrupted, the
    next call does all of it again."""
    complete = folder / COMPLETE
    if not complete.is_dir():
        return
    for name in EXPORTED:
        new, old = complete / name, folder / name
        if new.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(new, old)
        elif new.exists():
            shutil.copyfile(new, old)
        elif old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    complete.rename(folder / BEGUN)  # so that nobody takes what is left of it for complete
    shutil.rmtree(folder / BEGUN)


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
    """Reads the files of an export. Rows that this version does not know are left out, with a
    warning. Raises InputError for a folder that `export` did not write."""
    path = folder / RESULTS
    try:
        finish_export(folder)
        found = json.loads(path.read_bytes())
        if found["format"] != FORMAT:
            raise InputError(
                f"{path}: format {found['format']!r:.20}, this version reads {FORMAT}; export the "
                "results again"
            )
        rows = known_rows(ids_by_label(found["rows"]), path)
        refuse_unknown_choices(found)
        results = Results(
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
            known_rows(ids_by_label(found["data_rows"]), path),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not results as `python -m reports export` writes them ({error}); export "
            "them again"
        ) from error
    unknown = [id for id in (*results.outputs, *results.looks) if id not in results.stages]
    if unknown:
        raise InputError(
            f"{folder}: has outputs or scores of the stage {unknown[0]}, which {RESULTS} does not "
            "have; export the results again"
        )
    refuse_bad_results(
        results,
        lambda id, fault: InputError(f"{path}, stage {id}: {fault}; export the results again"),
    )
    return results


def refuse_unknown_choices(found: dict[str, Any]) -> None:
    """Raises ValueError for data, a profile or a test that this version does not know."""
    for name, known in (("data", CHOICES), ("profile", PROFILES), ("test", TESTS)):
        if found[name] not in known:
            raise ValueError(f"{name} {found[name]!r:.40} is none of {', '.join(known)}")
    words = [found["meaning"], *found["deviations"]]
    if not all(isinstance(each, str) for each in words):
        raise ValueError("its meaning and its deviations are not all text")


def known_rows(rows: dict[str, tuple[str, ...]], path: Path) -> dict[str, tuple[str, ...]]:
    known = named_rows(["*"])
    unknown = [label for label in rows if label not in known]
    if unknown:
        log.warning(
            "%s: %d rows are left out that this version does not know, %.40r for one",
            path,
            len(unknown),
            unknown[0],
        )
    return {label: ids for label, ids in rows.items() if label in known}


def ids_by_label(rows: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {label: tuple(ids) for label, ids in rows.items()}


def read_outputs_table(path: Path) -> dict[str, Tests]:
    rows = read_csv(path, (STAGE, "test", "labels", *CLASSES))
    return {id: outputs_of_rows(own) for id, own in groups_of_rows(rows, path).items()}


def read_validation_table(path: Path) -> dict[str, list[dict[str, float]]]:
    """The scores on validation songs, by stage. Empty if no training was watched."""
    rows = read_csv(path, (STAGE,)) if path.exists() else []
    return {
        id: [
            {name: float(value) for name, value in row.items() if value and name != STAGE}
            for row in own
        ]
        for id, own in groups_of_rows(rows, path).items()
    }


def groups_of_rows(rows: list[dict[str, str]], path: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each stage. Raises ValueError for a stage whose rows are in two places."""
    found: dict[str, list[dict[str, str]]] = {}
    for id, own in groupby(rows, itemgetter(STAGE)):
        if id in found:
            raise ValueError(f"{path} has the stage {id} twice")
        found[id] = list(own)
    return found


def example_folders(folder: Path, rows: dict[str, tuple[str, ...]]) -> dict[str, Path]:
    """The folders of the rows' audio examples, by the identity of a row's first run."""
    return {
        ids[0]: own
        for label, ids in rows.items()
        if ids and (own := folder / label.partition("/")[2]).is_dir()
    }
