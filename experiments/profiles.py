"""Profiles: the same stages at another scale. Rows are written once, at the paper's.

A profile replaces the settings of the trained stages and says how much data to take. What makes a
row a row (its training data, its threshold where that is the row's point, its share of
multi-labelled sources) passes through.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from experiments.data import DataScale
from experiments.stages import Relabelled, Stage, rebuild
from selfrefine import settings
from selfrefine.errors import InputError
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    SAMPLE_RATE,
    XUMX,
    ConvNeXt,
    Corruption,
    HDemucs,
)

PAPER_THRESHOLD = 0.9


@dataclass(frozen=True)
class Profile:
    """`meaning` says what its numbers are worth. `threshold` stands where rows take the paper's
    0.9."""

    name: str
    meaning: str
    data: DataScale
    classifier: settings.Classifier
    xumx: settings.Separator
    hdemucs: settings.Separator
    threshold: float = PAPER_THRESHOLD


SMALL_NET = ConvNeXt(
    depths=(1, 1, 1, 1),
    widths=(16, 32, 64, 128),
    kernel=3,
    layer_scale=None,
    overlapping_stem=True,
    batch_norm=True,
    frequency_kept=True,
)

MINI = Profile(
    name="mini",
    meaning="small networks on a small synthetic band: the ordering of the rows can be read, "
    "the numbers are not the paper's",
    data=DataScale(16000, 16, 40, 10, 36.0, Corruption()),
    classifier=settings.Classifier(
        network=SMALL_NET,
        sample_rate=16000,
        segment=49152,
        fft=512,
        hop=512,
        steps=800,
        batch=16,
        learning_rate=2e-3,
        warmup_steps=20,
        final_rate=0.05,
        bce_share=0.5,
    ),
    xumx=replace(
        PAPER_XUMX,
        network=XUMX(fft=2048, hop=1024, hidden=128, lstm_layers=2),
        sample_rate=16000,
        segment=48000,
        steps=300,
        batch=8,
        learning_rate=2e-3,
        final_rate=0.05,
    ),
    hdemucs=replace(
        PAPER_HDEMUCS,
        network=HDemucs(channels=16, fft=1024, depth=5, inference_seconds=12.0),
        sample_rate=16000,
        segment=32768,
        steps=200,
        batch=4,
        learning_rate=1e-3,
        warmup_steps=20,
        final_rate=0.05,
    ),
)

SMOKE = Profile(
    name="smoke",
    meaning="a test of the path: its numbers mean nothing",
    data=DataScale(16000, 2, 3, 2, 10.0, Corruption()),
    classifier=replace(
        MINI.classifier,
        network=replace(SMALL_NET, widths=(8, 16, 24, 32)),
        steps=30,
        batch=8,
        warmup_steps=0,
    ),
    xumx=replace(
        MINI.xumx,
        network=XUMX(fft=1024, hop=512, hidden=16, lstm_layers=1),
        segment=16384,
        steps=8,
        batch=2,
    ),
    hdemucs=replace(
        MINI.hdemucs,
        network=HDemucs(channels=4, fft=1024, depth=5, inference_seconds=4.0),
        segment=16384,
        steps=8,
        batch=2,
        warmup_steps=0,
    ),
    threshold=0.4,
)

LITE = Profile(
    name="lite",
    meaning="the paper's networks and sample rate with less data and shorter training, for one GPU",
    data=DataScale(SAMPLE_RATE, 24, 60, 12, 60.0, Corruption()),
    classifier=settings.Classifier(steps=1500, batch=64, warmup_steps=100, bce_share=0.3),
    xumx=replace(PAPER_XUMX, steps=3000, final_rate=0.05),
    hdemucs=replace(PAPER_HDEMUCS, steps=1500, batch=32, final_rate=0.05),
)

PAPER = Profile(
    name="paper",
    meaning="the paper's settings",
    data=DataScale(SAMPLE_RATE, 100, 203, 50, 240.0, Corruption()),
    classifier=settings.Classifier(),
    xumx=PAPER_XUMX,
    hdemucs=PAPER_HDEMUCS,
)

PROFILES = {profile.name: profile for profile in (SMOKE, MINI, LITE, PAPER)}


def profile_named(name: str) -> Profile:
    """Raises InputError for a name that is none."""
    if name not in PROFILES:
        raise InputError(f"no profile called {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def scaled(stage: Stage, profile: Profile) -> Any:
    """`stage` at the profile's scale; its data sets are still names."""

    def change(value: Any) -> Any:
        if isinstance(value, settings.Classifier):
            return profile.classifier
        if isinstance(value, settings.Separator):
            size = profile.xumx if isinstance(value.network, XUMX) else profile.hdemucs
            return replace(
                size, multi_chance=value.multi_chance, single_share=value.single_share
            )
        if isinstance(value, Relabelled):
            thresholds = tuple(
                profile.threshold if t == PAPER_THRESHOLD else t for t in value.thresholds
            )
            return replace(value, thresholds=thresholds)
        return value

    return rebuild(stage, change)


def deviations(profile: Profile) -> list[str]:
    """Each setting in which a profile differs from the paper, as "classifier steps 300 (paper
    None)"."""
    pairs = [
        ("classifier", profile.classifier, settings.Classifier()),
        ("X-UMX", profile.xumx, PAPER_XUMX),
        ("Demucs", profile.hdemucs, PAPER_HDEMUCS),
    ]
    found = [
        f"{what} {name} {ours} (paper {theirs})"
        for what, own, paper in pairs
        for name, ours, theirs in differing_fields(own, paper)
    ]
    if profile.threshold != PAPER_THRESHOLD:
        found.append(f"threshold {profile.threshold} (paper {PAPER_THRESHOLD})")
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
