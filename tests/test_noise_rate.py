"""The table noise-rate: the noise of its sets, what is shared, and its figure."""

from pathlib import Path

import numpy as np
import pytest

from experiments.noise_rate import MOVED, NOISE_RATE, RATES, SWAPPED, TRUE, moved, swapped
from experiments.profiles import PROFILES
from experiments.stages.corrupted import Corrupted
from experiments.stages.stage import closure, identity
from experiments.stages.truly_labelled import TrulyLabelled
from experiments.targets import resolved_rows
from reports.figures import draw
from reports.measures import all_measures
from reports.noise_rate_figure import Point, turning_words
from reports.results import collect
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import Clip
from selfrefine.clips.corruption import draw_parts
from selfrefine.settings import Corruption
from tests.fake_results import paper_store


def tracks_of_songs() -> list[list[Clip]]:
    """Tracks as a song of the band has them, about two a class."""
    names = ("vocals", "bass", "drums", "drums", "drums", "other", "other", "other")
    return [
        [Clip(f"song{n}", f"{i}", (name,), 0, 10) for i, name in enumerate(names)]
        for n in range(400)
    ]


def wrong_share(noise: Corruption) -> float:
    """The share of stems that do not hold exactly their class."""
    found = []
    for number, tracks in enumerate(tracks_of_songs()):
        stems = draw_parts(tracks, noise, np.random.default_rng([7, number]))
        found += [{part.clip.label[0] for part in parts} != {name} for name, parts in stems.items()]
    return float(np.mean(found))


@pytest.mark.parametrize("rate", RATES)
def test_as_many_stems_are_swapped_as_asked_and_none_is_mixed(rate: float) -> None:
    noise = swapped(rate)
    assert wrong_share(noise) == pytest.approx(rate, abs=0.04)
    for number, tracks in enumerate(tracks_of_songs()[:50]):
        stems = draw_parts(tracks, noise, np.random.default_rng([7, number]))
        assert set(stems) == set(CLASSES)
        assert all(len({p.clip.label for p in parts}) == 1 for parts in stems.values())


def test_more_moved_tracks_make_more_wrong_stems() -> None:
    shares = [wrong_share(moved(rate)) for rate in RATES[1:]]
    assert shares == sorted(shares)
    assert shares == pytest.approx(RATES[1:], abs=0.12)


def test_a_second_swap_takes_the_other_two_stems_and_changes_no_other_draw() -> None:
    tracks = tracks_of_songs()[0]
    for seed in range(20):
        once, twice = (
            draw_parts(tracks, Corruption(1.0, 0.0, 0.0, swapped_twice=chance), generator)
            for chance, generator in (
                (0.0, np.random.default_rng(seed)),
                (1.0, np.random.default_rng(seed)),
            )
        )
        held = [{n: parts[0].clip.label[0] for n, parts in s.items()} for s in (once, twice)]
        moved_once = {name for name, own in held[0].items() if own != name}
        assert len(moved_once) == 2
        assert all(own != name for name, own in held[1].items())
        assert all(held[1][name] == held[0][name] for name in moved_once)


def test_each_row_has_the_noise_that_it_names_and_one_set_serves_its_share() -> None:
    rows = resolved_rows(["noise-rate"], PROFILES["mini"], "band", "band")
    assert len({identity(stage) for _, stage in rows.values()}) == len(rows) == 58
    sets: dict[tuple[str, str], set[str]] = {}
    for row, stage in rows.values():
        (noisy,) = [each for each in closure([stage]) if isinstance(each, Corrupted)]
        sets.setdefault((row.labels[0], row.labels[1]), set()).add(identity(noisy))
        rate = float(row.labels[1].removesuffix("%")) / 100
        assert noisy.noise == (swapped if row.labels[0] == SWAPPED else moved)(rate)
        assert isinstance(stage.separator.trained_on, TrulyLabelled) == (row.labels[2] == TRUE)
    assert all(len(found) == 1 for found in sets.values())
    assert len(sets) == 2 * len(RATES) - 1


def test_the_figure_has_a_point_for_each_row_and_says_where_refining_turns(tmp_path: Path) -> None:
    store = paper_store(tmp_path, targets=("noise-rate",))
    results = collect(store, PROFILES["smoke"], "band")
    drawing = draw("noise-rate-figure", results, all_measures(results))
    assert drawing is not None
    lines = drawing.csv.splitlines()
    # Without wrong stems a row stands for both mechanisms, the noisy one also for true labels.
    assert len(lines) == 1 + len(NOISE_RATE.rows) + 4 + 2
    assert SWAPPED.capitalize() in drawing.caption
    assert MOVED.capitalize() in drawing.caption


def words_of(gains: dict[float, float], seeds: int = 1) -> str:
    """The words for gains (dB) by the share of wrong stems."""
    points = [
        Point(SWAPPED, labels, share, share, 0.5, 2.0 + gain * (labels != "noisy"), None, seeds)
        for share, gain in gains.items()
        for labels in ("noisy", "w/ Psi_refined")
    ]
    return turning_words(points, SWAPPED).removeprefix("Swapped stems: the paper's refining ")


def test_the_turn_lies_where_the_gain_is_nil() -> None:
    turned = words_of({0.0: -0.2, 0.1: 0.2, 0.5: 0.4, 0.65: -0.4})
    assert turned == "harms at 0%, helps from 5%, harms from 57% of wrong stems."
    assert words_of({0.1: 0.2, 0.5: 0.4}) == "helps from 10% to 50% of wrong stems."
    assert "too few" in words_of({0.1: 0.2})


def test_a_gain_that_the_seeds_spread_explains_is_no_turn() -> None:
    small_between = {0.0: -0.3, 0.1: 0.3, 0.5: -0.1, 0.65: 0.4}
    assert words_of(small_between) == "harms at 0%, helps from 5% of wrong stems."
    # Over four seeds a mean spreads half as much.
    assert "harms from 40%, helps from 53%" in words_of(small_between, seeds=4)
    assert words_of({0.0: 0.05, 0.1: 0.02, 0.5: 0.8, 0.65: 0.9}) == (
        "helps from 50% to 65% of wrong stems."
    )
    assert words_of({0.0: 0.0, 0.5: -0.3, 0.65: 0.4}).startswith("harms at 50%, helps from")
    assert words_of(dict.fromkeys((0.0, 0.5), 0.0)).startswith("nowhere helps or harms")
