"""Profiles: the same stages at another scale. Rows are written once, at the paper's scale.

A profile replaces the settings of the trained stages and sets the amount of data. It keeps what
distinguishes a row: its training data, its threshold if the row tests a threshold, and each setting
that differs from the paper's.
"""

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from selfrefine import settings
from selfrefine.scales import LITE, MINI, PAPER, PAPER_THRESHOLD, SMOKE, Scale, scale_named
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    SAMPLE_RATE,
    XUMX,
    ClassifierSettings,
    Corruption,
)


@dataclass(frozen=True)
class DataScale:
    """How much data a profile takes, and its `sample_rate` (Hz).

    The numbers of songs, their length `seconds` (s) and the `noise` are for the embedded band; of a
    folder, all songs are used. The classifier from which others start learns from `start_songs`
    songs of each domain of the band, `start_seconds` long (s), for every choice of data.
    """

    sample_rate: int
    clean_songs: int
    noisy_songs: int
    validation_songs: int
    test_songs: int
    seconds: float
    noise: Corruption
    start_songs: int
    start_seconds: float


@dataclass(frozen=True)
class Profile:
    """How large the networks are, and how much data they see."""

    scale: Scale
    data: DataScale
    mixtures: int
    """Number of random mixtures of the test songs on which a classifier is tested."""
    start: ClassifierSettings
    """The classifier from which others start."""

    @property
    def name(self) -> str:
        return self.scale.name


BAND_NOISE = Corruption(swapped_songs=0.96, moved_tracks=0.02, bleeding_stems=0.0)
"""Mostly whole stems have wrong labels, and nothing bleeds, as in the real label-noise set."""

DATA_SCALES = {
    SMOKE: DataScale(16000, 2, 3, 2, 2, 10.0, BAND_NOISE, 2, 10.0),
    MINI: DataScale(16000, 100, 160, 12, 48, 10.0, BAND_NOISE, 480, 10.0),
    LITE: DataScale(SAMPLE_RATE, 24, 60, 8, 12, 60.0, BAND_NOISE, 480, 10.0),
    PAPER: DataScale(SAMPLE_RATE, 86, 203, 14, 50, 240.0, BAND_NOISE, 960, 30.0),
}

MIXTURES = {SMOKE: 24, MINI: 400, LITE: 2000, PAPER: 3941}

SMALL_AT_44100 = replace(
    MINI.classifier, sample_rate=SAMPLE_RATE, segment=131072, fft=1024, hop=1024
)
"""A start is small at every scale, since it comes with the package and refines on CPUs. This one
hears all of 44.1 kHz."""

STARTS = {
    SMOKE: replace(SMOKE.classifier, steps=60),
    MINI: replace(MINI.classifier, steps=9000),
    LITE: replace(SMALL_AT_44100, steps=9000),
    PAPER: replace(SMALL_AT_44100, steps=20000),
}

PROFILES = {
    scale.name: Profile(scale, data, MIXTURES[scale], STARTS[scale])
    for scale, data in DATA_SCALES.items()
}


def profile_named(name: str) -> Profile:
    """The profile of this name. Raises InputError when there is none."""
    return PROFILES[scale_named(name).name]


def settings_at_scale(value: Any, profile: Profile) -> Any:
    """Replaces the paper's settings by the profile's. Returns any other value unchanged."""
    if isinstance(value, settings.ClassifierSettings):
        return at_scale(value, settings.ClassifierSettings(), profile.scale.classifier)
    if isinstance(value, settings.SeparatorSettings):
        if isinstance(value.network, XUMX):
            scaled = at_scale(value, PAPER_XUMX, profile.scale.xumx)
        else:
            scaled = at_scale(value, PAPER_HDEMUCS, profile.scale.hdemucs)
        return replace(scaled, kept_shares=shares_of_items(scaled.kept_shares, scaled.batch))
    return value


def shares_of_items(shares: tuple[float, ...], batch: int) -> tuple[float, ...]:
    """The shares of a batch that are kept where losses above the quantiles `shares` are dropped.

    Quantiles that keep the same number of items of a small batch are thus one training.
    """
    return tuple((math.floor(share * (batch - 1)) + 1) / batch for share in shares)


def at_scale(own: Any, paper: Any, scale: Any) -> Any:
    """The scale's settings, except those in which a row differs from the paper. The row's own
    values stay, since they are what the row tests."""
    changed = {}
    for entry in fields(own):
        ours, theirs = getattr(own, entry.name), getattr(paper, entry.name)
        if ours != theirs:
            nested = is_dataclass(ours)
            changed[entry.name] = (
                at_scale(ours, theirs, getattr(scale, entry.name)) if nested else ours
            )
    return replace(scale, **changed)


def deviations(profile: Profile) -> list[str]:
    """Each setting in which a profile differs from the paper, like "classifier steps 300 (paper
    None)"."""
    pairs = [
        ("classifier", profile.scale.classifier, settings.ClassifierSettings()),
        ("X-UMX", profile.scale.xumx, PAPER_XUMX),
        ("Demucs", profile.scale.hdemucs, PAPER_HDEMUCS),
    ]
    found = [
        f"{what} {name} {ours} (paper {theirs})"
        for what, own, paper in pairs
        for name, ours, theirs in differing_fields(own, paper)
    ]
    if profile.scale.threshold != PAPER_THRESHOLD:
        found.append(f"threshold {profile.scale.threshold} (paper {PAPER_THRESHOLD})")
    return found


def differing_fields(own: Any, paper: Any) -> list[tuple[str, Any, Any]]:
    """Name and both values of each field that differs, also inside nested dataclasses."""
    found = []
    for entry in fields(own):
        ours, theirs = getattr(own, entry.name), getattr(paper, entry.name)
        if is_dataclass(ours):
            found += differing_fields(ours, theirs)
        elif ours != theirs:
            found.append((entry.name, ours, theirs))
    return found
