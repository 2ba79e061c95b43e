"""Drawing the parameters of effects."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from selfrefine.audio.effects import EffectParameters, draw_effects, draw_gains
from selfrefine.errors import InputError
from selfrefine.settings import EffectRanges

RANGES = EffectRanges()


def _draw(count: int, seed: int = 0) -> EffectParameters:
    return draw_effects(count, RANGES, torch.Generator().manual_seed(seed))


def test_drawn_parameters_are_uniform_over_the_papers_ranges() -> None:
    parameters = _draw(20_000)
    for field in fields(RANGES):
        low, high = getattr(RANGES, field.name)
        values = getattr(parameters, field.name)
        assert values.dtype == torch.float32
        assert values.shape == (20_000,)
        assert low <= values.min()
        assert values.max() <= high
        assert kstest(values.numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3


def test_parameters_are_drawn_independently_of_each_other() -> None:
    parameters = _draw(20_000)
    table = np.stack([getattr(parameters, field.name).numpy() for field in fields(parameters)])
    correlation = np.corrcoef(table) - np.eye(len(table))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_half_of_the_items_are_inverted() -> None:
    polarity = _draw(20_000).polarity
    assert set(polarity.tolist()) == {-1.0, 1.0}
    assert abs(polarity.mean().item()) < 0.03


def test_same_seed_draws_the_same_and_a_longer_draw_begins_with_a_shorter_one() -> None:
    first, again, longer, other = _draw(5), _draw(5), _draw(40), _draw(5, seed=1)
    for field in fields(first):
        value = getattr(first, field.name)
        assert torch.equal(value, getattr(again, field.name))
        assert torch.equal(value, getattr(longer, field.name)[:5])
        assert not torch.equal(first.gain, other.gain)


def test_gains_alone_are_drawn_like_those_of_whole_chains() -> None:
    gains = draw_gains(20_000, RANGES, torch.Generator().manual_seed(0))
    low, high = RANGES.gain
    decibels = 20 * torch.log10(gains.abs())
    assert kstest(decibels.numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3
    assert abs(gains.sign().mean().item()) < 0.03
    assert abs(np.corrcoef(decibels, gains.sign())[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("gain", (3.0, -3.0)),
        ("compressor_attack", (0.0, 1.0)),
        ("reverb_room_size", (0.0, 1.5)),
        ("imager_balance", (float("nan"), 1.0)),
        ("gain", (0.0, float("inf"))),
    ],
)
def test_impossible_ranges_are_refused_by_name(name: str, bad: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=name):
        EffectRanges(**{name: bad})
