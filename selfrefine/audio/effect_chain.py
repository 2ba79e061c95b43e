"""Applies drawn effects to stereo audio, a batch at a time.

`apply_effects` is the fast chain. `apply_effects_with_pedalboard` is the same chain with
pedalboard's compressor and reverb, item by item; tests and benchmarks use it as the reference.
Pedalboard is built on JUCE. Measurements of pedalboard show that the compressor is a peak follower
with one-pole attack and release, and that the reverb is Freeverb.

After each effect except the gain, an item is scaled back to the RMS of its input, both channels
together. The reverb and the imager are linear, so the fast chain scales only once, at the end.
"""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import Any

import torch

from selfrefine.audio.effect_kernels import (
    ALLPASSES,
    ATTACK,
    BLOCK,
    COEFFICIENTS,
    COMBS,
    DAMPING,
    DRY,
    EXPONENT,
    FEEDBACK,
    INPUT_GAIN,
    INVERSE_THRESHOLD,
    RELEASE,
    SPREAD,
    WET,
    WET_CROSSED,
    compress_and_reverberate,
    mix_channels,
)
from selfrefine.audio.effects import EffectParameters
from selfrefine.audio.lanes import LANES
from selfrefine.errors import InputError

log = logging.getLogger(__name__)

# A signal with less energy per sample is silent. This is -280 dB: far below any audio, and above
# the offset that the kernels add against denormal numbers.
_SILENT = 1e-28

# A mid or side more than 40 dB below the whole is widened as if it were at -40 dB. Otherwise the
# imager would turn the rounding errors of a mono stem into an audible side.
_IMAGER_FLOOR = 1e-4


def apply_effects(
    audio: torch.Tensor,
    parameters: EffectParameters,
    sample_rate: int,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Applies compressor, reverb, imager, and gain with polarity to each item.

    `audio` is `(batch, 2, sample)` float32, on the CPU or a CUDA device; the result has the same
    shape, type and device. `out`, if given, is written and returned. It may be `audio` itself: this
    avoids the page faults of a new buffer, which can cost the CPU half as much as the effects.
    Each item's result is independent of the other items. Silence stays silent. An item with a NaN
    becomes all NaN; its neighbours do not.

    On the CPU one thread processes sixteen items at once, and one item costs as much as sixteen. A
    GPU needs Triton and a C compiler; without them the CPU computes the effects, and this is logged
    once.

    Raises InputError for another shape, type or device of `audio` or `out`, for an `out` that is
    not contiguous, for another number of parameters, and for a sample rate below 1000 Hz.
    """
    _check(audio, parameters, sample_rate)
    if out is None:
        out = torch.empty(audio.shape, device=audio.device)
    elif out.shape != audio.shape or out.dtype != audio.dtype or out.device != audio.device:
        raise InputError("effects' `out` needs the shape, type and device of the audio")
    elif not out.is_contiguous():
        raise InputError("effects' `out` needs to be contiguous: call .contiguous() on it first")
    coefficients = _coefficients(parameters, sample_rate)
    delays = _delays(sample_rate)
    apply = _apply_on_gpu if audio.is_cuda and gpu_has_kernels(audio.device) else _apply_on_cpu
    apply(audio.detach(), parameters, coefficients, delays, out)
    return out


@cache
def gpu_has_kernels(device: torch.device) -> bool:
    """Whether Triton can build the effects' kernels for a device; logs once what is missing."""
    try:
        from selfrefine.audio.effect_torch import compress, reverberate

        nothing = torch.zeros(1, 2, BLOCK, device=device)
        coefficients = torch.zeros(COEFFICIENTS, 1, device=device)
        reverberate(compress(nothing, coefficients), coefficients, _delays(1000))
    except Exception as error:  # compilers, linkers and caches raise many types
        if "out of memory" in str(error):
            raise
        reason = (str(error) or repr(error)).splitlines()[0]
        log.warning(
            "random mixing's effects run on the CPU, since Triton cannot build its kernels for "
            "the GPU (%s); install a C compiler and Python's headers, as gcc and python3-dev",
            reason,
        )
        return False
    return True


def apply_effects_with_pedalboard(
    audio: torch.Tensor, parameters: EffectParameters, sample_rate: int
) -> torch.Tensor:
    """`apply_effects` with pedalboard's compressor and reverb, one item at a time."""
    import pedalboard

    _check(audio, parameters, sample_rate)
    processed = [
        _apply_item_with_pedalboard(pedalboard, item, parameters[i], sample_rate)
        for i, item in enumerate(audio.detach().cpu())
    ]
    return torch.stack(processed).to(audio) if processed else audio.clone()


def imager_gains(
    mid: torch.Tensor, side: torch.Tensor, balance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gains of mid and side `(batch,)` that move energy between them and keep the total energy.

    `mid` and `side` are energies, float64 `(batch,)`. `balance` is `(batch,)`: 0 keeps only the
    mid, 1 changes nothing, 2 keeps only the side. In between, the side's gain is linear in it.

    The code of the paper's reference [3] differs above 1. Its side gain restarts at 0 just above 1,
    so balances up to 1 + the side's share of the amplitude narrow the image. Its comments say that
    these balances widen the image; here they do.
    """
    total = (mid + side).clamp(min=torch.finfo(torch.float64).tiny)
    mid, side = mid / total, side / total
    widest = ((1 + _IMAGER_FLOOR) / (side + _IMAGER_FLOOR)).sqrt()
    side_gain = balance.clamp(max=1) * (1 + (balance - 1).clamp(min=0) * (widest - 1))
    mid_gain = ((1 - side_gain**2 * side + _IMAGER_FLOOR) / (mid + _IMAGER_FLOOR)).sqrt()
    return mid_gain, side_gain


def _check(audio: torch.Tensor, parameters: EffectParameters, sample_rate: int) -> None:
    if audio.ndim != 3 or audio.shape[1] != 2 or audio.dtype != torch.float32:
        raise InputError(
            f"effects need float32 audio (batch, 2, sample), not {audio.dtype} "
            f"{tuple(audio.shape)}: convert it, and repeat a mono channel"
        )
    if len(parameters) != len(audio):
        raise InputError(
            f"effect parameters for {len(parameters)} items but audio for {len(audio)}: draw one "
            "set per item"
        )
    if audio.device.type not in ("cpu", "cuda"):
        raise InputError(f"effects work on the CPU or a CUDA device, not on {audio.device}")
    if sample_rate < 1000:
        raise InputError(f"sample rate {sample_rate} Hz: effects need at least 1000 Hz")


def _amplitude(decibels: torch.Tensor) -> torch.Tensor:
    return 10 ** (decibels.double() / 20)


def _delays(sample_rate: int) -> torch.Tensor:
    """Lengths in samples of the 8 combs and 4 allpasses, int64 `(channel, 12)`."""
    at_44100 = torch.tensor(COMBS + ALLPASSES) + torch.tensor([[0], [SPREAD]])
    return int(sample_rate) * at_44100 // 44100


def _coefficients(parameters: EffectParameters, sample_rate: int) -> torch.Tensor:
    """The kernels' coefficients, float32 `(COEFFICIENTS, batch)`, in rows that the kernels name."""
    rows = torch.empty(COEFFICIENTS, len(parameters), dtype=torch.float64)
    # One-pole constants of JUCE's BallisticsFilter, whose time constant is ms / (2 pi).
    per_ms = -2 * math.pi * 1000 / sample_rate
    rows[ATTACK] = torch.exp(per_ms / parameters.compressor_attack.double())
    rows[RELEASE] = torch.exp(per_ms / parameters.compressor_release.double())
    rows[INVERSE_THRESHOLD] = _amplitude(-parameters.compressor_threshold)
    rows[EXPONENT] = 1 / parameters.compressor_ratio.double() - 1
    # These are Freeverb's scalings of its controls, which go from 0 to 1. The feedback includes the
    # lowpass filter's gain of 1 - damping.
    damping = 0.4 * parameters.reverb_damping.double()
    rows[DAMPING] = damping
    rows[FEEDBACK] = (0.7 + 0.28 * parameters.reverb_room_size.double()) * (1 - damping)
    wet = 3 * INPUT_GAIN * parameters.reverb_wet.double()
    rows[WET] = wet * (1 + parameters.reverb_width.double()) / 2
    rows[WET_CROSSED] = wet * (1 - parameters.reverb_width.double()) / 2
    rows[DRY] = 2 * _dry(parameters).double()
    return rows.float()


def _dry(parameters: EffectParameters) -> torch.Tensor:
    """The dry level; 1 where both levels are 0, since silence cannot be scaled to an RMS."""
    nothing = (parameters.reverb_wet == 0) & (parameters.reverb_dry == 0)
    return torch.where(nothing, 1.0, parameters.reverb_dry)


def _mixing(
    energies: torch.Tensor, parameters: EffectParameters, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Imager, RMS scaling and gain as one symmetric 2 x 2 matrix per item.

    `energies` is `(2, 2, batch)`: for the input and for the reverb's output, the energies of mid
    and side. Returns the gain of a channel on itself and on the other one, float32 `(batch,)` each.
    """
    _, (mid, side) = energies
    balance = parameters.imager_balance.to(mid, non_blocking=True)
    mid_gain, side_gain = imager_gains(mid, side, balance)
    energy = mid_gain**2 * mid + side_gain**2 * side
    scale = (energies[0].sum(0) / energy).sqrt().where(~(energy <= _SILENT * length), 0.0)
    scale = scale * (_amplitude(parameters.gain) * parameters.polarity).to(mid, non_blocking=True)
    same, crossed = scale * (mid_gain + side_gain) / 2, scale * (mid_gain - side_gain) / 2
    return same.float(), crossed.float()


def _apply_on_cpu(
    audio: torch.Tensor,
    parameters: EffectParameters,
    coefficients: torch.Tensor,
    delays: torch.Tensor,
    out: torch.Tensor,
) -> None:
    if audio.is_cuda:
        host = audio.cpu()
        _apply_on_cpu(host, parameters, coefficients, delays, host)
        out.copy_(host)
        return
    audio = audio.contiguous()
    batch, channels, length = audio.shape
    # Torch aligns its buffers to whole vectors; numpy does not.
    lines = torch.empty(int(delays.sum()), LANES).numpy()
    scratch = torch.empty(5, BLOCK, LANES).numpy()
    bases = (delays.flatten().cumsum(0) - delays.flatten()).view_as(delays)
    for first in range(0, batch, LANES):
        group = slice(first, min(first + LANES, batch))
        # Copies of the last item fill the remaining lanes.
        lanes = torch.arange(first, first + LANES).clamp(max=batch - 1)
        energies = compress_and_reverberate(
            audio.view(-1).numpy(),
            out.view(-1).numpy(),
            (lanes * channels * length).numpy(),
            length,
            coefficients[:, lanes].contiguous().numpy(),
            delays.numpy(),
            bases.numpy(),
            lines,
            scratch,
        )[..., : group.stop - first]
        same, crossed = _mixing(torch.from_numpy(energies), parameters[group], length)
        mix_channels(out[group].numpy(), same.numpy(), crossed.numpy())


def _apply_on_gpu(
    audio: torch.Tensor,
    parameters: EffectParameters,
    coefficients: torch.Tensor,
    delays: torch.Tensor,
    out: torch.Tensor,
) -> None:
    from selfrefine.audio.effect_torch import compress, reverberate

    coefficients = coefficients.to(audio.device, non_blocking=True)
    processed = reverberate(compress(audio, coefficients), coefficients, delays)
    energies = torch.stack([_mid_side_energies(signal) for signal in (audio, processed)])
    same, crossed = _mixing(energies, parameters, audio.shape[-1])
    out.copy_(same[:, None, None] * processed + crossed[:, None, None] * processed.flip(1))


def _mid_side_energies(audio: torch.Tensor) -> torch.Tensor:
    """Energies of left + right and left - right: `(batch, 2, sample)` to float64 `(2, batch)`."""
    left, right = audio.unbind(1)
    return torch.stack([_energy(left + right), _energy(left - right)])


def _energy(signal: torch.Tensor) -> torch.Tensor:
    return signal.square().sum(-1, dtype=torch.float64)


def _apply_item_with_pedalboard(
    pedalboard: Any, item: torch.Tensor, parameters: EffectParameters, sample_rate: int
) -> torch.Tensor:
    """Processes `item` `(2, sample)` with the `parameters` of one item; returns the same shape."""
    compressor = pedalboard.Compressor(
        threshold_db=parameters.compressor_threshold.item(),
        ratio=parameters.compressor_ratio.item(),
        attack_ms=parameters.compressor_attack.item(),
        release_ms=parameters.compressor_release.item(),
    )
    # One reverb per item, because an instance glides from its previous settings to new ones.
    reverb = pedalboard.Reverb(
        room_size=parameters.reverb_room_size.item(),
        damping=parameters.reverb_damping.item(),
        wet_level=parameters.reverb_wet.item(),
        dry_level=_dry(parameters).item(),
        width=parameters.reverb_width.item(),
    )
    for effect in (compressor, reverb):
        item = _with_rms_of(torch.from_numpy(effect(item.numpy(), sample_rate)), item)
    mid_side = torch.stack([item[0] + item[1], item[0] - item[1]]) / 2
    energies = _mid_side_energies(item[None])
    mid_gain, side_gain = imager_gains(energies[0], energies[1], parameters.imager_balance)
    mid, side = mid_side[0] * mid_gain.float(), mid_side[1] * side_gain.float()
    item = _with_rms_of(torch.stack([mid + side, mid - side]), item)
    return item * (_amplitude(parameters.gain) * parameters.polarity).float()


def _with_rms_of(processed: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    energy, target = _energy(processed.flatten()), _energy(item.flatten())
    return processed * (target / energy).sqrt().float() if energy > 0 else processed
