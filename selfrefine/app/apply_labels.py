"""Laying the stems of a refined folder out by a labels.csv that a person edited."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from selfrefine.app.labels_table import file_word, read_labels, table_rows
from selfrefine.app.output_folder import SOURCE, make_output_folder
from selfrefine.app.stem_links import DROPPED, lay_out_stems
from selfrefine.classes import CLASSES, label_set_of
from selfrefine.errors import InputError
from selfrefine.files.layouts import SongFiles, find_songs
from selfrefine.progress import Note

NEEDED = ("file", "refined")

Row = dict[str, str]
Label = tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """`labels` by a stem's file, of those laid out; `left_out` counts those that could not be used
    and got no label; `changed` of all differ from the table `before`, where there was one."""

    labels: dict[str, Label]
    left_out: int
    changed: int
    before: Path | None


def apply_labels(table: Path, out: Path, source: Path | None, copy: bool, note: Note) -> Applied:
    """Makes `out/stems` and `out/labels.csv` what `table` says of the stems that `out` was refined
    from; `source` is where those are if not where they were.

    Raises InputError for a table that does not fit them and for folders that cannot be used, before
    anything is changed.
    """
    rows = table_rows(table, NEEDED)
    root = source_folder(out, source)
    songs = find_songs(root, tracks=False)
    make_output_folder(out, root, keep=True)
    refuse_missing_files(table, rows, root, songs)
    stems = {
        file_word(root, file): (song.name, file)
        for song in songs
        for file in song.files
        if file.label
    }
    kept = {
        (song.name, file.name): file.label
        for song in read_labels(table, root, songs)
        for file in song.files
    }
    labels = {word: kept.get((song, file.name), ()) for word, (song, file) in stems.items()}
    usable = {row["file"] for row in rows if any(row.get(name) for name in CLASSES)}
    laid_out = {word: label for word, label in labels.items() if label or word in usable}
    before = table_before(table, out)
    earlier = labels_in(before) if before else labels
    lay_out_stems(
        [(*stems[word], label) for word, label in laid_out.items()], out / "stems", copy, note
    )
    keep_table(table, out)
    changed = sum(label != earlier.get(word) for word, label in labels.items())
    return Applied(laid_out, len(labels) - len(laid_out), changed, before)


def source_folder(out: Path, given: Path | None) -> Path:
    """Where the stems of a refined folder lie, `given` or as noted there.

    Raises InputError for a folder that was not refined, and for stems that are gone.
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
        raise InputError(f"{note}: is gone; say by --source where the stems lie that were refined")
    root = Path(os.fsdecode(note.read_bytes()))
    if not root.is_dir():
        raise InputError(
            f"{root}: {out} was refined from it, and it is gone; put it back, or say by --source "
            "where it is now"
        )
    return root


def refuse_missing_files(table: Path, rows: list[Row], root: Path, songs: list[SongFiles]) -> None:
    """Raises InputError where the table names files that are not among the songs."""
    known = {file_word(root, file) for song in songs for file in song.files if file.label}
    unknown = [(line, row["file"]) for line, row in enumerate(rows, 2) if row["file"] not in known]
    if unknown:
        (line, word), more = unknown[0], len(unknown) - 1
        raise InputError(
            f"{table}, line {line}: no file {word!r} in {root}"
            + (f", nor {more} others of its {len(rows)}" if more else "")
            + "; put it back there, mend the line, or say by --source where the stems are now"
        )


def table_before(table: Path, out: Path) -> Path | None:
    """The table that the folder's stems were laid out by. Where someone edited that one itself, the
    one that was kept."""
    for path in (out / "labels.csv", out / "labels.before.csv"):
        if path.is_file() and not path.samefile(table):
            return path
    return None


def labels_in(table: Path) -> dict[str, Label | None]:
    """Label sets by file as far as they can be read."""
    try:
        rows = table_rows(table, NEEDED)
    except InputError:
        return {}
    return {row["file"]: label_set_of(row["refined"]) if row["refined"] else () for row in rows}


def keep_table(table: Path, out: Path) -> None:
    """Makes `out/labels.csv` a copy of the table; one that was there and differs is kept aside."""
    target = out / "labels.csv"
    text = table.read_bytes()
    before = target.read_bytes() if target.exists() else text
    if before != text:
        keep_aside(before, out)
    if before != text or not target.exists():
        write_whole(target, text)


def keep_aside(text: bytes, out: Path) -> None:
    """As labels.before.csv, labels.before-2.csv and so on; once."""
    number = 1
    path = out / "labels.before.csv"
    while path.exists():
        if path.read_bytes() == text:
            return
        number += 1
        path = out / f"labels.before-{number}.csv"
    write_whole(path, text)


def write_whole(path: Path, text: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(text)
    os.replace(partial, path)


def label_counts(applied: Applied) -> list[tuple[str, int]]:
    """Stems by label set, those of one class first; then those dropped, and those not usable."""
    counts = Counter(applied.labels.values())
    dropped = counts.pop((), 0)
    order = sorted(counts, key=lambda label: (len(label), [CLASSES.index(name) for name in label]))
    rows = [("+".join(label), counts[label]) for label in order]
    if dropped:
        rows.append((DROPPED, dropped))
    if applied.left_out:
        rows.append(("not usable, and given no label", applied.left_out))
    return rows
