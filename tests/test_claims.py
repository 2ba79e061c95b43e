"""The paper's own numbers uphold the paper's claims, and other numbers do not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.profiles import PROFILES
from reports.claims import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    Claim,
    Comparison,
    claims_markdown,
    correlation,
    decide,
)
from reports.measures import Measure, all_measures
from reports.results import collect
from tests.fake_results import paper_store

SMOKE = PROFILES["smoke"]


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory):
    store = paper_store(tmp_path_factory.mktemp("runs"), seeds=3, targets=("table*", "figure4"))
    return all_measures(collect(store, SMOKE, "band"))


def measure(values: list[float], spread: float = 0.0) -> Measure:
    """A measure with the value of each seed. Draws of 48 songs change all of them alike, with a
    standard deviation of `spread`."""
    draws = np.linspace(-1, 1, 2001)
    draws *= spread / draws.std(ddof=1)
    seeds = tuple(range(len(values)))
    return Measure(seeds, np.array(values), np.array(values)[:, None] + draws, 48)


def test_the_papers_numbers_uphold_all_ten_claims(measures) -> None:
    claims = decide(measures)
    assert [claim.number for claim in claims] == list(range(1, 11))
    assert {claim.number: claim.verdict for claim in claims} == dict.fromkeys(range(1, 11), HOLDS)


def test_each_difference_is_near_the_papers_own(measures) -> None:
    for claim in decide(measures)[1:9]:
        for each in claim.comparisons:
            assert each.measure is not None
            # Printed averages are rounded; ours are means of the printed cells.
            assert each.measure.value == pytest.approx(each.paper, abs=0.03), each.name
    assert decide(measures)[9].comparisons[0].paper > 1


def test_claims_turn_when_the_numbers_do(measures) -> None:
    swapped = dict(measures)
    for network in ("demucs", "x-umx"):
        noisy, refined = f"table2/{network}-noisy", f"table2/{network}-psi-refined"
        swapped[noisy], swapped[refined] = measures[refined], measures[noisy]
    verdicts = [claim.verdict for claim in decide(swapped)]
    assert verdicts[1:4] == [FAILS, FAILS, FAILS]


def test_a_missing_row_is_not_run_and_the_rest_is_decided(measures) -> None:
    without = {label: {} if label.startswith("table3/") else m for label, m in measures.items()}
    verdicts = [claim.verdict for claim in decide(without)]
    assert verdicts[4:8] == [NOT_RUN] * 4
    assert verdicts[1] == HOLDS
    assert [claim.verdict for claim in decide({})] == [NOT_RUN] * 10


@pytest.mark.parametrize(
    ("values", "spread", "verdict"),
    [
        ([1.0, 1.1, 0.9], 0.25, HOLDS),
        ([-1.0, -1.1, -0.9], 0.25, FAILS),
        ([1.0, 1.1, 0.9], 0.8, UNDECIDED),  # the songs disagree
        ([3.0, 0.1, 0.1], 0.02, UNDECIDED),  # the seeds disagree
        ([1.0], 0.25, HOLDS),  # one run: the songs alone decide
        ([1.0], 0.8, UNDECIDED),
    ],
)
def test_the_interval_over_seeds_and_songs_must_lie_on_the_claims_side(
    values: list[float], spread: float, verdict: str
) -> None:
    assert Comparison("gain", "dB", measure(values, spread), 1.0, above=0.0).verdict == verdict


def test_seeds_and_songs_that_each_leave_no_doubt_can_together_leave_one() -> None:
    found = measure([1.0, 1.5, 0.5, 1.3, 0.7], 0.5)
    assert found.across_seeds is not None
    assert found.across_seeds.low > 0
    assert found.over_items.low > 0
    assert Comparison("gain", "dB", found, 1.0, above=0.0).verdict == UNDECIDED


def test_the_interval_of_seeds_or_songs_alone_is_students() -> None:
    seeds = measure([1.0, 1.2, 0.7])
    theirs = stats.t.interval(0.95, 2, loc=seeds.value, scale=stats.sem(seeds.values))
    assert (seeds.over_both.low, seeds.over_both.high) == pytest.approx(theirs)
    songs = measure([1.0], 0.3)
    theirs = stats.t.interval(0.95, 47, loc=1.0, scale=0.3)
    assert (songs.over_both.low, songs.over_both.high) == pytest.approx(theirs)


def test_no_difference_holds_only_when_a_difference_is_ruled_out() -> None:
    def verdict(values: list[float], spread: float) -> str:
        bounds = {"above": -0.1, "below": 0.1}
        return Comparison("gain", "dB", measure(values, spread), 0.0, **bounds).verdict

    assert verdict([0.01], 0.03) == HOLDS
    assert verdict([0.01], 0.3) == UNDECIDED
    assert verdict([0.5], 0.1) == FAILS


def test_one_failing_comparison_fails_a_claim_and_one_undecided_leaves_it_open() -> None:
    good = Comparison("a", "dB", measure([1.0], 0.1), 1.0, above=0.0)
    bad = Comparison("b", "dB", measure([-1.0], 0.1), 1.0, above=0.0)
    unclear = Comparison("c", "dB", measure([0.0], 0.1), 1.0, above=0.0)
    missing = dataclasses.replace(good, measure=None)
    assert Claim(1, "", (good, good)).verdict == HOLDS
    assert Claim(1, "", (good, unclear)).verdict == UNDECIDED
    assert Claim(1, "", (good, missing)).verdict == NOT_RUN
    assert Claim(1, "", (good, bad, unclear, missing)).verdict == FAILS


def test_the_correlation_is_pearsons_and_0_without_variation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 5))
    for column in range(5):
        expected = np.corrcoef(a[:, column], b[:, column])[0, 1]
        assert correlation(a, b)[column] == pytest.approx(expected)
    assert correlation(np.ones((6, 1)), b[:, :1]) == pytest.approx(0)


def test_the_page_of_claims_gives_verdicts_numbers_and_the_papers(measures, tmp_path: Path) -> None:
    text = claims_markdown(decide(measures), "Where.")
    assert text.count("| holds") >= 10
    assert "x-umx: w/ Psi_refined − noisy (dB)" in text
    assert "+2.37" in text  # the paper's own gain over noisy
    assert "(3 seeds)" in text
    assert "(9 songs)" in text
    assert "dB against the paper's 2.37 dB; enough" in text
    single = claims_markdown(decide({}), "Where.")
    assert "not run" in single
