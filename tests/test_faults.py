"""A sample of the campaign of faults (`make faults` runs the whole)."""

import random
import shutil
from pathlib import Path

import pytest

from experiments.stages.stage import kind
from experiments.store import Store
from tests.faults.__main__ import TARGETS as CAMPAIGN
from tests.faults.damage import damaged_files, fault_of, stages_of
from tests.faults.hostile_words import good_lines, hostile_lines, made_ground, made_word
from tests.faults.kills import killed_run
from tests.faults.trial import tried

TARGETS = ["table5/refined-0"]


def test_the_campaign_has_a_stage_of_every_kind() -> None:
    def kinds(targets: list[str]) -> set[str]:
        return {kind(stage) for stage in stages_of(targets).values()}

    assert kinds(CAMPAIGN) == kinds(["*"])


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def whole(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(smoke, tmp_path_factory.mktemp("whole") / "runs")


@pytest.mark.slow
def test_hostile_words_get_a_line_and_no_traceback(ground: Path, tmp_path: Path) -> None:
    lines = list(hostile_lines(ground, tmp_path))
    sample = random.Random(0).sample(lines, 50)
    assert {line.name: fault for line in sample if (fault := line.fault())} == {}


@pytest.mark.slow
def test_the_words_are_accepted_where_nothing_is_hostile(ground: Path, tmp_path: Path) -> None:
    lines = [words for module, words in good_lines(ground) if module == "selfrefine.cli"]
    for number in (0, 8, 13, 15, 16, 19):
        words = [made_word(word, tmp_path / str(number)) for word in lines[number]]
        assert tried("selfrefine.cli", words).code == 0, words


@pytest.mark.slow
def test_damage_of_a_finished_stage_is_named_with_its_remedy(whole: Path) -> None:
    store = Store(whole)
    sample = random.Random(0).sample(list(damaged_files(TARGETS, store)), 25)
    assert {str(case): fault for case in sample if (fault := fault_of(case, TARGETS, store))} == {}


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_an_unbroken_one(
    whole: Path, tmp_path: Path
) -> None:
    kills = killed_run(TARGETS, whole, tmp_path / "broken", 5, 2, random.Random(0), print)
    assert kills.landed["separator"] == 2
    assert kills.faults == []
