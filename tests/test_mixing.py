"""Drawing random mixtures and batches for separation."""

import dataclasses

import numpy as np
import pedalboard
import pytest
import torch

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.mixing.random_mixing import choose_classes, class_candidates, draw_mixtures
from selfrefine.mixing.separation_batch import (
    draw_separation_batch,
    draw_sources,
    separation_candidates,
)
from selfrefine.mixing.stem_pool import draw_segments, gather_segments, load_pool
from selfrefine.settings import PAPER_XUMX, ClassifierSettings, SeparatorSettings
from tests.conftest import CLASS_TONES, RATE

CPU = torch.device("cpu")
SETTINGS = ClassifierSettings(sample_rate=RATE, segment=16384, fft=1024, hop=512)
SEPARATOR = dataclasses.replace(PAPER_XUMX, sample_rate=RATE, segment=16384)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def energy_at(audio: torch.Tensor, frequency: float) -> torch.Tensor:
    """The power near `frequency` (Hz) in the left channel of audio `(batch, channel, sample)`."""
    spectrum = torch.fft.rfft(audio[:, 0]).abs().square()
    middle = round(frequency * audio.shape[-1] / RATE)
    return spectrum[:, middle - 3 : middle + 40].sum(dim=1)


@pytest.mark.parametrize("chance", [0.3, 0.5])
def test_each_class_is_as_prevalent_as_redrawing_empty_mixtures_makes_it(chance: float) -> None:
    chosen = choose_classes(20000, torch.ones(4, dtype=torch.bool), chance, generator())
    expected = chance / (1 - (1 - chance) ** 4)
    assert chosen.any(dim=1).all()
    # 20,000 draws: the share's standard deviation is .0035.
    np.testing.assert_allclose(chosen.float().mean(dim=0), expected, atol=0.015)


def test_an_empty_class_is_never_chosen() -> None:
    available = torch.tensor([True, False, True, True])
    chosen = choose_classes(500, available, 0.5, generator())
    assert not chosen[:, 1].any()
    assert chosen.any(dim=1).all()


def test_a_mixtures_label_names_exactly_what_sounds_in_it(tone_stems: AudioSet) -> None:
    pool = load_pool(tone_stems, CPU)
    mixtures = draw_mixtures(pool, class_candidates(pool), SETTINGS, 40, generator(), None)
    for c, name in enumerate(CLASSES):
        sounds = energy_at(mixtures.audio, CLASS_TONES[name]) > 1e4
        assert (sounds == (mixtures.labels[:, c] > 0)).all()


def test_a_multi_labelled_source_gives_the_mixture_all_its_labels(tone_stems: AudioSet) -> None:
    both = ("bass", "drums")
    clips = tuple(dataclasses.replace(clip, label=both) for clip in tone_stems.clips)
    pool = load_pool(dataclasses.replace(tone_stems, clips=clips), CPU)
    mixtures = draw_mixtures(pool, class_candidates(pool), SETTINGS, 20, generator(), None)
    assert (mixtures.labels == torch.tensor([0.0, 1.0, 1.0, 0.0])).all()


def test_segments_are_drawn_in_proportion_to_length(tone_stems: AudioSet) -> None:
    first, second = tone_stems.clips[0], tone_stems.clips[4]
    clips = (first, dataclasses.replace(second, length=first.length // 4))
    pool = load_pool(dataclasses.replace(tone_stems, clips=clips), CPU)
    drawn, offsets = draw_segments(pool, torch.tensor([0, 1]), 4000, 1000, generator())
    assert (drawn == 0).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (offsets + 1000 <= pool.lengths[drawn]).all()


def test_a_clip_is_drawn_as_often_as_its_share_says(tone_stems: AudioSet) -> None:
    first, second = tone_stems.clips[0], tone_stems.clips[4]
    assert first.length == second.length
    shares = {(second.song, second.name): 0.25}
    stems = dataclasses.replace(tone_stems, clips=(first, second), draw_shares=shares)
    pool = load_pool(stems, CPU)
    drawn, _ = draw_segments(pool, torch.tensor([0, 1]), 4000, 1000, generator())
    assert (drawn == 0).float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_a_segment_is_the_clips_own_samples_and_a_short_clip_repeats(
    tone_stems: AudioSet,
) -> None:
    short = dataclasses.replace(tone_stems.clips[1], length=700)
    pool = load_pool(dataclasses.replace(tone_stems, clips=(tone_stems.clips[0], short)), CPU)
    segments = gather_segments(pool, torch.tensor([0, 1]), torch.tensor([1234, 650]), 1000)
    whole = tone_stems.audio(tone_stems.clips[0])
    np.testing.assert_allclose(segments[0], whole[:, 1234:2234], atol=1e-7)
    repeated = np.tile(tone_stems.audio(short), 3)
    np.testing.assert_allclose(segments[1], repeated[:, 650:1650], atol=1e-7)


def test_the_same_seed_draws_the_same_mixtures(tone_stems: AudioSet) -> None:
    pool = load_pool(tone_stems, CPU)
    candidates = class_candidates(pool)
    draws = [
        draw_mixtures(pool, candidates, SETTINGS, 6, generator(seed), SETTINGS.effects).audio
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_pedalboard_makes_the_same_mixtures_where_it_is_asked_for(
    tone_stems: AudioSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = load_pool(tone_stems, CPU)

    def draw() -> torch.Tensor:
        candidates = class_candidates(pool)
        return draw_mixtures(pool, candidates, SETTINGS, 4, generator(), SETTINGS.effects).audio

    ours = draw()
    calls: list[int] = []
    monkeypatch.setenv("SELFREFINE_EFFECTS", "pedalboard")
    compressor = pedalboard.Compressor
    monkeypatch.setattr(
        pedalboard, "Compressor", lambda *a, **k: (calls.append(1), compressor(*a, **k))[1]
    )
    torch.testing.assert_close(draw(), ours, atol=1e-4, rtol=0)
    assert calls
    monkeypatch.setenv("SELFREFINE_EFFECTS", "sox")
    with pytest.raises(InputError, match="SELFREFINE_EFFECTS=sox: give pedalboard"):
        draw()


def test_an_empty_stem_set_is_refused(tone_stems: AudioSet) -> None:
    pool = load_pool(dataclasses.replace(tone_stems, clips=()), CPU)
    with pytest.raises(InputError, match="no stem is left"):
        class_candidates(pool)


def with_multi(stems: AudioSet) -> AudioSet:
    """The same stems, where the first song's bass is labelled bass+drums."""
    clips = tuple(
        dataclasses.replace(clip, label=("bass", "drums"))
        if (clip.song, clip.name) == ("song0", "bass")
        else clip
        for clip in stems.clips
    )
    return dataclasses.replace(stems, clips=clips)


def test_multi_labelled_sources_come_with_the_paper_chance(tone_stems: AudioSet) -> None:
    pool = load_pool(with_multi(tone_stems), CPU)
    candidates = separation_candidates(pool)
    _, _, groups = draw_sources(pool, candidates, 4000, 0.4, 1000, generator())
    merged = groups.sum(dim=2).amax(dim=1) > 1
    assert merged.float().mean().item() == pytest.approx(0.4, abs=0.03)


def test_a_merged_target_leaves_its_classes_to_no_other_source(tone_stems: AudioSet) -> None:
    pool = load_pool(with_multi(tone_stems), CPU)
    candidates = separation_candidates(pool)
    clips, offsets, groups = draw_sources(pool, candidates, 50, 1.0, 1000, generator())
    expected = torch.eye(4)
    expected[1] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    expected[2] = 0.0
    assert (groups == expected).all()
    assert (clips[:, 2] == -1).all()
    assert (offsets[:, 2] == -1).all()
    assert (clips[:, [0, 1, 3]] >= 0).all()


def test_targets_sum_to_the_mixture_at_the_loudness_asked_for(tone_stems: AudioSet) -> None:
    import pyloudnorm

    settings = dataclasses.replace(SEPARATOR, loudness_lufs=-20.0)
    pool = load_pool(with_multi(tone_stems), CPU)
    batch = draw_separation_batch(
        pool, separation_candidates(pool), settings, 6, settings.multi_chance, generator()
    )
    np.testing.assert_allclose(batch.targets.sum(dim=1), batch.mixture, atol=1e-5)
    meter = pyloudnorm.Meter(RATE)
    for mixture in batch.mixture:
        assert meter.integrated_loudness(mixture.numpy().T) == pytest.approx(-20.0, abs=0.05)


def test_a_sign_flip_turns_half_of_the_sources_over_and_changes_nothing_else(
    tone_stems: AudioSet,
) -> None:
    pool = load_pool(with_multi(tone_stems), CPU)
    candidates = separation_candidates(pool)
    plain, flipped = (
        draw_separation_batch(
            pool,
            candidates,
            dataclasses.replace(SEPARATOR, sign_flip=sign_flip),
            32,
            SEPARATOR.multi_chance,
            generator(),
        )
        for sign_flip in (False, True)
    )
    # The mixtures' loudness may differ, so the targets' shapes are compared.
    sources = [batch.targets.flatten(0, 1).flatten(1) for batch in (plain, flipped)]
    cosines = torch.cosine_similarity(*sources)[sources[0].abs().amax(dim=1) > 0]
    np.testing.assert_allclose(cosines.abs(), 1.0, atol=1e-4)
    assert 0.35 < (cosines < 0).float().mean() < 0.65
    np.testing.assert_allclose(flipped.targets.sum(dim=1), flipped.mixture, atol=1e-5)


def test_a_class_without_single_labelled_stems_is_a_silent_target(tone_stems: AudioSet) -> None:
    clips = tuple(clip for clip in tone_stems.clips if clip.name != "vocals")
    pool = load_pool(dataclasses.replace(tone_stems, clips=clips), CPU)
    batch = draw_separation_batch(pool, separation_candidates(pool), SEPARATOR, 4, 0.0, generator())
    assert batch.targets[:, 0].abs().max() == 0
    assert (batch.targets[:, 1:].abs().amax(dim=(2, 3)) > 0).all()


def test_separator_settings_say_the_papers_numbers() -> None:
    assert (PAPER_XUMX.multi_chance, PAPER_XUMX.loudness_lufs) == (0.4, -14.0)
    assert isinstance(PAPER_XUMX, SeparatorSettings)
    assert (PAPER_XUMX.segment, PAPER_XUMX.batch, PAPER_XUMX.steps) == (6 * 44100, 32, 56400)
