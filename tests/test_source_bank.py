"""Sources with effects that are used in several mixtures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.mixing import source_bank
from selfrefine.mixing.random_mixing import Mixtures, class_candidates
from selfrefine.mixing.source_bank import GROUPS, SourceBank
from selfrefine.mixing.stem_pool import load_pool
from selfrefine.randomness import generator_for
from selfrefine.settings import ClassifierSettings, EffectRanges
from tests.conftest import CLASS_TONES, RATE

SETTINGS = ClassifierSettings(
    sample_rate=RATE, segment=4096, fft=1024, hop=512, batch=8, source_uses=4
)
ONLY_GAIN = EffectRanges(
    compressor_threshold=(0.0, 0.0),
    compressor_ratio=(1.0, 1.0),
    reverb_wet=(0.0, 0.0),
    reverb_dry=(1.0, 1.0),
    imager_balance=(1.0, 1.0),
)


def bank_of(stems: AudioSet, settings: ClassifierSettings = SETTINGS, seed: int = 0) -> SourceBank:
    pool = load_pool(stems, torch.device("cpu"))
    return SourceBank(pool, class_candidates(pool), settings, seed)


def drawn(bank: SourceBank, step: int) -> Mixtures:
    return bank.draw_mixtures(step, generator_for(0, step))


def energy_at(audio: torch.Tensor, frequency: float) -> torch.Tensor:
    """The power from `frequency` (Hz) to 2% above it, in the left channel of audio
    `(batch, channel, sample)`."""
    window = torch.hann_window(audio.shape[-1])
    spectrum = torch.fft.rfft(audio[:, 0] * window).abs().square()
    middle = round(frequency * audio.shape[-1] / RATE)
    return spectrum[:, middle - 2 : round(1.02 * middle) + 3].sum(dim=1)


def test_a_mixtures_label_names_exactly_what_sounds_in_it(tone_stems: AudioSet) -> None:
    bank = bank_of(tone_stems, dataclasses.replace(SETTINGS, effects=ONLY_GAIN))
    for step in range(20):
        mixtures = drawn(bank, step)
        for c, name in enumerate(CLASSES):
            sounds = energy_at(mixtures.audio, CLASS_TONES[name]) > 1e3
            assert (sounds == (mixtures.labels[:, c] > 0)).all()


@pytest.mark.parametrize("uses", [2, 4, 7])
def test_a_source_goes_into_as_many_mixtures_as_asked_on_average(
    tone_stems: AudioSet, monkeypatch: pytest.MonkeyPatch, uses: int
) -> None:
    made: list[int] = []
    apply = source_bank.effected

    def counted(sources: torch.Tensor, *rest: object) -> torch.Tensor:
        made.append(len(sources))
        return apply(sources, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(source_bank, "effected", counted)
    bank = bank_of(tone_stems, dataclasses.replace(SETTINGS, segment=512, source_uses=uses))
    used = sum(len(drawn(bank, step).clips) for step in range(300))
    assert used / sum(made[GROUPS:]) == pytest.approx(uses, rel=0.06)


def test_each_use_has_a_gain_and_a_polarity_of_its_own(tmp_path: Path) -> None:
    # One stem, as long as a segment: every mixture is that stem, louder or softer, maybe inverted.
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, SETTINGS.segment), dtype=np.float32)
    with AudioSetWriter(tmp_path / "one", RATE) as writer:
        writer.add("song", "bass", ("bass",), noise)
    stems = open_audio_set(tmp_path / "one")
    bank = bank_of(stems, dataclasses.replace(SETTINGS, effects=ONLY_GAIN))
    stem = torch.from_numpy(stems.audio(stems.clips[0]))
    audio = torch.cat([drawn(bank, step).audio for step in range(30)])
    gains = (audio * stem).sum(dim=(1, 2)) / stem.square().sum()
    torch.testing.assert_close(audio, gains[:, None, None] * stem, rtol=0, atol=1e-5)
    decibels = 20 * torch.log10(gains.abs())
    low, high = ONLY_GAIN.gain
    assert low - 1e-3 <= decibels.min() < low + 1
    assert high - 1 < decibels.max() <= high + 1e-3
    assert gains.sign().mean().abs() < 0.2
    assert len(gains.unique()) == len(gains)


def test_a_step_is_the_same_whatever_was_drawn_before_it(tone_stems: AudioSet) -> None:
    long, fresh = bank_of(tone_stems), bank_of(tone_stems)
    for step in range(40):
        before = drawn(long, step)
    late = drawn(fresh, 39)
    assert torch.equal(before.audio, late.audio)
    assert torch.equal(before.clips, late.clips)
    early = drawn(fresh, 3)
    assert torch.equal(early.audio, drawn(bank_of(tone_stems), 3).audio)


def test_other_seeds_have_other_sources(tone_stems: AudioSet) -> None:
    first, second = (bank_of(tone_stems, seed=seed) for seed in (1, 2))
    assert not torch.equal(drawn(first, 0).audio, drawn(second, 0).audio)


def test_a_class_without_stems_is_never_drawn(tone_stems: AudioSet) -> None:
    clips = tuple(clip for clip in tone_stems.clips if clip.name != "drums")
    bank = bank_of(dataclasses.replace(tone_stems, clips=clips))
    labels = torch.cat([drawn(bank, step).labels for step in range(10)])
    assert (labels[:, CLASSES.index("drums")] == 0).all()
    assert labels.any(dim=1).all()


def test_a_multi_labelled_source_gives_the_mixture_all_its_labels(tone_stems: AudioSet) -> None:
    both = ("bass", "drums")
    clips = tuple(dataclasses.replace(clip, label=both) for clip in tone_stems.clips)
    bank = bank_of(dataclasses.replace(tone_stems, clips=clips))
    expected = torch.tensor([float(name in both) for name in CLASSES])
    assert (drawn(bank, 0).labels == expected).all()
