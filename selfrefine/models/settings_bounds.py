"""The values that the settings of a model file may have.

They are checked before a network is built, since a damaged or hostile file could ask for one of any
size.
"""

import dataclasses
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from selfrefine.settings import (
    POSSIBLE_EFFECTS,
    XUMX,
    ClassifierSettings,
    ConvNeXt,
    EffectRanges,
    HDemucs,
    Range,
    SeparatorSettings,
)

LEAST_SIDE = 29
"""The fewest bins and frames that a ConvNeXt can halve five times."""

SHARE = (0.0, 1.0)
FFT = (16, 2**16)

TRAINING: dict[str, Range] = {
    "sample_rate": (1000, 384000),
    "segment": (16, 2**24),
    "steps": (1, 10**9),
    "batch": (1, 4096),
    "learning_rate": SHARE,
    "weight_decay": (0.0, 10.0),
    "warmup_steps": (0, 10**9),
    "final_rate": SHARE,
}

BOUNDS: dict[type, dict[str, Range]] = {
    ConvNeXt: {"depths": (1, 64), "widths": (1, 4096), "kernel": (1, 31), "layer_scale": SHARE},
    EffectRanges: POSSIBLE_EFFECTS,
    ClassifierSettings: TRAINING
    | {
        "fft": FFT,
        "hop": FFT,
        "mix_chance": SHARE,
        "epochs": (1, 10**6),
        "bce_share": SHARE,
        "source_uses": (1, 1000),
    },
    XUMX: {
        "fft": FFT,
        "hop": FFT,
        "hidden": (2, 2**14),
        "lstm_layers": (1, 16),
        "dropout": (0.0, 0.99),
        "bandwidth_hz": (1.0, 10**6),
        "wiener_iterations": (0, 100),
    },
    HDemucs: {
        "channels": (1, 1024),
        "fft": FFT,
        "depth": (1, 10),
        "inference_seconds": (0.1, 3600.0),
        "inference_overlap": (0.0, 0.95),
    },
    SeparatorSettings: TRAINING
    | {
        "multi_chance": SHARE,
        "single_share": SHARE,
        "loudness_lufs": (-100.0, 0.0),
        "gain": (0.0, 100.0),
        "kept_shares": SHARE,
    },
}
"""The lowest and the highest value of every number, by the settings that have it."""


def refuse_impossible(settings: Any) -> None:
    """Raises ValueError for settings of a wrong type, out of bounds, or that do not go together,
    with the name of the value."""
    types = get_type_hints(type(settings))
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if not is_of_type(value, types[entry.name]):
            raise ValueError(f"{entry.name}={value!r:.40}: of a wrong type")
        if dataclasses.is_dataclass(value):
            refuse_impossible(value)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                lowest, highest = BOUNDS[type(settings)][entry.name]
                # Written so that NaN fails too.
                if not lowest <= number <= highest:
                    raise ValueError(f"{entry.name}={number!r:.40}: not {lowest} to {highest}")
    if words := contradiction(settings):
        raise ValueError(words)


def is_of_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type. Whole numbers count as float, truth values as no
    number."""
    if isinstance(kind, UnionType):
        return any(is_of_type(value, part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            parts = parts[:1] * len(value)
        return len(parts) == len(value) and all(map(is_of_type, value, parts))
    return type(value) is kind or (kind is float and type(value) is int)


def contradiction(settings: Any) -> str:
    """Says which values do not go together; empty where all do."""
    match settings:
        case ConvNeXt(depths=depths, widths=widths) if not len(depths) == len(widths) == 4:
            return f"{len(depths)} depths and {len(widths)} widths: not four of each"
        case ConvNeXt(kernel=kernel) if kernel % 2 == 0:
            return f"kernel={kernel}: not odd"
        case ClassifierSettings(segment=segment, fft=fft, hop=hop) if (
            not hop <= fft <= segment or hop > segment // 4
        ):
            return f"segment={segment}, fft={fft}, hop={hop}: do not go together"
        case ClassifierSettings(segment=segment, fft=fft, hop=hop) if (
            min(fft // 2 + 1, (segment - fft) // hop + 1) < LEAST_SIDE
        ):
            return f"segment={segment}, fft={fft}, hop={hop}: too small a spectrogram"
        case XUMX(fft=fft, hop=hop) if hop > fft:
            return f"fft={fft}, hop={hop}: do not go together"
        case XUMX(hidden=hidden) if hidden % 2:
            return f"hidden={hidden}: not even"
    return ""
