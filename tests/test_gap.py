"""The share of the gap that a row closes agrees with closed forms and with made-up truths."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.registry import TABLE2, TABLE3, TABLE4
from reports.gap import Share, fieller, gap_shares, over_songs, share_of
from reports.measures import Measure


def measure(values: list[float], songs: np.ndarray | None = None) -> Measure:
    """A measure with the value of each seed. Draws of songs change it by `songs` `(draw,)`, or not
    at all if that is None."""
    draws = np.zeros(2000) if songs is None else songs
    return Measure(tuple(range(len(values))), np.array(values), np.add.outer(values, draws), 48)


def x_umx(noisy: Measure, own: Measure, uncorrupted: Measure) -> dict[str, dict[str, Measure]]:
    return {
        "table2/x-umx-noisy": {"avg": noisy},
        "table2/x-umx-psi-refined": {"avg": own},
        "table2/x-umx-uncorrupted": {"avg": uncorrupted},
    }


def test_a_share_is_the_gain_over_noisy_in_per_cent_of_the_gap() -> None:
    found = gap_shares(TABLE2, x_umx(measure([1.5]), measure([2.3]), measure([3.1])))
    assert found["x-umx-psi-refined"].value == pytest.approx(50)
    beyond = gap_shares(TABLE2, x_umx(measure([1.5]), measure([3.5]), measure([3.1])))
    assert beyond["x-umx-psi-refined"].value == pytest.approx(125)
    below = gap_shares(TABLE2, x_umx(measure([1.5]), measure([1.1]), measure([3.1])))
    assert below["x-umx-psi-refined"].value == pytest.approx(-25)


def test_the_noisy_row_closes_nothing_and_the_uncorrupted_row_all() -> None:
    noisy, uncorrupted = measure([1.5, 1.6]), measure([3.1, 3.0])
    found = gap_shares(TABLE2, x_umx(noisy, measure([2.0, 2.1]), uncorrupted))
    assert (found["x-umx-noisy"].value, found["x-umx-uncorrupted"].value) == (0, 100)
    assert found["x-umx-noisy"].across_seeds is None
    assert found["x-umx-uncorrupted"].over_items is None


def test_fiellers_interval_solves_its_quadratic() -> None:
    """By Fieller's definition, the t statistic of x - r y is the quantile at both ends r."""
    x, y = np.array([0.9, 1.2, 0.8, 1.0, 1.3]), np.array([1.9, 2.3, 2.0, 1.8, 2.2])
    interval = fieller(x, y)
    assert interval is not None
    for end in (interval.low / 100, interval.high / 100):
        assert abs(stats.ttest_1samp(x - end * y, 0).pvalue - 0.05) < 1e-9
    middle = x.mean() / y.mean()
    assert interval.low < 100 * middle < interval.high


def test_fiellers_interval_of_a_certain_gap_is_students() -> None:
    x = np.array([0.9, 1.2, 0.8])
    interval = fieller(x, np.full(3, 2.0))
    theirs = stats.t.interval(0.95, 2, loc=x.mean() / 2, scale=stats.sem(x) / 2)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx([100 * end for end in theirs])


def test_fiellers_interval_covers_the_true_share_in_95_of_100_draws() -> None:
    rng = np.random.default_rng(0)
    covered, draws = 0, 2000
    for _ in range(draws):
        shared = rng.normal(0, 0.2, 4)
        interval = fieller(1.0 + rng.normal(0, 0.2, 4) + shared, 2.0 + shared)
        assert interval is not None
        covered += interval.low <= 50 <= interval.high
    assert covered / draws == pytest.approx(0.95, abs=0.015)


def test_a_single_run_has_a_share_over_songs_alone() -> None:
    songs = np.random.default_rng(0).normal(0, 0.2, 2000)
    found = share_of(measure([1.0], songs), measure([2.0]))
    assert found.across_seeds is None
    assert found.over_items is not None
    # Only the numerator varies: the percentiles of a normal distribution, halved.
    assert found.over_items.low == pytest.approx(50 - 100 * 1.96 * 0.2 / 2, abs=1)
    assert found.over_items.high == pytest.approx(50 + 100 * 1.96 * 0.2 / 2, abs=1)


def test_songs_that_move_gain_and_gap_alike_leave_the_share() -> None:
    factors = np.random.default_rng(0).normal(1, 0.1, 2000)
    found = over_songs(1.0 * factors, 2.0 * factors)
    assert (found.low, found.high) == pytest.approx((50, 50))


def test_draws_without_a_gap_widen_the_interval_on_both_sides() -> None:
    gaps = np.linspace(1, 2, 1000)
    known = over_songs(0.5 * gaps + 0.1, gaps)
    some = np.where(np.arange(1000) % 100 == 0, -0.1, gaps)  # one draw in a hundred
    wider = over_songs(0.5 * gaps + 0.1, some)
    assert wider.low < known.low < known.high < wider.high
    many = np.where(np.arange(1000) % 20 == 0, -0.1, gaps)
    assert math.isinf(over_songs(0.5 * gaps, many).high)


@pytest.mark.parametrize(
    ("uncorrupted", "songs", "says"),
    [
        ([1.9, 1.2, 2.4], None, "may be 0: its 95% interval over 3 seeds"),
        ([2.9, 3.0, 3.1], np.linspace(-2, 2, 2000), "may be 0: its 95% interval over 48 songs"),
        ([1.0, 1.1, 0.9], None, "over 3 seeds"),  # the noisy row is the better one
    ],
)
def test_a_gap_that_may_be_0_gives_no_share_and_the_reason(
    uncorrupted: list[float], songs: np.ndarray | None, says: str
) -> None:
    own, noisy = measure([1.7, 1.8, 1.9]), measure([1.5, 1.6, 1.4])
    found = gap_shares(TABLE2, x_umx(noisy, own, measure(uncorrupted, songs)))
    for name in ("x-umx-psi-refined", "x-umx-noisy", "x-umx-uncorrupted"):
        assert found[name].value is None
        assert says in found[name].reason


def test_a_share_takes_the_seeds_that_all_three_rows_have() -> None:
    found = gap_shares(
        TABLE2, x_umx(measure([1.0, 1.0, 9.0]), measure([2.0, 2.0, 9.0]), measure([3.0, 3.0]))
    )
    assert found["x-umx-psi-refined"].value == pytest.approx(50)
    assert found["x-umx-psi-refined"].seeds == 2


def test_rows_that_were_not_run_leave_no_share() -> None:
    measures = x_umx(measure([1.0]), measure([2.0]), measure([3.0]))
    found = gap_shares(TABLE2, measures)
    assert found["x-umx-psi-clean"] == Share(None)  # itself not run
    assert "was not run" in found["demucs-psi-clean"].reason
    measures["table2/x-umx-uncorrupted"] = {}
    assert gap_shares(TABLE2, measures)["x-umx-psi-refined"].value is None


def test_every_row_of_a_table_of_separators_has_a_gap_and_no_other() -> None:
    for table in (TABLE2, TABLE3):
        names = {row.name for row in table.rows}
        assert set(gap_shares(table, {})) == names
    assert gap_shares(TABLE4, {}) == {}
