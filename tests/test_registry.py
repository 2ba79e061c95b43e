"""The paper's experiments as rows: which table has which, which stages they share, and what a seed
and a profile change."""

import dataclasses
import itertools

import pytest

from experiments.profiles import PROFILES, profile_named
from experiments.registry import (
    FIGURE4,
    ITERATIONS,
    OPTIONS,
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE4,
    TABLE5,
    TABLES,
    psi_clean,
    psi_noisy,
    psi_refined,
    rows_of,
)
from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import CLEAN, NOISY, TEST, VALIDATION
from experiments.stages.recognition_outputs import RecognitionOutputs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.separator import Separator
from experiments.stages.stage import closure, describe, identity, seeded
from experiments.stages.trimmed import Trimmed
from experiments.targets import from_seeds, resolved, resolved_rows
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.settings import XUMX

MINI, SMOKE, PAPER = PROFILES["mini"], PROFILES["smoke"], PROFILES["paper"]


def everything(profile=PAPER):
    return closure([resolved(row, profile, "band") for row in rows_of("all").values()])


@pytest.mark.parametrize("profile", [PAPER, MINI, SMOKE], ids=lambda profile: profile.name)
def test_the_whole_paper_is_six_classifiers_and_seventeen_separators(profile) -> None:
    rows = rows_of("all").values()
    papers = closure([resolved(row, profile, "band") for row in rows if not row.ours])
    stages = everything(profile)
    for made in (papers, stages):
        assert sum(isinstance(stage, Classifier) for stage in made) == 6
    separators = [stage for stage in papers if isinstance(stage, Separator)]
    assert len(separators) == 17
    assert sum(isinstance(stage.settings.network, XUMX) for stage in separators) == 12
    # Our reference rows: each network on uncorrupted songs, and under true labels.
    assert sum(isinstance(stage, Separator) for stage in stages) == 17 + 4
    assert len({identity(stage) for stage in stages}) == len(stages)
    assert len({describe(stage) for stage in stages}) == len(stages)


def papers(table) -> list:
    return [row for row in table.rows if not row.ours]


def test_each_table_has_the_papers_rows() -> None:
    assert [row.labels[0] for row in TABLE1.rows] == ["clean", "noisy", "refined"]
    assert [row.labels[0] for row in papers(TABLE3)] == [
        "proposed",
        "threshold = 0.5",
        "adaptive thresholds",
        "train only w/ single-labeled",
        "+ finetune w/ multi-labeled",
        "self-refining 5x",
    ]
    assert [row.labels[0] for row in TABLE4.rows] == ["clean", "1", "2 (proposed)", "3", "4", "5"]
    assert [row.labels[0] for row in papers(TABLE5)] == [
        "clean",
        "0 (noisy)",
        "1",
        "2 (proposed)",
        "3",
        "4",
        "5",
    ]


@pytest.mark.parametrize("table", [TABLE2, TABLE3, TABLE5], ids=lambda table: table.name)
def test_the_printed_averages_are_those_of_the_printed_cells(table) -> None:
    for row in papers(table):
        classes = [row.paper[name] for name in CLASSES]
        assert sum(classes) / 4 == pytest.approx(row.paper["avg"], abs=0.011)


def test_tables_share_the_rows_that_they_have_in_common() -> None:
    xumx = {row.labels[1]: row for row in TABLE2.rows if row.labels[0] == "X-UMX"}
    by_refinements = [row.stage for row in papers(TABLE5)]
    assert by_refinements[:4] == [
        xumx[name].stage for name in ("clean", "noisy", "w/ Psi_noisy", "w/ Psi_refined")
    ]
    assert TABLE3.row("proposed").stage == xumx["w/ Psi_refined"].stage
    assert TABLE3.row("self-refining-5x").stage == TABLE5.row("refined-5").stage
    assert [row.stage for row in TABLE4.rows[:3]] == [row.stage for row in TABLE1.rows]


def test_each_iteration_relabels_the_original_stems_with_the_newest_classifier() -> None:
    assert ITERATIONS[0] == psi_noisy == Classifier(Trimmed(NOISY))
    for before, after in itertools.pairwise(ITERATIONS):
        assert after.single_labelled_only
        assert after.trained_on.probabilities.classifier == before
        assert after.trained_on.probabilities.stems == Trimmed(NOISY)
    for number, classifier in enumerate(ITERATIONS, start=1):
        assert (
            TABLE5.row(f"refined-{number}").stage.separator.trained_on.probabilities.classifier
            == classifier
        )


def test_the_ablations_differ_from_the_proposal_in_one_thing_each() -> None:
    proposed = TABLE3.row("proposed").stage.separator
    half = TABLE3.row("threshold-half").stage.separator
    assert half == dataclasses.replace(
        proposed, trained_on=dataclasses.replace(proposed.trained_on, thresholds=(0.5,) * 4)
    )
    for name, share in (("single-only", 1.0), ("finetune", 20680 / 56400)):
        row = TABLE3.row(name).stage.separator
        settings = dataclasses.replace(proposed.settings, single_share=row.settings.single_share)
        assert row == dataclasses.replace(proposed, settings=settings)
        assert row.settings.single_share == pytest.approx(share)


def test_adaptive_thresholds_are_chosen_on_validation_and_on_test_only_by_option() -> None:
    def split(row):
        chosen = row.stage.separator.trained_on.thresholds
        assert isinstance(chosen, AdaptiveThresholds)
        assert chosen.outputs.classifier == psi_refined
        return chosen.outputs.stems

    assert split(TABLE3.row("adaptive-thresholds")) == Trimmed(VALIDATION)
    assert split(OPTIONS.row("adaptive-thresholds-on-test")) == Trimmed(TEST)
    assert "options/adaptive-thresholds-on-test" not in rows_of("all")


def test_classifiers_are_tested_on_the_test_songs_at_the_papers_threshold() -> None:
    for row in (*TABLE1.rows, *TABLE4.rows):
        assert isinstance(row.stage, RecognitionScore)
        assert row.stage.outputs.stems == Trimmed(TEST)
        assert row.stage.thresholds == (0.9,) * 4
        assert row.stage.outputs.mixtures == 3941
    assert TABLE1.row("clean").stage.outputs.classifier == psi_clean == Classifier(Trimmed(CLEAN))


def test_figure_4_needs_no_training_beyond_the_tables() -> None:
    tables = closure([row.stage for table in TABLES.values() for row in table.rows])
    assert FIGURE4.row("outputs").stage == RecognitionOutputs(Trimmed(TEST), psi_refined)
    assert all(row.stage in tables for row in FIGURE4.rows)


def test_a_profile_scales_the_test_and_keeps_chosen_thresholds() -> None:
    score = resolved(TABLE1.row("noisy"), SMOKE, "band")
    assert score.outputs.mixtures == SMOKE.mixtures
    assert score.thresholds == (SMOKE.scale.threshold,) * 4
    adaptive = resolved(TABLE3.row("adaptive-thresholds"), SMOKE, "band").separator.trained_on
    assert isinstance(adaptive.thresholds, AdaptiveThresholds)
    # A scale whose own threshold were 0.5 would make two of the ablations one.
    assert SMOKE.scale.threshold != 0.5


def test_a_seed_reaches_every_training_of_the_chain_and_nothing_else() -> None:
    stage = resolved(TABLE5.row("refined-3"), MINI, "band")
    again = seeded(stage, 2)
    for first, second in zip(closure([stage]), closure([again]), strict=True):
        if isinstance(first, Classifier | Separator):
            assert (first.seed, second.seed) == (0, 2)
        if isinstance(first, BandSongs | Corrupted | Trimmed):
            assert first == second
    assert seeded(stage, 0) == stage
    assert describe(again) == f"{describe(stage)} (seed 2)"


def test_seeds_multiply_trainings_and_share_the_data() -> None:
    row, stage = resolved_rows(["table2/x-umx-psi-noisy"], MINI, "band")["table2/x-umx-psi-noisy"]
    assert row == TABLE2.row("x-umx-psi-noisy")
    stages = closure(from_seeds(stage, range(3)))
    assert sum(isinstance(each, Separator) for each in stages) == 3
    assert sum(isinstance(each, Classifier) for each in stages) == 3
    assert sum(isinstance(each, BandSongs) for each in stages) == 2
    data = next(each for each in stages if isinstance(each, Trimmed))
    assert from_seeds(data, range(3)) == [data]


def test_targets_are_tables_rows_patterns_and_all() -> None:
    assert list(rows_of("table2").values()) == list(TABLE2.rows)
    assert list(rows_of("table2/x-umx-*")) == [
        f"table2/{row.name}" for row in TABLE2.rows if row.labels[0] == "X-UMX"
    ]
    assert len(rows_of("table?")) == sum(len(table.rows) for table in TABLES.values())
    assert len(rows_of("all")) == len(rows_of("table?")) + len(FIGURE4.rows)
    with pytest.raises(InputError, match="table2"):
        rows_of("tabel2")
    with pytest.raises(InputError, match="smoke, mini, lite, paper"):
        profile_named("big")


def test_a_version_raised_for_some_separators_leaves_every_other_identity_as_published() -> None:
    """Separators with multi-labelled sources have version 2. All others keep the identity from
    before there were versions."""
    rows = resolved_rows(["table2", "table3"], PROFILES["mini"], "band")
    stages = closure([stage for _, stage in rows.values()])
    found = {describe(stage): stage for stage in stages if isinstance(stage, Separator)}
    assert {name for name, stage in found.items() if stage.version == 2} == {
        name
        for name in found
        if (" w/ " in name or "true labels" in name) and "single-labelled only" not in name
    }
    # At the paper's scale, whose settings and songs do not change.
    assert identity(psi_clean) == "0fc53bdc480f"
    assert identity(TABLE2.row("x-umx-clean").stage.separator) == "d48630afe237"
    assert identity(TABLE2.row("x-umx-noisy").stage.separator) == "4d1cf81b9286"
