"""Damages every file that a finished stage leaves, and asks whether the store notices."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.integrity import DONE, made_files
from experiments.stages.stage import Stage, describe, kind
from experiments.store import Store
from tests.faults.kills import stages_of
from tests.faults.trial import tried

Damage = Callable[[Path], None]


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garbled(path: Path) -> None:
    path.write_bytes(b"\xff\x00 no such content {[\n" * 3)


def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n1")


def removed(path: Path) -> None:
    path.unlink()


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


WAYS: tuple[Damage, ...] = (
    emptied,
    halved,
    zeroed,
    flipped,
    garbled,
    lengthened,
    removed,
    made_a_folder,
)


@dataclass(frozen=True)
class DamagedFile:
    """A file of a finished stage and what is done to it."""

    stage: Stage
    name: str
    damage: Damage

    def __str__(self) -> str:
        return f"{describe(self.stage)}: {self.name} {self.damage.__name__}"


def damaged_files(targets: list[str], store: Store) -> Iterator[DamagedFile]:
    """Every file of a stage of every kind, damaged in every way. Files whose names differ in
    digits alone count as one."""
    seen = set()
    for stage in stages_of(targets).values():
        folder = store.folder(stage)
        for path in (folder / DONE, *made_files(folder)):
            name = str(path.relative_to(folder))
            kind_of_file = (kind(stage), re.sub(r"\d+", "", name))
            if kind_of_file in seen or not path.stat().st_size:
                continue
            seen.add(kind_of_file)
            for damage in WAYS:
                # Without its record a stage is one that was never run.
                if not (name == DONE and damage is removed):
                    yield DamagedFile(stage, name, damage)


def fault_of(case: DamagedFile, targets: list[str], store: Store) -> str | None:
    """What is wrong with the answer to a damaged file; None where it is refused by name. The store
    is left as it was."""
    folder = store.folder(case.stage)
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    try:
        shutil.copytree(aside, folder)
        case.damage(folder / case.name)
        words = ["plan", *targets, "--store", store.root, "--profile", "smoke"]
        named = (case.name, "damaged", f"delete {folder}")
        return tried("experiments.__main__", words).fault(refused=True, named=named)
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)
