"""Profiles: the same stages at another scale. Rows are written once, at the paper's.

A profile replaces the settings of the trained stages and says how much data to take. What makes a
row a row (its training data, its threshold where that is the row's point, each setting in which it
differs from the paper) passes through.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from selfrefine import settings
from selfrefine.scales import LITE, MINI, PAPER, PAPER_THRESHOLD, SMOKE, Scale, scale_named
from selfrefine.settings import PAPER_HDEMUCS, PAPER_XUMX, SAMPLE_RATE, XUMX, Corruption


@dataclass(frozen=True)
class DataScale:
    """How much data a profile takes, and at what rate (Hz). The band's songs and seconds; of a
    folder, all. `start_songs` of each domain, of `start_seconds`, are what the classifier learns
    from that others start from, whatever the data."""

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
    """Random mixtures of the test songs that a classifier is tested on."""
    start_steps: int
    """Of the classifier that others start from."""

    @property
    def name(self) -> str:
        return self.scale.name


BAND_NOISE = Corruption(swapped_songs=0.96, moved_tracks=0.02, bleeding_stems=0.0)
"""Whole-stem mistakes dominate and nothing bleeds, as in the real label-noise set."""

DATA_SCALES = {
    SMOKE: DataScale(16000, 2, 3, 2, 2, 10.0, BAND_NOISE, 2, 10.0),
    MINI: DataScale(16000, 100, 160, 12, 48, 10.0, BAND_NOISE, 480, 10.0),
    LITE: DataScale(SAMPLE_RATE, 24, 60, 8, 12, 60.0, BAND_NOISE, 480, 10.0),
    PAPER: DataScale(SAMPLE_RATE, 86, 203, 14, 50, 240.0, BAND_NOISE, 960, 30.0),
}

MIXTURES = {SMOKE: 24, MINI: 400, LITE: 2000, PAPER: 3941}

START_STEPS = {SMOKE: 60, MINI: 9000, LITE: 4000, PAPER: 20000}

PROFILES = {
    scale.name: Profile(scale, data, MIXTURES[scale], START_STEPS[scale])
    for scale, data in DATA_SCALES.items()
}


def profile_named(name: str) -> Profile:
    """Raises InputError for a name that is none."""
    return PROFILES[scale_named(name).name]


def settings_at_scale(value: Any, profile: Profile) -> Any:
    """The profile's settings in the place of the paper's; any other value as it is."""
    if isinstance(value, settings.ClassifierSettings):
        return at_scale(value, settings.ClassifierSettings(), profile.scale.classifier)
    if isinstance(value, settings.SeparatorSettings):
        if isinstance(value.network, XUMX):
            return at_scale(value, PAPER_XUMX, profile.scale.xumx)
        return at_scale(value, PAPER_HDEMUCS, profile.scale.hdemucs)
    return value


def at_scale(own: Any, paper: Any, scale: Any) -> Any:
    """The scale's settings, but for those in which a row differs from the paper: they are what
    makes it a row."""
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
    """Each setting in which a profile differs from the paper, as "classifier steps 300 (paper
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
    """Name and both values of each field that differs, nested dataclasses opened."""
    found = []
    for entry in fields(own):
        ours, theirs = getattr(own, entry.name), getattr(paper, entry.name)
        if is_dataclass(ours):
            found += differing_fields(ours, theirs)
        elif ours != theirs:
            found.append((entry.name, ours, theirs))
    return found
