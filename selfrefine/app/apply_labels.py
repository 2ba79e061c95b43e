"""Laying the stems of a refined folder out by a labels.csv that a person edited."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from selfrefine.app.labels_table import listed_file, read_labels
from selfrefine.app.output_folder import SOURCE, make_output_folder
from selfrefine.app.stem_links import DROPPED, lay_out_stems
from selfrefine.classes import CLASSES, LabelSet, label_rank, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.atomic import written_whole
from selfrefine.files.layouts import find_songs
from selfrefine.files.names import met_names
from selfrefine.files.table import numbered_rows, read_csv
from selfrefine.progress import Note

NEEDED = ("file", "refined")


@dataclass(frozen=True)
class Applied:
    """The outcome of `apply_labels`.

    `labels` are the label sets of the stems laid out, by their files as labels.csv lists them.
    `left_out` counts the stems that could not be used and got no label. `before` is the table that
    the stems were laid out by until then, None where there was none. `changed` counts the stems
    whose label differs from that table.
    """

    labels: dict[str, LabelSet]
    left_out: int
    changed: int
    before: Path | None


def apply_labels(table: Path, out: Path, source: Path | None, copy: bool, note: Note) -> Applied:
    """Lays out `out/stems` by `table`, and copies the table to `out/labels.csv`.

    `source` is the folder of stems that `out` was refined from, where it was moved since; else
    None. Raises InputError, before anything is changed, for a table that does not fit the stems and
    for folders that cannot be used.
    """
    rows = numbered_rows(table, NEEDED)
    root = source_folder(out, source)
    songs = find_songs(root, tracks=False)
    make_output_folder(out, root, keep=True)
    stems = {
        listed_file(root, file): (song.name, file)
        for song in songs
        for file in song.files
        if file.label
    }
    met = met_names((row["file"] for _, row in rows), stems)
    unknown = [(line, row["file"]) for line, row in rows if row["file"] not in met]
    refuse_missing_files(table, unknown, len(rows), root)
    kept = {
        (song.name, file.name): file.label
        for song in read_labels(table, root, songs)
        for file in song.files
    }
    labels = {word: kept.get((song, file.name), ()) for word, (song, file) in stems.items()}
    usable = {met[row["file"]] for _, row in rows if any(row.get(name) for name in CLASSES)}
    laid_out = {word: label for word, label in labels.items() if label or word in usable}
    before = table_before(table, out)
    earlier = labels_in(before, list(stems)) if before else labels
    # Read before anything is changed, since it may fail.
    text = table.read_bytes()
    kept_table = out / "labels.csv"
    text_before = kept_table.read_bytes() if kept_table.exists() else text
    lay_out_stems(
        [(*stems[word], label) for word, label in laid_out.items()], out / "stems", copy, note
    )
    keep_table(text, text_before, out)
    changed = sum(label != earlier.get(word) for word, label in labels.items())
    return Applied(laid_out, len(labels) - len(laid_out), changed, before)


def source_folder(out: Path, given: Path | None) -> Path:
    """The folder of stems that `out` was refined from: `given`, or the one noted in `out`.

    Raises InputError for an `out` that refining did not make, and for a noted folder that is gone.
    """
    note = out / "work" / SOURCE
    if not note.is_file() and not (out / "audit.html").is_file():
        raise InputError(
            f"{out}: not a folder that selfrefine refine made (work/{SOURCE} is not there); "
            "give that folder by --out"
        )
    if given is not None:
        return given
    if not note.is_file():
        raise InputError(f"{note}: is gone; give by --source the folder of stems that was refined")
    root = Path(os.fsdecode(note.read_bytes()))
    if not root.is_dir():
        raise InputError(
            f"{root}: {out} was refined from this folder, and it is gone; put it back, or say by "
            "--source where it is now"
        )
    return root


def refuse_missing_files(
    table: Path, unknown: list[tuple[int, str]], rows: int, root: Path
) -> None:
    """Raises InputError where `unknown`, the lines and files of the table that are not in `root`,
    are any. The table has `rows` lines."""
    if unknown:
        (line, word), more = unknown[0], len(unknown) - 1
        raise InputError(
            f"{table}, line {line}: no file {word!r} in {root}"
            + (f", nor {more} others of its {rows}" if more else "")
            + "; put it back there, mend the line, or say by --source where the stems are now"
        )


def table_before(table: Path, out: Path) -> Path | None:
    """The table that the stems of `out` were laid out by, None where there is none. Where `table`
    is that one, edited in place, it is the kept copy of an earlier one."""
    for path in (out / "labels.csv", out / "labels.before.csv"):
        if path.is_file() and not path.samefile(table):
            return path
    return None


def labels_in(table: Path, files: list[str]) -> dict[str, LabelSet | None]:
    """A table's label sets by those of `files` that it has, None for words that are no label set.
    Empty where the table cannot be read."""
    try:
        rows = read_csv(table, NEEDED)
    except InputError:
        return {}
    met = met_names((row["file"] for row in rows), files)
    return {
        met[row["file"]]: label_set_of(row["refined"].strip()) for row in rows if row["file"] in met
    }


def keep_table(text: bytes, before: bytes, out: Path) -> None:
    """Writes the table to `out/labels.csv`. A different one that was there is kept aside."""
    target = out / "labels.csv"
    if before != text:
        keep_aside(before, out)
    if before != text or not target.exists():
        write_copy(target, text)


def keep_aside(text: bytes, out: Path) -> None:
    """Keeps a table as labels.before.csv, labels.before-2.csv and so on. Equal tables are kept
    once."""
    number = 1
    path = out / "labels.before.csv"
    while path.exists():
        if path.read_bytes() == text:
            return
        number += 1
        path = out / f"labels.before-{number}.csv"
    write_copy(path, text)


def write_copy(path: Path, text: bytes) -> None:
    with written_whole(path) as partial:
        partial.write_bytes(text)


def label_counts(applied: Applied) -> list[tuple[str, int]]:
    """The number of stems with each label set, small sets first; then the number of those dropped,
    and of those not usable."""
    counts = Counter(applied.labels.values())
    dropped = counts.pop((), 0)
    rows = [(label_words(label), counts[label]) for label in sorted(counts, key=label_rank)]
    if dropped:
        rows.append((DROPPED, dropped))
    if applied.left_out:
        rows.append(("not usable, and given no label", applied.left_out))
    return rows
