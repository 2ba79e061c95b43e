"""Stages as values: which changes keep their identity, and what a new kind of stage needs."""

import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from experiments.registry import TABLE2
from experiments.stages.classifier import Classifier
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, expression, identity, rebuild
from experiments.store import Store
from selfrefine.settings import XUMX, ConvNeXt, SeparatorSettings, added
from tests.added_kind import ROW

ROOT = Path(__file__).parents[1]
STAGE = TABLE2.row("x-umx-psi-refined").stage


def grown(kind: type, entry: Any) -> type:
    """`kind` with one more field, under the same name."""
    names = {"__annotations__": {"later": Any}, "later": entry, "__doc__": kind.__doc__}
    return dataclass(frozen=True)(type(kind.__name__, (kind,), names))


def with_grown(stage: Stage, kind: type, entry: Any, **values: Any) -> Any:
    """`stage` as in a later version of the code, in which `kind` has one more field."""
    later = grown(kind, entry)

    def change(part: Any) -> Any:
        if type(part) is not kind:
            return part
        own = {each.name: getattr(part, each.name) for each in fields(part)}
        return later(**own, **values)

    return rebuild(stage, change)


DEPTHS = [Separator, Classifier, SeparatorSettings, XUMX, ConvNeXt]
"""A stage, a stage that it is made from, a stage's settings, and settings within settings."""


@pytest.mark.parametrize("kind", DEPTHS)
def test_a_field_that_is_as_before_leaves_every_identity(kind: type) -> None:
    later = with_grown(STAGE, kind, added(None, as_before=None))
    assert later != STAGE
    assert [identity(each) for each in closure([later])] == [
        identity(each) for each in closure([STAGE])
    ]


@pytest.mark.parametrize("kind", DEPTHS)
def test_a_field_that_changes_something_changes_the_identity(kind: type) -> None:
    changed = with_grown(STAGE, kind, added(None, as_before=None), later=3)
    assert identity(changed) != identity(STAGE)
    # A default can be another value than the one that means "as before".
    better = with_grown(STAGE, kind, added(0.5, as_before=0.0))
    assert identity(better) not in (identity(STAGE), identity(changed))
    same = with_grown(STAGE, kind, added(0.5, as_before=0.0), later=0.0)
    assert identity(same) == identity(STAGE)
    # A field that is not marked is part of every identity.
    assert identity(with_grown(STAGE, kind, field(default=None))) != identity(STAGE)


def test_the_order_of_fields_does_not_matter() -> None:
    @dataclass(frozen=True)
    class Sample(Stage):
        first: int = 1
        second: int = 2

    one = expression(Sample())

    @dataclass(frozen=True)
    class Sample(Stage):  # type: ignore[no-redef]
        second: int = 2
        first: int = 1

    assert one == expression(Sample())
    assert identity(Sample()) == identity(replace(Sample(), first=1))


def experiments(*words: str) -> str:
    command = [sys.executable, "-m", "tests.added_kind", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_new_kind_of_stage_is_one_file_and_a_row(tmp_path: Path) -> None:
    words = ("added/longest", "--profile", "smoke", "--store", str(tmp_path))
    assert "added/longest" in experiments("list")
    planned = experiments("plan", *words)
    assert "longest stems of band b" in planned
    assert "SDR of X-UMX on the longest of noisy" in planned
    ran = experiments("run", *words)
    assert "added/longest: all 7 stages are done" in ran
    shown = experiments("show", *words)
    assert '"is": "LongestOfSong"' in shown
    stored = list((tmp_path / "longest-of-song").glob("*/done.json"))
    assert len(stored) == 1
    kept = Store(tmp_path).records()
    (result,) = [each["result"] for each in kept if each["stage"]["is"] == "LongestOfSong"]
    # A stem of each of smoke's three noisy songs.
    assert len(result["kept"]) == 3
    assert ROW.name in shown
