"""`selfrefine separate`: separates many files. Those that are done are passed over."""

import hashlib
import os
from pathlib import Path
from typing import Any

from selfrefine.app.failures import Failures
from selfrefine.app.finished_folder import finished_folder, is_finished
from selfrefine.app.progress_bar import ProgressBar
from selfrefine.app.separate_file import separate_file
from selfrefine.errors import InputError
from selfrefine.files.layouts import MIXTURE
from selfrefine.files.names import common_form
from selfrefine.files.special_file import refuse_special
from selfrefine.models.model_file import load_separator
from selfrefine.progress import Progress
from selfrefine.training.device import prepare, training_device


def separate_files(files: list[Path], out: Path, model: Path, bar: ProgressBar) -> Failures:
    """Writes `out/<name>/<class>.wav` for every file and prints the folders.

    All paths are checked before the separator is loaded, so that a mistyped one costs no wait. A
    file that was separated by the same model before is passed over, and such files are counted.
    Raises InputError for a model that cannot be used, and for a wrong machine setting.
    """
    device = training_device()
    prepare(device)
    failures = Failures("files", "separated", len(files), bar.note)
    digest = model_digest(model)
    wanted: list[tuple[Path, Path, dict[str, Any]]] = []
    names: dict[str, Path] = {}
    done = 0
    for path in files:
        with failures.caught(str(path)):
            if not path.is_file():
                raise InputError(f"{path}: no such file; check the path")
            folder = out / output_name(path)
            first = names.setdefault(common_form(folder.name), path)
            if first is not path:
                raise InputError(
                    f"{path}: {first} has the same name; separate them with different --out"
                )
            made_of = {"input": file_digest(path), "model": digest}
            if is_finished(folder, made_of):
                done += 1
            else:
                wanted.append((path, folder, made_of))
    if done:
        bar.note(f"{done} of {len(files)} files were separated before and are passed over")
    if wanted:
        separator = load_separator(model, device)
    progress = Progress(count=lambda at, end: bar.count(round(at), round(end)), note=bar.note)
    for path, folder, made_of in wanted:
        bar.begin(path.name)
        with failures.caught(str(path)):
            with finished_folder(folder, made_of) as building:
                separate_file(path, building, separator, device, progress)
            bar.print(str(folder))
    return failures


def output_name(path: Path) -> str:
    """The name of a file's output folder: its own, or that of its folder where the file is called
    mixture. A link is named as it is given, not by its target."""
    if path.stem.lower() == MIXTURE:
        return Path(os.path.abspath(path)).parent.name
    return path.stem if path.stem.strip(".") else path.name


def model_digest(model: Path) -> str:
    """The digest of a separator's file, or of separator.pt in a folder. Raises InputError where it
    cannot be read."""
    try:
        return file_digest(model / "separator.pt" if model.is_dir() else model)
    except OSError as error:
        raise InputError(f"{model}: cannot be opened ({error.strerror}); check the path") from error


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes. Raises OSError for a file that cannot be read."""
    refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
