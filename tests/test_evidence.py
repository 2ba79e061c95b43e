"""Weighing a classifier's outputs against given labels: closed forms, and what must not happen."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from selfrefine.classes import CLASSES
from selfrefine.refining.decisions import (
    CALIBRATION,
    NOT_SURE,
    verdicts,
    weighed_verdicts,
    why_not_trusted,
)
from selfrefine.refining.evidence import (
    HELD,
    UNSEEN,
    Posteriors,
    Weighing,
    log_likelihood,
    most_probable_sets,
    set_at,
    set_index,
    weigh,
    weighing_of,
)
from selfrefine.refining.iterations import Iteration
from selfrefine.refining.probabilities import StemProbability, mean_probabilities

ALONE = weighing_of(trained_on=False, together=False)
SURE_OUTPUT, NO_OUTPUT = 0.98, 0.02


def stem(song: str, given: str, *outputs: float) -> StemProbability:
    return StemProbability(song, given, tuple(given.split("+")), 10.0, outputs)


def clear(song: str, given: str, holds: str) -> StemProbability:
    """A stem for which the classifier is sure of what it holds."""
    outputs = [SURE_OUTPUT if name in holds.split("+") else NO_OUTPUT for name in CLASSES]
    return stem(song, given, *outputs)


def song(name: str, **holds: str) -> list[StemProbability]:
    """A song of four stems. Stems that are not named hold the class they were given."""
    return [clear(name, given, holds.get(given, given)) for given in CLASSES]


def test_label_sets_have_an_index_and_back() -> None:
    assert len(HELD) == 2 ** len(CLASSES) - 1
    assert [set_index(set_at(index)) for index in range(len(HELD))] == list(range(len(HELD)))
    assert set_index(("bass",)) == set_index(("bass", "bass"))


def test_the_likelihood_is_that_of_independent_tempered_outputs() -> None:
    outputs = np.array([[0.9, 0.2, 0.5, 0.01]])
    found = log_likelihood(outputs, 0.7)[0]
    odds = (outputs[0] / (1 - outputs[0])) ** 0.7
    chance = odds / (1 + odds)
    for index, held in enumerate(HELD):
        expected = np.prod(np.where(held, chance, 1 - chance))
        assert found[index] == pytest.approx(np.log(expected))


def test_posteriors_of_single_stems_follow_bayes_rule() -> None:
    stems = [stem("a", "vocals", 0.6, 0.5, 0.1, 0.05)]
    weighing = Weighing(0.8, noise=0.3, noise_stems=1e9, kinds_stems=1e9, twice=1.0, missing=1.0)
    found = weigh(stems, weighing)
    assert found.noise == pytest.approx(0.3)
    likelihood = np.exp(log_likelihood(np.array([stems[0].probability]), 0.8)[0])
    prior = np.zeros(len(HELD))
    for index, held in enumerate(HELD):
        if set_at(index) == ("vocals",):
            prior[index] = 0.7
        elif held.sum() == 1:
            prior[index] = 0.3 * 0.5 / 3
        elif held[0] and held.sum() == 2:
            prior[index] = 0.3 * 0.35 / 3
        else:
            prior[index] = 0.3 * 0.15 / 8
    assert prior.sum() == pytest.approx(1.0)
    expected = likelihood * prior
    np.testing.assert_allclose(found.posterior[0], expected / expected.sum(), rtol=1e-9)


def test_stems_of_a_song_are_weighed_over_all_combinations() -> None:
    stems = [stem("a", "bass", 0.1, 0.6, 0.5, 0.1), stem("a", "drums", 0.1, 0.5, 0.6, 0.2)]
    weighing = Weighing(1.0, noise=0.3, noise_stems=1e9, kinds_stems=1e9, twice=0.2, missing=0.1)
    alone = weigh(stems, replace(weighing, twice=1.0, missing=1.0)).posterior
    expected = np.zeros((2, len(HELD)))
    for first, second in product(range(len(HELD)), repeat=2):
        one, other = HELD[first], HELD[second]
        odds = alone[0, first] * alone[1, second]
        if (one == other).all() and one.sum() == 1:
            odds *= 0.2
        odds *= 0.1 ** sum(not (one[c] or other[c]) for c in (1, 2))
        expected[0, first] += odds
        expected[1, second] += odds
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weigh(stems, weighing).posterior, expected, rtol=1e-6)


def test_a_sure_classifier_that_agrees_changes_nothing() -> None:
    stems = [each for number in range(10) for each in song(f"song {number}")]
    found = weigh(stems, UNSEEN)
    assert found.noise < 0.05
    labels = most_probable_sets(stems, found)
    assert all(labels[row.song, row.name] == row.given for row in stems)


def test_swapped_stems_are_found_and_their_share_with_them() -> None:
    swapped = {"bass": "drums", "drums": "bass"}
    stems = [each for n in range(20) for each in song(f"{n}", **(swapped if n % 2 else {}))]
    found = weigh(stems, UNSEEN)
    assert found.noise == pytest.approx(0.25, abs=0.05)
    labels = most_probable_sets(stems, found)
    assert all(labels[f"{n}", "bass"] == (("drums",) if n % 2 else ("bass",)) for n in range(20))


def test_stems_of_one_song_decide_together_who_holds_what() -> None:
    """By itself, the second stem could hold drums; but another stem of the song surely does."""
    clean = song("clean")
    pair = [
        clear("x", "bass", "drums"),
        stem("x", "drums", 0.02, 0.85, 0.5, 0.02),
    ]
    together = most_probable_sets([*clean, *pair], weigh([*clean, *pair], UNSEEN))
    alone = most_probable_sets([*clean, *pair], weigh([*clean, *pair], ALONE))
    assert alone["x", "drums"] == ("drums",)
    assert together["x", "drums"] == ("bass",)


def test_doubt_leaves_the_given_label_and_says_so() -> None:
    stems = [*song("clean"), stem("x", "vocals", 0.1, 0.02, 0.02, 0.95)]
    posterior = weigh(stems, UNSEEN).posterior[-1]
    labels = most_probable_sets(stems, weigh(stems, UNSEEN))
    iteration = Iteration(0, None, stems, labels, UNSEEN)  # type: ignore[arg-type]
    best, kept = posterior.max(), posterior[set_index(("vocals",))]
    sure = float(best / (best + kept))
    for least, expected in ((sure - 0.01, labels["x", "vocals"]), (sure + 0.01, ("vocals",))):
        verdict = weighed_verdicts([iteration], least)["x", "vocals"]
        assert verdict.refined == expected
        assert verdict.proposed == labels["x", "vocals"] != ("vocals",)
        assert verdict.confidence == pytest.approx(best**CALIBRATION)
        assert verdict.reason == ("" if expected != ("vocals",) else NOT_SURE)


def test_a_classifier_that_agrees_by_chance_changes_no_label() -> None:
    rng = np.random.default_rng(0)
    guesses = [clear(f"{n}", CLASSES[n % 4], CLASSES[rng.integers(4)]) for n in range(24)]
    doubted = why_not_trusted(guesses)
    assert "no more than by chance" in doubted
    posteriors = Posteriors(np.eye(len(HELD))[[set_index(("bass",))] * 24], 0.5)
    labels = most_probable_sets(guesses, posteriors)
    assert set(labels.values()) == {("bass",)}
    iteration = Iteration(0, None, guesses, labels, UNSEEN)  # type: ignore[arg-type]
    by_posteriors = verdicts(guesses, posteriors, 0.5, doubted)
    for found in (by_posteriors, weighed_verdicts([iteration], 0.5)):
        assert all(verdict.refined == (name,) for (_, name), verdict in found.items())


def test_a_classifier_that_knows_the_classes_is_trusted_though_half_the_labels_are_wrong() -> None:
    swapped = [song(f"{n}", bass="drums", drums="bass") for n in range(5)]
    assert why_not_trusted([each for stems in swapped for each in stems]) == ""
    assert "nothing checks" in why_not_trusted([clear("a", "bass+drums", "bass")])


def test_a_folder_of_one_class_is_checked_by_its_agreement() -> None:
    """There, permuting the findings does not change how many of them agree."""
    vocals = [clear(f"{n}", "vocals", "vocals" if n % 10 else "drums") for n in range(30)]
    assert why_not_trusted(vocals) == ""
    guesses = [clear(f"{n}", "vocals", CLASSES[n % 4]) for n in range(30)]
    assert "no more than by chance" in why_not_trusted(guesses)


def test_means_are_over_judges_of_the_same_stems() -> None:
    first, second = stem("a", "bass", 0.0, 1.0, 0.5, 0.2), stem("a", "bass", 1.0, 1.0, 0.0, 0.4)
    (found,) = mean_probabilities([[first], [second]])
    assert found.probability == pytest.approx((0.5, 1.0, 0.25, 0.3))


def test_songs_of_many_stems_are_weighed_stem_by_stem() -> None:
    stems = [clear("one name", f"{CLASSES[n % 4]}", CLASSES[n % 4]) for n in range(40)]
    np.testing.assert_allclose(weigh(stems, UNSEEN).posterior, weigh(stems, ALONE).posterior)
