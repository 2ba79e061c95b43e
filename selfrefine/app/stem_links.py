"""Laying stems out by label set: links to the input, or copies of it."""

import hashlib
import os
import shutil
from pathlib import Path

from selfrefine.files.audio_file import write_wav
from selfrefine.files.layouts import StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.progress import Note

DROPPED = "dropped"
LONGEST_NAME = 200
"""Bytes of a file name; file systems take 255."""


def lay_out_stems(
    stems: list[tuple[str, StemFile, tuple[str, ...]]], folder: Path, copy: bool, note: Note
) -> dict[tuple[str, str], Path]:
    """Makes `folder/<label set>/<song>__<name>.<ext>` of (song, file, label set); returns the path
    by (song, name).

    A folder from before is replaced once the new one is whole. A stream of a .stem.mp4 cannot be
    linked and is written as a WAV file.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    paths = {}
    unlinked = 0
    for song, file, label in stems:
        label_folder = "+".join(label) or DROPPED
        (partial / label_folder).mkdir(exist_ok=True)
        name = link_name(song, file)
        target = partial / label_folder / name
        if file.stream is not None:
            write_wav(target, *decode_stream(file.path, file.stream))
        elif copy:
            shutil.copyfile(file.path, target)
        else:
            try:
                target.symlink_to(os.path.abspath(file.path))
            except (NotImplementedError, PermissionError):
                shutil.copyfile(file.path, target)
                unlinked += 1
        paths[song, file.name] = folder / label_folder / name
    if unlinked:
        note(f"{unlinked} stems are copied: this file system takes no links")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return paths


def link_name(song: str, file: StemFile) -> str:
    """Unique within a layout; long names are shortened and marked by a digest."""
    suffix = ".wav" if file.stream is not None else file.path.suffix
    ending = f"__{file.name}{suffix}"
    if len(os.fsencode(song + ending)) <= LONGEST_NAME:
        return song + ending
    digest = hashlib.sha256(os.fsencode(song)).hexdigest()[:10]
    kept = os.fsencode(song)[: LONGEST_NAME - len(ending) - 20].decode(errors="ignore")
    return f"{kept}~{digest}{ending}"
