"""Which differences a comparison can show, and how many seeds and songs smaller ones need."""

import numpy as np
import pytest

from reports.claims import FAILS, HOLDS, UNDECIDED, Claim, Comparison, claims_markdown
from reports.measures import Measure
from reports.power import MOST, Needed, enough, hardest


def measure(mean: float, seeds: int, seed_spread: float, song_spread: float) -> Measure:
    """A measure of `seeds` runs and 48 songs, with these standard errors of the mean."""
    values = np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
    if seeds > 1:
        values *= seed_spread * np.sqrt(seeds) / values.std(ddof=1)
    draws = np.linspace(-1, 1, 2001)
    draws *= song_spread / draws.std(ddof=1)
    return Measure(tuple(range(seeds)), mean + values, np.add.outer(mean + values, draws), 48)


def width(found: Measure) -> float:
    return found.half_width(len(found.seeds), found.items)


@pytest.mark.parametrize(("seed_spread", "song_spread"), [(0.1, 0.02), (0.02, 0.1), (0.1, 0.1)])
def test_with_what_is_needed_the_interval_is_narrow_enough_and_not_with_less(
    seed_spread: float, song_spread: float
) -> None:
    found = measure(0.1, 4, seed_spread, song_spread)
    margin = 0.5 * width(found)
    more = enough(found, margin)
    seeds, items = more.seeds or 4, more.items or 48
    # A result with that many, of the same variances, has an interval that wide.
    scales = seed_spread * np.sqrt(4 / seeds), song_spread * np.sqrt(48 / items)
    again = measure(0.1, seeds, *scales)
    assert again.half_width(seeds, 48) == pytest.approx(found.half_width(seeds, items), rel=0.02)
    assert found.half_width(seeds, items) < margin
    fewer = (seeds - 1 if more.seeds else 4), (items - 1 if more.items else 48)
    assert found.half_width(*fewer) >= margin * 0.97


def test_seeds_are_asked_for_where_seeds_vary_and_songs_where_songs_do() -> None:
    assert enough(measure(0.1, 4, 0.1, 0.01), 0.15).items is None
    assert enough(measure(0.1, 4, 0.01, 0.1), 0.15).seeds is None
    both = enough(measure(0.1, 4, 0.1, 0.1), 0.1)
    assert both.seeds is not None
    assert both.items is not None


def test_songs_needed_grow_as_the_square_of_the_interval() -> None:
    found = measure(0.1, 1, 0.0, 0.1)
    half = width(found)
    # Student's quantile falls a little with more songs.
    assert enough(found, half / 3).items == pytest.approx(48 * 9, rel=0.05)
    assert enough(found, half / 3).seeds is None


def test_what_no_number_would_tell_is_said_to_be_so() -> None:
    never = enough(measure(0.0, 3, 0.1, 0.1), 0.0)
    assert never == Needed(None, None)
    assert never.text("songs") == f"more than {MOST} times the seeds and songs"
    assert hardest([Needed(5, None), never]) == never


def test_a_claim_takes_what_its_hardest_comparison_takes() -> None:
    assert hardest([Needed(5, None), Needed(9, None), Needed(None, 70)]) == Needed(9, 70)
    assert Needed(9, 70).text("songs") == "about 9 seeds and 70 songs"
    assert Needed(None, 70).text("mixtures") == "about 70 mixtures"


def comparison(found: Measure, paper: float = 1.0) -> Comparison:
    return Comparison("gain", "dB", found, paper, above=0.0)


def test_an_undecided_claim_says_what_it_would_take_and_others_do_not() -> None:
    clear, open_ = comparison(measure(1.0, 4, 0.1, 0.1)), comparison(measure(0.1, 4, 0.1, 0.01))
    assert (clear.verdict, open_.verdict) == (HOLDS, UNDECIDED)
    claim = Claim(1, "text", (clear, open_))
    assert claim.lacking == f"about {open_.needed.seeds} seeds"
    assert claim.lacking in claims_markdown([claim], "").split("A difference is paired")[0]
    assert Claim(1, "text", (clear,)).lacking == ""
    against = comparison(measure(-1.0, 4, 0.1, 0.1))
    assert against.verdict == FAILS
    assert Claim(1, "text", (open_, against)).lacking == ""


def test_the_power_line_compares_the_interval_with_the_papers_effect() -> None:
    found = measure(0.1, 4, 0.1, 0.01)
    half = width(found)
    wide_enough = comparison(found, paper=2.0).power
    assert wide_enough.startswith(f"±{half:.2f} dB against the paper's 2.00 dB; enough")
    assert f"to decide ours, 0.10 dB, takes {comparison(found).needed.text('songs')}" in wide_enough
    wide = comparison(found, paper=0.2).power
    assert f"too wide, it takes {enough(found, 0.2).text('songs')}" in wide
    bounded = Comparison("gain", "dB", found, 0.02, above=-0.1, below=0.1).power
    assert "the paper's 0.08 dB (counted from the bound)" in bounded
    assert "one run, other seeds not counted" in comparison(measure(1.0, 1, 0, 0.1)).power
    assert Comparison("gain", "dB", None, 1.0, above=0.0).power == ""
