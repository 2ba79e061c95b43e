"""The registry of experiments, the identity of stages, profiles, and the store."""

import argparse
import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.arguments import seed_range, seed_word
from experiments.data import bind
from experiments.profiles import PROFILES, deviations
from experiments.registry import TABLE2, TARGETS, psi_noisy, psi_refined, refined
from experiments.stages.classifier import Classifier
from experiments.stages.data_set import NOISY, VALIDATION
from experiments.stages.relabelled import Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, describe, expression, identity, inputs
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.targets import from_seeds, groups_of, resolved_rows, scaled
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.settings import PAPER_XUMX
from tests.cli_songs import write_songs

MINI, PAPER, SMOKE = PROFILES["mini"], PROFILES["paper"], PROFILES["smoke"]


def table2(profile=MINI) -> list[SeparationScore]:
    return [bind(scaled(row.stage, profile), "band", profile.data) for row in TABLE2.rows]


def test_table_2_has_the_papers_ten_rows_and_averages() -> None:
    papers = [row for row in TABLE2.rows if not row.ours]
    assert [row.labels for row in papers] == [
        (network, data)
        for network in ("Demucs", "X-UMX")
        for data in ("clean", "noisy", "w/ Psi_clean", "w/ Psi_noisy", "w/ Psi_refined")
    ]
    for row in papers:
        # The paper's averages are of the unrounded cells.
        classes = [row.paper[name] for name in CLASSES]
        assert sum(classes) / 4 == pytest.approx(row.paper["avg"], abs=0.011)


def test_table_2_shares_its_stages() -> None:
    stages = closure(list(table2()))
    counts = {kind: sum(isinstance(s, kind) for s in stages) for kind in (Classifier, Separator)}
    assert counts == {Classifier: 3, Separator: 14}
    assert len({identity(stage) for stage in stages}) == len(stages)


def test_every_stage_comes_after_what_it_is_made_from() -> None:
    stages = closure(list(table2()))
    for place, stage in enumerate(stages):
        assert all(needed in stages[:place] for needed in inputs(stage))


def test_equal_expressions_are_one_stage_and_any_field_makes_another() -> None:
    first = Separator(refined(psi_noisy), PAPER_XUMX)
    assert identity(first) == identity(Separator(refined(psi_noisy), PAPER_XUMX))
    others = [
        Separator(refined(psi_refined), PAPER_XUMX),
        Separator(refined(psi_noisy, 0.5), PAPER_XUMX),
        Separator(refined(psi_noisy), dataclasses.replace(PAPER_XUMX, multi_chance=0.0)),
        Separator(refined(psi_noisy), PAPER_XUMX, seed=1),
    ]
    assert len({identity(stage) for stage in [first, *others]}) == 5


def test_a_raised_version_of_an_input_changes_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = identity.__wrapped__  # a process keeps the identities that it computed
    before = named(Trimmed(NOISY))
    monkeypatch.setattr(type(NOISY), "version", 2)
    assert named(Trimmed(NOISY)) != before


def test_identities_are_the_same_in_every_process() -> None:
    code = (
        "from experiments.registry import TABLE2; from experiments.stages.stage import identity;"
        "print(' '.join(identity(row.stage) for row in TABLE2.rows))"
    )
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed.split() == [identity(row.stage) for row in TABLE2.rows]


def test_a_profile_changes_the_scale_and_keeps_what_makes_the_row() -> None:
    single = dataclasses.replace(PAPER_XUMX, single_share=1.0)
    stage = Separator(refined(psi_noisy, 0.5), single)
    small = scaled(stage, MINI)
    assert small.settings.steps == MINI.scale.xumx.steps
    assert small.settings.single_share == 1.0
    assert small.trained_on.thresholds == (0.5,) * 4
    assert scaled(refined(psi_noisy), SMOKE).thresholds == (SMOKE.scale.threshold,) * 4


def test_the_paper_profile_deviates_in_nothing() -> None:
    assert deviations(PAPER) == []
    assert scaled(TABLE2.rows[0].stage, PAPER) == TABLE2.rows[0].stage
    assert any(line.startswith("X-UMX steps") for line in deviations(MINI))


def test_refining_always_starts_from_the_original_noisy_stems() -> None:
    twice = refined(psi_refined)
    assert twice.probabilities.stems == Trimmed(NOISY)
    assert isinstance(twice.probabilities.classifier.trained_on, Relabelled)
    assert twice.probabilities.classifier.single_labelled_only


def test_stages_have_names_that_a_reader_knows() -> None:
    names = [describe(stage) for stage in closure(list(table2()))]
    for expected in ("Psi_clean", "Psi_noisy", "Psi_refined", "X-UMX on noisy"):
        assert expected in names
    assert len(set(names)) == len(names)


def test_a_result_is_there_once_it_is_finished(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Trimmed(NOISY)
    assert not store.done(stage)
    with store.locked(stage):
        store.finish(stage, {"stems": 3}, {"seconds": 1.0})
    assert Store(tmp_path).result(stage) == {"stems": 3}
    assert Store(tmp_path).record(stage)["stage"] == expression(stage)


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        Store(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(InputError, match=r"store\.json: damaged.*delete it"):
        Store(tmp_path)


def test_a_broken_result_is_refused_with_its_remedy(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Trimmed(NOISY)
    store.folder(stage).mkdir(parents=True)
    (store.folder(stage) / "done.json").write_text("{")
    with pytest.raises(InputError, match=r"done\.json.*delete"):
        store.result(stage)


def hold_lock(root: Path, stage: Stage, seconds: float) -> None:
    with Store(root).locked(stage):
        (root / "held").touch()
        time.sleep(seconds)


def test_a_second_runner_waits_for_the_stage_that_the_first_computes(tmp_path: Path) -> None:
    stage = Trimmed(NOISY)
    first = multiprocessing.get_context("spawn").Process(
        target=hold_lock, args=(tmp_path, stage, 1.0)
    )
    first.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.05)
    with Store(tmp_path).locked(stage) as waited:
        assert waited
    first.join()
    assert first.exitcode == 0


def test_a_killed_runner_leaves_no_lock_behind(tmp_path: Path) -> None:
    stage = Trimmed(NOISY)
    first = multiprocessing.get_context("spawn").Process(
        target=hold_lock, args=(tmp_path, stage, 60.0)
    )
    first.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.05)
    first.kill()
    first.join()
    with Store(tmp_path).locked(stage) as waited:
        assert not waited


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SELFREFINE_WANDB_SECONDS", "abc"),
        ("SELFREFINE_WANDB_SECONDS", "-1"),
        ("SELFREFINE_WANDB_SECONDS", "nan"),
        ("SELFREFINE_CHECKPOINT_SECONDS", "abc"),
        ("SELFREFINE_PRECISION", "bf17"),
        ("SELFREFINE_DEVICE", "banana"),
        ("SELFREFINE_DEVICE", "cuda:99"),
    ],
)
def test_a_bad_machine_setting_is_one_line_before_any_worker_starts(
    variable: str, value: str, tmp_path: Path
) -> None:
    words = ["run", "table2/x-umx-clean", "--profile", "smoke", "--store", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "experiments", *words],
        env={**os.environ, "WANDB_MODE": "disabled", variable: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"error: {variable}={value}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["store.json"]


def test_planning_loads_no_torch_and_minds_no_setting_that_it_does_not_use(tmp_path: Path) -> None:
    code = (
        "import sys, experiments.__main__, sweeps.__main__, reports.wandb_dashboard;"
        "assert 'torch' not in sys.modules"
    )
    variables = {"SELFREFINE_WANDB_SECONDS": "abc", "SELFREFINE_CHECKPOINT_SECONDS": "abc"}
    environment = {**os.environ, **variables}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ran.returncode == 0


def test_a_stage_carries_every_row_that_needs_it_and_the_asked_ones_first() -> None:
    groups = groups_of(["table5/clean"], SMOKE, "band", range(1))
    (score,) = (stage for stage in groups if isinstance(stage, SeparationScore))
    assert groups[score] == ["table5", "table5/clean", "table2", "table2/x-umx-clean"]
    again = groups_of(["table2/x-umx-clean"], SMOKE, "band", range(1))
    assert again[score][:2] == ["table2", "table2/x-umx-clean"]
    assert set(again[score]) == set(groups[score])


def test_what_trainings_are_watched_with_is_found_under_the_rows_that_need_it_too() -> None:
    groups = groups_of(["table5/clean"], SMOKE, "band", range(1), watching=True)
    plain = groups_of(["table5/clean"], SMOKE, "band", range(1))
    stems = bind(Trimmed(VALIDATION), "band", SMOKE.data)
    assert groups[stems][0] == "validation"
    assert {"table3", "table3/adaptive-thresholds", "figure4/thresholds"} <= set(groups[stems])
    assert groups.keys() - plain.keys() == {stems, stems.songs}
    # Where a row that was asked for needs it, that row's table comes first.
    asked = groups_of(["figure4/thresholds"], SMOKE, "band", range(1), watching=True)
    assert asked[stems][0] == "figure4"
    assert asked[stems] == groups_of(["figure4/thresholds"], SMOKE, "band", range(1))[stems]


@pytest.mark.parametrize("names", [["all"], ["table3/single-only"], ["options", "figure4"]])
def test_groups_are_of_the_asked_rows_stages_and_agree_with_their_closures(
    names: list[str],
) -> None:
    groups = groups_of(names, SMOKE, "band", range(2))
    asked = resolved_rows(names, SMOKE, "band")
    every = resolved_rows([*TARGETS], SMOKE, "band")
    wanted = closure([each for _, stage in asked.values() for each in from_seeds(stage, range(2))])
    assert set(groups) == set(wanted)
    behind = {
        label: set(closure(from_seeds(stage, range(2)))) for label, (_, stage) in every.items()
    }
    for stage, found in groups.items():
        rows = {label for label, needed in behind.items() if stage in needed}
        assert set(found) == rows | {label.split("/")[0] for label in rows}
        assert found[0] in {label.split("/")[0] for label in asked}


def test_data_that_only_other_rows_need_are_never_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(tmp_path / "train", 2)
    write_songs(tmp_path / "test", 1)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path))
    monkeypatch.setenv("LABELNOISE_PATH", "/nowhere")
    groups = groups_of(["table5/clean"], SMOKE, "musdb", range(1))
    (stems,) = (stage for stage in groups if isinstance(stage, Trimmed))
    # A row that needs the missing data needs these songs too.
    assert "table2/x-umx-psi-clean" in groups[stems]
    with pytest.raises(InputError, match="LABELNOISE_PATH"):
        groups_of(["table2/x-umx-psi-clean"], SMOKE, "musdb", range(1))


def test_seeds_are_a_count_or_a_first_and_a_last() -> None:
    assert seed_range("3") == range(3)
    assert seed_range("3-4") == range(3, 5)
    assert [seed_range(seed_word(each)) for each in (range(2), range(4, 9))] == [
        range(2),
        range(4, 9),
    ]
    for word in ("0", "4-3", "-3", "a", "1-b", "1-99999", ""):
        with pytest.raises((ValueError, argparse.ArgumentTypeError)):
            seed_range(word)
