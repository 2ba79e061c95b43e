"""Applying effects: agreement with pedalboard, and the properties that mixing relies on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pedalboard
import pytest
import torch

from selfrefine.audio import effect_torch
from selfrefine.audio.effect_chain import (
    _apply_on_gpu,
    _coefficients,
    _delays,
    apply_effects,
    apply_effects_with_pedalboard,
    imager_gains,
)
from selfrefine.audio.effect_kernels import compress_and_reverberate, mix_channels
from selfrefine.audio.effect_torch import reverberate
from selfrefine.audio.effects import EffectParameters, draw_effects
from selfrefine.errors import InputError
from selfrefine.settings import EffectRanges
from tests.conftest import interpreted

RATE = 16_000
RANGES = EffectRanges()
# Ranges that leave all or all but one of the effects out.
NEUTRAL = EffectRanges(
    compressor_threshold=(0.0, 0.0),
    compressor_ratio=(1.0, 1.0),
    reverb_wet=(0.0, 0.0),
    reverb_dry=(1.0, 1.0),
    imager_balance=(1.0, 1.0),
    gain=(0.0, 0.0),
)
ONLY_COMPRESSOR = replace(
    NEUTRAL,
    compressor_threshold=RANGES.compressor_threshold,
    compressor_ratio=RANGES.compressor_ratio,
)
ONLY_REVERB = replace(NEUTRAL, reverb_wet=RANGES.reverb_wet, reverb_dry=RANGES.reverb_dry)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw(count: int, ranges: EffectRanges = RANGES, seed: int = 0) -> EffectParameters:
    return draw_effects(count, ranges, _seeded(seed))


def _audio(batch: int, length: int, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Bursts of noise with digital silence between. Each item has its own loudness and width."""
    generator = _seeded(seed)
    noise = torch.randn(batch, 2, length, generator=generator)
    width = torch.rand(batch, generator=generator)
    noise[:, 1] = noise[:, 0] + (0.2 + width[:, None]) * noise[:, 1]
    bursts = torch.arange(length) % 3000 < 1700
    return level * (0.2 + torch.rand(batch, 1, 1, generator=generator)) * bursts * noise


def _without_polarity(parameters: EffectParameters) -> EffectParameters:
    return replace(parameters, polarity=torch.ones_like(parameters.polarity))


def _snr(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """The signal-to-noise ratio of each item, in dB."""
    error = (reference - estimate).double().square().sum((-2, -1))
    return 10 * torch.log10(reference.double().square().sum((-2, -1)) / error)


def _rms(audio: torch.Tensor) -> torch.Tensor:
    return audio.double().square().mean((-2, -1)).sqrt()


def _pedalboard_reverb(parameters: EffectParameters) -> pedalboard.Reverb:
    return pedalboard.Reverb(
        room_size=parameters.reverb_room_size.item(),
        damping=parameters.reverb_damping.item(),
        wet_level=parameters.reverb_wet.item(),
        dry_level=parameters.reverb_dry.item(),
        width=parameters.reverb_width.item(),
    )


# ---- agreement with pedalboard


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("sample_rate", "length"), [(16_000, 24_001), (44_100, 40_007)])
def test_chain_agrees_with_pedalboard_within_90_db(
    sample_rate: int, length: int, seed: int
) -> None:
    audio, parameters = _audio(12, length, seed=seed), _draw(12, seed=seed)
    reference = apply_effects_with_pedalboard(audio, parameters, sample_rate)
    assert _snr(reference, apply_effects(audio, parameters, sample_rate)).min() > 90


def test_compressor_alone_agrees_with_pedalboard_within_110_db() -> None:
    audio, parameters = _audio(16, 30_000), _draw(16, ONLY_COMPRESSOR)
    reference = apply_effects_with_pedalboard(audio, parameters, 44_100)
    assert _snr(audio, reference).min() < 10  # it does something
    assert _snr(reference, apply_effects(audio, parameters, 44_100)).min() > 110


def test_quiet_items_agree_within_60_db_where_pedalboard_itself_rounds_coarsely() -> None:
    # Pedalboard's reverb rounds its loops to 7e-9, which is heard in the measure at -70 dB.
    audio, parameters = _audio(8, 30_000, level=5e-4), _draw(8)
    reference = apply_effects_with_pedalboard(audio, parameters, 44_100)
    assert _snr(reference, apply_effects(audio, parameters, 44_100)).min() > 60


# ---- batches


@pytest.mark.parametrize("batch", [1, 2, 16, 17, 37])
def test_batched_items_equal_single_ones(batch: int) -> None:
    audio, parameters = _audio(batch, 5_003), _draw(batch)
    together = apply_effects(audio, parameters, 16_000)
    for i in range(batch):
        alone = apply_effects(audio[i : i + 1], parameters[i], 16_000)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [1, 15, 256, 257, 272, 2_000])
def test_every_length_is_processed_to_its_end(length: int) -> None:
    audio, drawn = _audio(3, length), _draw(3)
    assert apply_effects(audio, drawn, 16_000).isfinite().all()
    neutral = _without_polarity(_draw(3, NEUTRAL))
    torch.testing.assert_close(apply_effects(audio, neutral, 16_000), audio)


def test_one_compiled_kernel_serves_every_batch_size_and_length() -> None:
    for batch, length in ((1, 40), (3, 700), (16, 513), (35, 300)):
        audio, parameters = _audio(batch, length), _draw(batch)
        apply_effects(audio, parameters, 16_000, out=audio)
    assert len(compress_and_reverberate.signatures) == 1
    assert len(mix_channels.signatures) == 1


def test_an_empty_batch_stays_empty() -> None:
    assert apply_effects(_audio(0, 100), _draw(0), 16_000).shape == (0, 2, 100)


def test_non_contiguous_audio_is_read_rightly_and_left_alone() -> None:
    audio, parameters = _audio(5, 4_000), _draw(5)
    expected = apply_effects(audio, parameters, 16_000)
    strided = audio.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    before = strided.clone()
    assert not strided.is_contiguous()
    assert torch.equal(apply_effects(strided, parameters, 16_000), expected)
    assert torch.equal(strided, before)


def test_in_place_equals_out_of_place() -> None:
    audio, parameters = _audio(19, 4_001), _draw(19)
    expected = apply_effects(audio, parameters, 44_100)
    assert apply_effects(audio, parameters, 44_100, out=audio) is audio
    assert torch.equal(audio, expected)


def test_same_input_gives_the_same_bits_again() -> None:
    audio, parameters = _audio(20, 4_001), _draw(20)
    first = apply_effects(audio, parameters, 44_100)
    assert torch.equal(first, apply_effects(audio, parameters, 44_100))


# ---- energy


def test_rms_changes_by_the_gain_alone() -> None:
    audio, parameters = _audio(40, 20_000), _draw(40)
    change = 20 * torch.log10(_rms(apply_effects(audio, parameters, 16_000)) / _rms(audio))
    torch.testing.assert_close(change, parameters.gain.double(), rtol=0, atol=1e-3)


def test_polarity_inverts() -> None:
    audio, parameters = _audio(4, 3_000), _without_polarity(_draw(4))
    inverted = replace(parameters, polarity=-parameters.polarity)
    assert torch.equal(
        apply_effects(audio, inverted, 16_000), -apply_effects(audio, parameters, 16_000)
    )


def test_neutral_effects_and_balance_one_are_the_identity() -> None:
    audio, parameters = _audio(4, 3_000), _without_polarity(_draw(4, NEUTRAL))
    torch.testing.assert_close(apply_effects(audio, parameters, 16_000), audio)
    torch.testing.assert_close(apply_effects_with_pedalboard(audio, parameters, 16_000), audio)


def test_imager_keeps_the_energy_of_mid_and_side_together() -> None:
    side = torch.tensor([0.0, 1e-6, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64).repeat(200)
    balance = 2 * torch.rand(1200, generator=_seeded(0), dtype=torch.float64)
    mid_gain, side_gain = imager_gains(1 - side, side, balance)
    energy = mid_gain**2 * (1 - side) + side_gain**2 * side
    wide = (side >= 0.1) & (side <= 0.9)
    torch.testing.assert_close(energy[wide], torch.ones_like(energy[wide]), rtol=0, atol=2e-3)
    assert mid_gain.isfinite().all()
    assert side_gain.isfinite().all()


def test_balance_zero_is_mono_two_is_side_and_between_the_side_grows() -> None:
    audio = _audio(1, 8_000).expand(21, -1, -1)
    balance = torch.linspace(0, 2, 21)
    parameters = replace(_without_polarity(_draw(21, NEUTRAL)), imager_balance=balance)
    imaged = apply_effects(audio, parameters, 16_000)
    mid, side = imaged[:, 0] + imaged[:, 1], imaged[:, 0] - imaged[:, 1]
    share = side.square().sum(-1) / (mid.square() + side.square()).sum(-1)
    assert share[0] < 1e-10
    assert share[-1] > 0.99
    assert (share.diff() > 0).all()


def test_a_mono_stem_is_not_turned_into_noise_by_widening() -> None:
    mono = _audio(1, 8_000)[:, :1].repeat(1, 2, 1)
    parameters = replace(_without_polarity(_draw(1, NEUTRAL)), imager_balance=torch.tensor([1.99]))
    torch.testing.assert_close(apply_effects(mono, parameters, 16_000), mono, rtol=1e-4, atol=1e-6)


# ---- what must not happen


def test_silence_stays_silence_beside_audible_items() -> None:
    audio, parameters = _audio(5, 3_000), _draw(5)
    audio[2] = 0
    for apply in (apply_effects, apply_effects_with_pedalboard):
        processed = apply(audio, parameters, 16_000)
        assert processed.isfinite().all()
        assert (processed[2] == 0).all()
        assert (_rms(processed)[[0, 1, 3, 4]] > 0).all()


def test_an_item_that_the_reverb_leaves_silent_is_silent_not_nan() -> None:
    click = torch.zeros(1, 2, 3_000)
    click[..., -1] = 1
    parameters = replace(_draw(1), reverb_dry=torch.zeros(1), reverb_wet=torch.ones(1))
    for apply in (apply_effects, apply_effects_with_pedalboard):
        assert (apply(click, parameters, 16_000) == 0).all()


def test_wet_and_dry_both_zero_leave_the_reverb_out() -> None:
    audio, parameters = _audio(2, 3_000), _draw(2)
    nothing = replace(parameters, reverb_wet=torch.zeros(2), reverb_dry=torch.zeros(2))
    without = replace(parameters, reverb_wet=torch.zeros(2), reverb_dry=torch.ones(2))
    for apply in (apply_effects, apply_effects_with_pedalboard):
        assert torch.equal(apply(audio, nothing, 16_000), apply(audio, without, 16_000))


def test_nan_stays_in_its_item() -> None:
    audio, parameters = _audio(4, 3_000), _draw(4)
    clean = apply_effects(audio, parameters, 16_000)
    audio[1, 0, 100] = float("nan")
    processed = apply_effects(audio, parameters, 16_000)
    assert processed[1].isnan().all()
    others = [0, 2, 3]
    assert torch.equal(processed[others], clean[others])


def test_full_scale_tones_and_steps_stay_finite() -> None:
    time = torch.arange(20_000) / 16_000
    loud = torch.stack([torch.sin(2763 * time), torch.ones(20_000), 1e4 * torch.cos(99 * time)])
    processed = apply_effects(loud[:, None].repeat(1, 2, 1), _draw(3), 16_000)
    assert processed.isfinite().all()


@pytest.mark.parametrize(
    ("audio", "count", "sample_rate", "message"),
    [
        (torch.zeros(2, 1, 50), 2, 16_000, "batch, 2, sample"),
        (torch.zeros(2, 50), 2, 16_000, "batch, 2, sample"),
        (torch.zeros(2, 2, 50, dtype=torch.float64), 2, 16_000, "float32"),
        (torch.zeros(2, 2, 50), 3, 16_000, "3 items"),
        (torch.zeros(2, 2, 50), 2, 100, "sample rate"),
    ],
)
def test_bad_input_is_refused_with_the_reason(
    audio: torch.Tensor, count: int, sample_rate: int, message: str
) -> None:
    for apply in (apply_effects, apply_effects_with_pedalboard):
        with pytest.raises(InputError, match=message):
            apply(audio, _draw(count), sample_rate)


def test_an_unfit_out_is_refused() -> None:
    audio, parameters = _audio(3, 100), _draw(3)
    for out in (torch.empty(3, 2, 99), torch.empty(3, 100, 2).transpose(1, 2)):
        with pytest.raises(InputError, match="out"):
            apply_effects(audio, parameters, 16_000, out=out)


# ---- the GPU's chain, as far as it can be checked without one


@interpreted
@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_reverb_by_spectra_agrees_with_pedalboard_within_100_db(sample_rate: int) -> None:
    audio, parameters = _audio(3, 8_009, level=0.3), _draw(3)
    coefficients, delays = _coefficients(parameters, sample_rate), _delays(sample_rate)
    processed = reverberate(audio, coefficients, delays)
    for i in range(3):
        expected = _pedalboard_reverb(parameters[i])(audio[i].numpy(), sample_rate)
        assert _snr(torch.from_numpy(expected), processed[i]) > 100


@interpreted
def test_reverb_by_spectra_equals_the_recursive_one_also_when_its_tail_outlasts_the_item() -> None:
    # A quarter of a second of the longest tail: a plain circular convolution would be far off.
    ranges = replace(ONLY_REVERB, reverb_room_size=(0.85, 0.85), reverb_damping=(0.0, 0.0))
    audio, parameters = _audio(2, 11_025), _without_polarity(_draw(2, ranges))
    recursive = apply_effects(audio, parameters, 44_100)
    by_spectra = reverberate(audio, _coefficients(parameters, 44_100), _delays(44_100))
    by_spectra *= (_rms(audio) / _rms(by_spectra)).float()[:, None, None]
    assert _snr(recursive, by_spectra).min() > 110


@interpreted
@pytest.mark.parametrize("length", [601, 2048])
def test_chain_for_the_gpu_equals_the_cpus_in_tritons_interpreter(length: int) -> None:
    audio, parameters = _audio(3, length), _draw(3)
    out = torch.empty_like(audio)
    _apply_on_gpu(audio, parameters, _coefficients(parameters, RATE), _delays(RATE), out)
    assert _snr(apply_effects(audio, parameters, RATE), out).min() > 80


@interpreted
def test_more_items_than_fit_at_once_are_reverberated_like_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(effect_torch, "_ITEMS_AT_ONCE", 2)
    audio, parameters = _audio(5, 1000), _draw(5)
    coefficients, delays = _coefficients(parameters, RATE), _delays(RATE)
    together = reverberate(audio, coefficients, delays)
    alone = [reverberate(audio[i : i + 1], coefficients[:, i : i + 1], delays) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)


COMPILE_FOR_GPUS = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from selfrefine.audio import effect_triton

SIGNATURES = {
    effect_triton._follow: (
        ["*fp32"] * 3 + ["i32"] * 2, [effect_triton._LANES, effect_triton._AHEAD]
    ),
    effect_triton._respond: (["*fp64"] * 5 + ["i32"], [8, effect_triton._BINS]),
}
for capability in (80, 90):
    for kernel, (types, constants) in SIGNATURES.items():
        types = types + ["constexpr"] * len(constants)
        signature = dict(zip(kernel.arg_names, types, strict=True))
        values = dict(zip(kernel.arg_names[-len(constants) :], constants, strict=True))
        source = ASTSource(fn=kernel, signature=signature, constexprs=values)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert len(compiled.asm["cubin"]) > 1000
"""


@interpreted
@pytest.mark.slow
def test_kernels_for_the_gpu_compile_for_one_without_one(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", COMPILE_FOR_GPUS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_chain_on_the_gpu_agrees_with_the_cpus_within_80_db(sample_rate: int) -> None:
    audio, parameters = _audio(70, 30_001), _draw(70)
    expected = apply_effects(audio, parameters, sample_rate)
    processed = apply_effects(audio.cuda(), parameters, sample_rate)
    assert _snr(expected, processed.cpu()).min() > 80
