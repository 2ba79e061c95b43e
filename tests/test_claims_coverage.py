"""How often the deciding interval covers the truth on made-up results, and how often the intervals
across seeds and over songs would both miss it on the same side."""

import numpy as np
import pytest

from reports.measures import Measure

SONGS = 48


def made_up_means(
    seeds: int, seed_spread: float, song_spread: float, single_spread: float, count: int
) -> list[Measure]:
    """Measures of a difference whose true value is 0, with a mean over songs instead of a median.
    The effects of seed, of song, and of a seed on a single song are normal."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(SONGS, np.full(SONGS, 1 / SONGS), 200) / SONGS
    found = []
    for _ in range(count):
        scores = rng.normal(0, seed_spread, (seeds, 1)) + rng.normal(0, song_spread, SONGS)
        scores += rng.normal(0, single_spread, (seeds, SONGS))
        found.append(Measure(tuple(range(seeds)), scores.mean(axis=1), scores @ weights.T, SONGS))
    return found


def made_up_medians(seeds: int, count: int) -> list[Measure]:
    """Measures of a difference between two rows whose true value is 0. Each row is the median over
    songs, averaged over four classes. Songs are heavy-tailed and differ far more than rows do, like
    songs of the band."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, SONGS, (60, SONGS))
    found = []
    for _ in range(count):
        songs = 2.0 * rng.standard_t(3, (SONGS, 4))
        rows = songs + 0.4 * rng.standard_t(3, (2, 1, SONGS, 4))
        rows = (
            rows + rng.normal(0, 0.2, (2, seeds, 1, 4)) + rng.normal(0, 0.3, (2, seeds, SONGS, 4))
        )
        values = np.median(rows, axis=2).mean(axis=-1)
        draws = np.median(rows[:, :, picks], axis=3).mean(axis=-1)
        seed_numbers = tuple(range(seeds))
        found.append(Measure(seed_numbers, values[0] - values[1], draws[0] - draws[1], SONGS))
    return found


def coverage(found: list[Measure]) -> float:
    return float(np.mean([each.over_both.low <= 0 <= each.over_both.high for each in found]))


def asking_both(found: list[Measure]) -> float:
    """How often the two intervals do not both miss the truth on the same side."""
    covered = 0
    for each in found:
        assert each.across_seeds is not None
        intervals = (each.across_seeds, each.over_items)
        above = all(interval.low > 0 for interval in intervals)
        below = all(interval.high < 0 for interval in intervals)
        covered += not (above or below)
    return covered / len(found)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("seed_spread", "song_spread", "single_spread"),
    [
        (0.2, 0.2, 0.2),  # seeds vary the mean far more than songs
        (0.2, 0.7, 0.7),
        (0.2, 1.4, 0.5),
        (0.02, 1.4, 0.5),  # songs far more than seeds
        (0.02, 0.1, 1.4),  # each training has its own songs
    ],
)
def test_the_deciding_interval_covers_the_truth_in_95_of_100_draws(
    seeds: int, seed_spread: float, song_spread: float, single_spread: float
) -> None:
    found = made_up_means(seeds, seed_spread, song_spread, single_spread, 600)
    # Two standard errors of 600 draws are 1.8%; to err to the wide side is allowed 2% more.
    assert 0.932 <= coverage(found) <= 0.988


@pytest.mark.parametrize("seeds", [3, 5])
def test_it_does_so_for_medians_of_heavy_tailed_songs(seeds: int) -> None:
    assert coverage(made_up_medians(seeds, 200)) >= 0.93


def test_asking_both_intervals_covers_less_where_seeds_and_songs_vary_alike() -> None:
    found = made_up_means(5, 0.2, 0.6, 0.1, 2000)
    assert asking_both(found) < 0.93 < coverage(found)
