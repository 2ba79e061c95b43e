"""Every number of the method, with the paper's values as defaults.

Sources: "the paper" is Koo et al., "Self-refining of Pseudo Labels for Music Source Separation
with Noisy Labeled Data", ISMIR 2023. Values that the paper leaves unsaid say where they are from.
The values are plain frozen dataclasses, free of torch, so that an experiment can be named, hashed
and planned without loading a network.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from selfrefine.errors import InputError

SAMPLE_RATE = 44100
"""Hz; both data sets of the paper are 44.1 kHz stereo (section 4.1)."""


Range = tuple[float, float]


def added(default: Any, *, as_before: Any) -> Any:
    """A dataclass field that came after results were published.

    While it holds `as_before`, all is computed as before the field was there: the identity of an
    experiment leaves it out then, so that what was computed is still found.
    """
    return field(default=default, metadata={"as_before": as_before})


# What an effect can do at all; a range has to lie within.
POSSIBLE_EFFECTS: dict[str, Range] = {
    "compressor_threshold": (-200.0, 0.0),
    "compressor_ratio": (1.0, math.inf),
    "compressor_attack": (0.001, math.inf),
    "compressor_release": (0.001, math.inf),
    "reverb_room_size": (0.0, 1.0),
    "reverb_damping": (0.0, 1.0),
    "reverb_wet": (0.0, 1.0),
    "reverb_dry": (0.0, 1.0),
    "reverb_width": (0.0, 1.0),
    "imager_balance": (0.0, 2.0),
    "gain": (-math.inf, math.inf),
}


@dataclass(frozen=True)
class EffectRanges:
    """Lowest and highest value of each parameter of random mixing's effects, drawn uniformly.

    The order of the effects is the paper's (section 3.1.1); the ranges are those of the public
    code of the paper's reference [3] (music mixing style transfer). To fix a parameter, give the
    same value twice. Raises InputError for a range that is empty or that the effect cannot do.
    """

    compressor_threshold: Range = (-80.0, -5.0)  # dB
    compressor_ratio: Range = (4.0, 40.0)
    compressor_attack: Range = (1.0, 20.0)  # ms
    compressor_release: Range = (50.0, 500.0)  # ms
    reverb_room_size: Range = (0.05, 0.85)
    reverb_damping: Range = (0.0, 1.0)
    reverb_wet: Range = (0.0, 1.0)
    reverb_dry: Range = (0.0, 1.0)
    reverb_width: Range = (0.0, 1.0)
    imager_balance: Range = (0.0, 2.0)  # 0 mono, 1 as it is, 2 only side
    gain: Range = (-6.0, 9.0)  # dB

    def __post_init__(self) -> None:
        for entry in fields(self):
            low, high = getattr(self, entry.name)
            lowest, highest = POSSIBLE_EFFECTS[entry.name]
            # Written so that NaN fails too.
            if not (lowest <= low <= high <= highest and math.isfinite(high - low)):
                raise InputError(
                    f"effect range {entry.name}=({low}, {high}): give a lowest and a highest value "
                    f"with {lowest} <= lowest <= highest <= {highest}, both finite"
                )


LIGHTER_EFFECTS = EffectRanges(
    reverb_wet=(0.0, 0.25),
    reverb_dry=(0.5, 1.0),
    reverb_room_size=(0.05, 0.4),
    compressor_threshold=(-30.0, -5.0),
    compressor_ratio=(1.0, 6.0),
)
"""Weaker effects, of which less stays in the signal than of those of `EffectRanges()`.

The numbers of `EffectRanges()` are those of the public code of the paper's reference [3], but its
effects are other ones: its reverb's combs have no feedback, and its compressor's time constants are
2 pi times those of JUCE at the same numbers. Medians over draws at 44.1 kHz, of a click in both
channels through the reverb, and of 3 s of 105 real stems and tracks through the compressor:

                                                  [3]     EffectRanges()     LIGHTER_EFFECTS
    reverberation time                          .15 s             1.05 s               .72 s
    energy later than .15 s, to all            -42 dB             -13 dB              -29 dB
    all reverberation, to the dry sound        5.4 dB            -1.4 dB            -17.8 dB
    what the compressor takes off the
      deviation of the level (20 ms)           1.1 dB             3.0 dB               .0 dB

So the tail and the compressor are nearer to [3]'s, the echoes before .15 s are farther: JUCE's
reverb rings .6 s or longer, and one that is as wet as [3]'s has too much of a tail.
"""


@dataclass(frozen=True)
class ConvNeXt:
    """timm's ConvNeXt on a two-channel magnitude spectrogram, one logit per class.

    The defaults are ConvNeXt-Tiny, 27,821,668 parameters (section 4.2). Small ones learn in
    minutes only with batch normalisation, an overlapping stem and the frequency axis kept up to
    the head: see docs/log.md.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    kernel: int = 7
    layer_scale: float | None = 1e-6
    overlapping_stem: bool = False
    batch_norm: bool = False
    frequency_kept: bool = False


@dataclass(frozen=True)
class ClassifierSettings:
    """The instrument classifier and its training (sections 3.1 and 4.2).

    `fft` and `hop` are in samples, as is `segment` (131,072 samples are 2.97 s). `steps` of None
    means `epochs`, an epoch being as many draws as segments fit into the longest class.
    `bce_share` is the share of the steps, from the first, whose loss is the binary cross-entropy;
    the paper trains with the mean absolute error alone and saw no difference. `source_uses` is into
    how many mixtures an effected source goes on average (`selfrefine.mixing.source_bank`), the
    first and the last ones into fewer; at 1 every mixture has its own.
    """

    network: ConvNeXt = field(default_factory=ConvNeXt)
    sample_rate: int = SAMPLE_RATE
    segment: int = 131072
    fft: int = 2048
    hop: int = 512
    mix_chance: float = 0.5
    effects: EffectRanges = field(default_factory=EffectRanges)
    epochs: int = 100
    steps: int | None = None
    batch: int = 128
    learning_rate: float = 2e-4
    weight_decay: float = 0.05
    warmup_steps: int = 200
    final_rate: float = 1.0
    bce_share: float = 0.0
    source_uses: int = 1


@dataclass(frozen=True)
class XUMX:
    """CrossNet-Open-Unmix: four Open-Unmix branches bridged by two averages.

    Layer sizes as in the public X-UMX recipes; `bandwidth_hz` limits the network's input, not its
    output. The loss is the mean squared error on magnitudes (section 4.2), with neither the
    multi-domain nor the combination loss.
    """

    fft: int = 4096
    hop: int = 1024
    hidden: int = 512
    lstm_layers: int = 3
    dropout: float = 0.4
    bandwidth_hz: float = 16000.0
    wiener_iterations: int = 1


@dataclass(frozen=True)
class HDemucs:
    """Hybrid Demucs (Demucs v3) as torchaudio builds it; 83.6 M parameters by default.

    The loss is the mean absolute error in the time domain (section 4.2).
    """

    channels: int = 48
    fft: int = 4096
    depth: int = 6
    inference_seconds: float = 12.0
    inference_overlap: float = 0.25


@dataclass(frozen=True)
class SeparatorSettings:
    """A separator's training (section 4.2). `segment` is in samples.

    `single_share` is the share of the iterations, from the first, in which no multi-labelled
    source is drawn: 0 is the paper's proposal, 1 its row "train only w/ single-labeled", 11/30 its
    row "+ finetune w/ multi-labeled". Gains and channel swaps are those of Demucs' recipe. With
    `sign_flip` every source is turned over with a chance of one half, as in that recipe; its
    repitch (a fifth of the segments in another pitch and tempo) is left out.
    """

    network: XUMX | HDemucs
    sample_rate: int = SAMPLE_RATE
    segment: int = 6 * SAMPLE_RATE
    multi_chance: float = 0.4
    single_share: float = 0.0
    loudness_lufs: float = -14.0
    gain: tuple[float, float] = (0.25, 1.25)
    steps: int = 56400
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    warmup_steps: int = 0
    final_rate: float = 1.0
    sign_flip: bool = added(False, as_before=False)


PAPER_XUMX = SeparatorSettings(network=XUMX())
PAPER_HDEMUCS = SeparatorSettings(
    network=HDemucs(),
    segment=3 * SAMPLE_RATE,
    steps=21000,
    batch=160,
    learning_rate=3e-4,
    weight_decay=0.0,
)


@dataclass(frozen=True)
class Refining:
    """How a stem's probabilities become its label set (section 4.2).

    A class whose probability, averaged over the stem's windows, is at least its threshold is in
    the label set; windows overlap by three quarters. The paper does not say what becomes of a stem
    where no class passes: with `most_probable` it gets its most probable class, which refines
    better (docs/log.md), else it is dropped.
    """

    threshold: float = 0.9
    windows_per_segment: int = 4
    most_probable: bool = True


SURE = 0.6
"""After a start, a given label gives way to another label set where, of the two, that is right with
this probability or more."""


@dataclass(frozen=True)
class SilenceRemoval:
    """Regions this far (dB) under the peak are cut, the rest joined; then again with the second.

    Section 4.1. The frames (in s) are those of librosa's splitting at 44.1 kHz.
    """

    first_db: float = 30.0
    second_db: float = 60.0
    frame_seconds: float = 2048 / 44100
    hop_seconds: float = 512 / 44100


@dataclass(frozen=True)
class Corruption:
    """How much label noise `selfrefine.clips.corruption` makes.

    `swapped_songs` is the share of songs in which two random stems change names, `moved_tracks`
    the chance of a track to move into a random other class, `bleeding_stems` the chance of a stem
    to leak into another one at a level drawn from `bleed_db` (dB, relative to itself). The
    defaults leave about a third of the stem files wrong, as hand-made cleaning lists found in the
    real label-noise set. `misfiled_stretches` is the chance of a stem to lose a stretch, as long
    as drawn from `stretch_seconds` (s), to another stem of its song.
    """

    swapped_songs: float = 0.4
    moved_tracks: float = 0.08
    bleeding_stems: float = 0.3
    bleed_db: tuple[float, float] = (-36.0, -24.0)
    misfiled_stretches: float = added(0.0, as_before=0.0)
    stretch_seconds: tuple[float, float] = added((3.0, 8.0), as_before=(3.0, 8.0))
