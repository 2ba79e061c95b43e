"""Laying stems out by label set: links to the input, or copies of it."""

import hashlib
import os
import shutil
from pathlib import Path

from selfrefine.classes import LabelSet, label_words
from selfrefine.files.atomic import folder_replaced
from selfrefine.files.audio_file import write_wav
from selfrefine.files.completeness import refuse_absent
from selfrefine.files.layouts import StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.progress import Note, counted

DROPPED = "dropped"
LONGEST_NAME = 200
"""The most bytes of a file name; file systems allow 255."""

LabelledStem = tuple[str, StemFile, LabelSet]
"""A stem's song, file and label set."""


def lay_out_stems(
    stems: list[LabelledStem], folder: Path, copy: bool, note: Note
) -> dict[tuple[str, str], Path]:
    """Makes `folder` anew, filled by `link_stems`. Returns the paths by (song, name)."""
    with folder_replaced(folder) as building:
        paths = link_stems(stems, building, copy, note)
    return {key: folder / path.relative_to(building) for key, path in paths.items()}


def link_stems(
    stems: list[LabelledStem], folder: Path, copy: bool, note: Note
) -> dict[tuple[str, str], Path]:
    """Makes `folder/<label set>/<song>__<name>.<ext>` for every stem. Returns the paths by
    (song, name).

    A stem without a label goes into the folder `dropped`. Stems are copied if `copy`, or where the
    file system takes no links; else they are linked. A stream of a .stem.mp4 cannot be linked and
    is written as a WAV file.
    """
    paths = {}
    unlinked = 0
    for song, file, label in stems:
        target = folder / (label_words(label) or DROPPED) / link_name(song, file)
        target.parent.mkdir(exist_ok=True)
        if file.stream is not None:
            write_wav(target, *decode_stream(file.path, file.stream))
            paths[song, file.name] = target
            continue
        refuse_absent(file.path)
        if copy:
            shutil.copyfile(file.path, target)
        else:
            try:
                target.symlink_to(os.path.abspath(file.path))
            except (NotImplementedError, PermissionError):
                shutil.copyfile(file.path, target)
                unlinked += 1
        paths[song, file.name] = target
    if unlinked:
        note(f"copied, since this file system takes no links: {counted(unlinked, 'stem')}")
    return paths


def link_name(song: str, file: StemFile) -> str:
    """The file name of a stem in its label set's folder; no two stems of a data set share one. A
    long song name is shortened and gets a digest."""
    suffix = ".wav" if file.stream is not None else file.path.suffix
    ending = f"__{file.name}{suffix}"
    if len(os.fsencode(song + ending)) <= LONGEST_NAME:
        return song + ending
    digest = hashlib.sha256(os.fsencode(song)).hexdigest()[:10]
    kept = os.fsencode(song)[: LONGEST_NAME - len(ending) - 20].decode(errors="ignore")
    return f"{kept}~{digest}{ending}"
