"""Every number of the method, with the paper's values as defaults.

"The paper" is Koo et al., "Self-refining of Pseudo Labels for Music Source Separation with Noisy
Labeled Data", ISMIR 2023. Where the paper does not give a value, its source is stated. The settings
are plain frozen dataclasses and do not import torch, so that an experiment can be named, hashed and
planned without loading a network.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from selfrefine.errors import InputError

SAMPLE_RATE = 44100
"""In Hz. Both data sets of the paper are 44.1 kHz stereo (section 4.1)."""


Range = tuple[float, float]


def added(default: Any, *, as_before: Any) -> Any:
    """A dataclass field that was added after results were published.

    With the value `as_before`, everything is computed as it was without the field. An experiment's
    identity then omits the field, so that earlier results are still found.
    """
    return field(default=default, metadata={"as_before": as_before})


# Limits of each effect; a range must lie within them.
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

    The order of the effects is the paper's (section 3.1.1). The ranges are those of the public code
    of the paper's reference [3] (music mixing style transfer). To fix a parameter, give the same
    value twice. Raises InputError for a range that is empty or outside the effect's limits.
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
    imager_balance: Range = (0.0, 2.0)  # 0: mono, 1: unchanged, 2: only side
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
"""Effects that change the signal less than those of `EffectRanges()`.

The numbers of `EffectRanges()` are those of the public code of the paper's reference [3], but that
code has other effects: its reverb's combs have no feedback, and its compressor's time constants are
2 pi times those of JUCE at the same numbers. The table gives medians over draws at 44.1 kHz, for
the reverb on a click in both channels, and for the compressor on 3 s of 105 real stems and tracks:

                                                  [3]     EffectRanges()     LIGHTER_EFFECTS
    reverberation time                          .15 s             1.05 s               .72 s
    energy after .15 s, to all energy          -42 dB             -13 dB              -29 dB
    reverberation, to the dry sound            5.4 dB            -1.4 dB            -17.8 dB
    reduction by the compressor of the
      level's deviation (20 ms frames)         1.1 dB             3.0 dB               .0 dB

The tail and the compressor are thus closer to those of [3] than with `EffectRanges()`, and the
echoes before .15 s are farther. JUCE's reverb rings for .6 s or longer; if it were as wet as that
of [3], its tail would be too strong.
"""


@dataclass(frozen=True)
class ConvNeXt:
    """timm's ConvNeXt on a two-channel magnitude spectrogram, one logit per class.

    The defaults are ConvNeXt-Tiny with 27,821,668 parameters (section 4.2). Small networks learn in
    minutes only with batch normalisation, an overlapping first layer (timm's "stem") and the
    frequency axis kept up to the head (docs/log.md).
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

    `segment` (131,072 samples are 2.97 s), `fft` (window) and `hop` are in samples. `mix_chance` is
    the probability of each class in a random mixture, before empty mixtures are drawn again. With
    `steps` of None the training takes `epochs`; an epoch has as many draws as segments fit into the
    longest class. `selfrefine.training.schedule` explains `warmup_steps` and `final_rate`.

    `bce_share` is the share of the steps, from the first, whose loss is the binary cross-entropy;
    the paper trains with the mean absolute error alone and saw no difference.

    `source_uses` is the average number of mixtures that use a source with its effects
    (`selfrefine.mixing.source_bank`); the first and the last sources are used less. At 1 every
    mixture has sources of its own.
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
    """CrossNet-Open-Unmix (X-UMX): four Open-Unmix branches connected by two averages.

    The layer sizes are those of the public X-UMX recipes. `fft` (window) and `hop` are in samples.
    `bandwidth_hz` limits the network's input, not its output. The loss is the mean squared error on
    magnitudes (section 4.2), without X-UMX's multi-domain and combination losses.
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
    """Hybrid Demucs (Demucs v3) as torchaudio builds it, with 83.6 M parameters by default.

    The loss is the mean absolute error in the time domain (section 4.2). `fft` (window) is in
    samples. Inference takes windows of `inference_seconds` that overlap by the share
    `inference_overlap`.
    """

    channels: int = 48
    fft: int = 4096
    depth: int = 6
    inference_seconds: float = 12.0
    inference_overlap: float = 0.25


@dataclass(frozen=True)
class SeparatorSettings:
    """A separator's training (section 4.2). `segment` is in samples.

    `multi_chance` is the probability that a mixture has a multi-labelled source. `single_share` is
    the share of the steps, from the first, that draw none: 0 is the paper's proposal, 1 its row
    "train only w/ single-labeled", 11/30 its row "+ finetune w/ multi-labeled".

    Gains (linear) and channel swaps are those of Demucs' recipe. With `sign_flip` every source is
    inverted with probability 1/2, as in that recipe. The recipe's repitch (another pitch and tempo
    for a fifth of the segments) is left out.

    With `kept_shares` the largest losses of each class in a batch are dropped, since wrong labels
    are likely to have them (`selfrefine.models.grouped_loss.truncated_loss`). The shares that are
    kept take equal parts of the training in turn. With `kept_relative` losses are compared after
    division by the target's own level.
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
    kept_shares: tuple[float, ...] = added((), as_before=())
    kept_relative: bool = added(False, as_before=False)


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

    A class is in the label set if its probability, averaged over the stem's windows, is at least
    its threshold. With four windows per segment, windows overlap by three quarters. The paper does
    not say what to do with a stem where no class reaches its threshold. With `most_probable` the
    stem gets its most probable class, which refines better (docs/log.md); otherwise it is dropped.
    """

    threshold: float = 0.9
    windows_per_segment: int = 4
    most_probable: bool = True


SURE = 0.6
"""With a started classifier, another label set replaces a stem's given one if, of the two, it is
right with this probability or more."""


@dataclass(frozen=True)
class SilenceRemoval:
    """Silence removal in two passes (section 4.1).

    Each pass cuts the frames that are more than `first_db` or `second_db` (dB) below the loudest
    frame, and joins the rest. The frames (s) are those of librosa's splitting at 44.1 kHz.
    """

    first_db: float = 30.0
    second_db: float = 60.0
    frame_seconds: float = 2048 / 44100
    hop_seconds: float = 512 / 44100


@dataclass(frozen=True)
class Corruption:
    """How much label noise `selfrefine.clips.corruption` makes.

    `swapped_songs` is the probability that two random stems of a song change names.
    `moved_tracks` is the probability that a track moves into a random other class.
    `bleeding_stems` is the probability that a stem leaks into another one, at a level drawn from
    `bleed_db` (dB, relative to itself). Where two stems have changed names, `swapped_twice` is the
    probability that the other two have, too. `misfiled_stretches` is the probability that a stretch
    of a stem, of a length drawn from `stretch_seconds` (s), moves to another stem of the song.

    With the defaults about a third of the stem files are wrong, as in the real label-noise set
    according to manual cleaning lists.
    """

    swapped_songs: float = 0.4
    moved_tracks: float = 0.08
    bleeding_stems: float = 0.3
    bleed_db: tuple[float, float] = (-36.0, -24.0)
    misfiled_stretches: float = added(0.0, as_before=0.0)
    stretch_seconds: tuple[float, float] = added((3.0, 8.0), as_before=(3.0, 8.0))
    swapped_twice: float = added(0.0, as_before=0.0)
