"""Scales: sizes of the networks and lengths of their trainings, from a smoke test to the paper's.

`selfrefine refine --profile` and `experiments.profiles` choose among them by name.
"""

from dataclasses import dataclass, replace

from selfrefine import settings
from selfrefine.errors import InputError
from selfrefine.settings import (
    LIGHTER_EFFECTS,
    PAPER_HDEMUCS,
    PAPER_XUMX,
    XUMX,
    ConvNeXt,
    HDemucs,
)

PAPER_THRESHOLD = 0.9
PAPER_FILTER_DB = 20.0
"""By how much (dB) a stem's own output of a separator is above every other one, if it is kept. Used
by the winners of SDX'23, not by the paper."""


@dataclass(frozen=True)
class Scale:
    """Networks and trainings of one size.

    `meaning` says how far results at this scale can be trusted. `threshold` replaces the paper's
    refining threshold of 0.9. `filter_db` replaces the margin of 20 dB by which a separator keeps a
    stem: small separators part no stem by so much.
    """

    name: str
    meaning: str
    classifier: settings.ClassifierSettings
    xumx: settings.SeparatorSettings
    hdemucs: settings.SeparatorSettings
    threshold: float = PAPER_THRESHOLD
    filter_db: float = PAPER_FILTER_DB


SMALL_NET = ConvNeXt(
    depths=(1, 1, 1, 1),
    widths=(16, 32, 64, 128),
    kernel=3,
    layer_scale=None,
    overlapping_stem=True,
    batch_norm=True,
    frequency_kept=True,
)

MINI = Scale(
    name="mini",
    meaning="small networks on a small synthetic band: the ordering of the rows can be read, "
    "the numbers are not the paper's",
    classifier=settings.ClassifierSettings(
        network=SMALL_NET,
        sample_rate=16000,
        segment=49152,
        fft=512,
        hop=512,
        steps=1500,
        batch=16,
        learning_rate=2e-3,
        warmup_steps=20,
        final_rate=0.05,
        bce_share=0.3,
        source_uses=8,
        effects=LIGHTER_EFFECTS,
    ),
    xumx=replace(
        PAPER_XUMX,
        network=XUMX(fft=2048, hop=1024, hidden=128, lstm_layers=2, dropout=0.1),
        sample_rate=16000,
        segment=48000,
        gain=(0.7, 1.25),
        steps=1100,
        batch=4,
        learning_rate=3e-3,
        final_rate=0.05,
    ),
    hdemucs=replace(
        PAPER_HDEMUCS,
        network=HDemucs(channels=8, fft=1024, depth=5, inference_seconds=12.0),
        sample_rate=16000,
        segment=32768,
        gain=(0.7, 1.25),
        steps=400,
        batch=2,
        learning_rate=3e-3,
        warmup_steps=20,
        final_rate=0.05,
    ),
    filter_db=3.0,
)

SMOKE = Scale(
    name="smoke",
    meaning="a test of the path: its numbers mean nothing",
    classifier=replace(
        MINI.classifier,
        network=replace(SMALL_NET, widths=(8, 16, 24, 32)),
        segment=16384,
        steps=200,
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
    threshold=0.45,
    filter_db=-30.0,
)

LITE = Scale(
    name="lite",
    meaning="the paper's networks and sample rate with less data and shorter training, for one GPU",
    classifier=settings.ClassifierSettings(
        steps=700,
        batch=64,
        learning_rate=4e-4,
        warmup_steps=50,
        final_rate=0.05,
        bce_share=0.5,
    ),
    xumx=replace(PAPER_XUMX, steps=800, learning_rate=2e-3, final_rate=0.05),
    hdemucs=replace(PAPER_HDEMUCS, steps=1500, batch=32, final_rate=0.05),
)

PAPER = Scale(
    name="paper",
    meaning="the paper's settings",
    classifier=settings.ClassifierSettings(),
    xumx=PAPER_XUMX,
    hdemucs=PAPER_HDEMUCS,
)

SCALES = {scale.name: scale for scale in (SMOKE, MINI, LITE, PAPER)}


def scale_named(name: str) -> Scale:
    """The scale of this name. Raises InputError when there is none."""
    if name not in SCALES:
        raise InputError(f"no profile called {name!r}; choose one of {', '.join(SCALES)}")
    return SCALES[name]
