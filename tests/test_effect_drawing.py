"""Drawing the parameters of effects."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from selfrefine.audio.effect_chain import apply_effects
from selfrefine.audio.effects import EffectParameters, draw_effects, draw_gains
from selfrefine.errors import InputError
from selfrefine.settings import LIGHTER_EFFECTS, EffectRanges

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


def test_lighter_effects_leave_less_of_a_tail() -> None:
    """For a click, the setting's docstring gives medians of -29 and -13 dB."""
    click = torch.zeros(64, 2, 2 * 44100)
    click[:, :, 0] = 1.0
    late = {}
    for ranges in (EffectRanges(), LIGHTER_EFFECTS):
        still = replace(ranges, compressor_ratio=(1.0, 1.0), imager_balance=(1.0, 1.0))
        drawn = draw_effects(64, still, torch.Generator().manual_seed(0))
        energy = apply_effects(click, drawn, 44100).double().square().sum(dim=1)
        shares = energy[:, round(0.15 * 44100) :].sum(dim=1) / energy.sum(dim=1)
        late[ranges] = float(10 * shares.median().log10())
    assert late[EffectRanges()] == pytest.approx(-13.0, abs=2.5)
    assert late[LIGHTER_EFFECTS] == pytest.approx(-29.0, abs=2.5)
