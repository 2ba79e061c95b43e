"""What a GPU would compute agrees with what the CPU computes, as far as this can be checked without
one: its functions run on tensors of the CPU, its kernels in Triton's interpreter."""

import dataclasses

import pytest
import torch

from selfrefine.audio import effect_chain
from selfrefine.clips.audio_set import AudioSet
from selfrefine.mixing import random_mixing as mixing
from selfrefine.mixing import source_bank
from selfrefine.mixing.random_mixing import class_candidates, draw_mixtures
from selfrefine.mixing.separation_batch import draw_separation_batch, separation_candidates
from selfrefine.mixing.source_bank import SourceBank
from selfrefine.mixing.stem_pool import (
    StemPool,
    gather_segments,
    index_segments,
    load_pool,
    place_on_device,
)
from selfrefine.settings import PAPER_XUMX, ClassifierSettings
from tests.conftest import RATE, interpreted

SETTINGS = ClassifierSettings(
    sample_rate=RATE, segment=1500, fft=512, hop=256, batch=4, source_uses=3
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pool(tone_stems: AudioSet) -> StemPool:
    """A pool of stems, one of which is shorter than a segment."""
    clips = (dataclasses.replace(tone_stems.clips[0], length=700), *tone_stems.clips[1:])
    return load_pool(dataclasses.replace(tone_stems, clips=clips), torch.device("cpu"))


def indexed(
    pool: StemPool, clips: torch.Tensor, offsets: torch.Tensor, segment: int
) -> torch.Tensor:
    return index_segments(pool, pool.frames, clips, offsets, segment)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for module in (mixing, source_bank):
        monkeypatch.setattr(module, "gather_segments", indexed)
    monkeypatch.setattr(effect_chain, "_apply_on_cpu", effect_chain._apply_on_gpu)
    return monkeypatch


def assert_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    error = (found - expected).double().square().sum()
    assert 10 * torch.log10(expected.double().square().sum() / error) > 80


def test_indexing_segments_gives_what_copying_them_gives(pool: StemPool) -> None:
    clips, offsets = torch.tensor([0, 3, 5, 0]), torch.tensor([650, 0, 41000, 0])
    found = indexed(pool, clips, offsets, 2000)
    assert torch.equal(found, gather_segments(pool, clips, offsets, 2000))
    assert found.is_contiguous()


@interpreted
def test_mixtures_are_the_same(pool: StemPool, as_on_a_gpu: pytest.MonkeyPatch) -> None:
    def draw() -> torch.Tensor:
        candidates = class_candidates(pool)
        return draw_mixtures(pool, candidates, SETTINGS, 4, generator(), SETTINGS.effects).audio

    found = draw()
    as_on_a_gpu.undo()
    assert_alike(found, draw())


@interpreted
def test_mixtures_of_a_bank_are_the_same(pool: StemPool, as_on_a_gpu: pytest.MonkeyPatch) -> None:
    def draw() -> torch.Tensor:
        bank = SourceBank(pool, class_candidates(pool), SETTINGS, 0)
        return bank.draw_mixtures(2, generator()).audio

    as_on_a_gpu.setattr(source_bank, "GROUPS", 2)
    found = draw()
    as_on_a_gpu.undo()
    as_on_a_gpu.setattr(source_bank, "GROUPS", 2)
    assert_alike(found, draw())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_draws_what_the_cpu_draws(tone_stems: AudioSet, resident: bool) -> None:
    on_cpu, on_gpu = (load_pool(tone_stems, torch.device(name)) for name in ("cpu", "cuda"))
    if resident:
        place_on_device(on_gpu, on_gpu.mapped.nbytes)
        assert on_gpu.frames.is_cuda
    separator = dataclasses.replace(PAPER_XUMX, sample_rate=RATE, segment=8000)

    def drawn(pool: StemPool) -> list[torch.Tensor]:
        candidates = class_candidates(pool)
        mixed = draw_mixtures(pool, candidates, SETTINGS, 4, generator(), SETTINGS.effects)
        reused = SourceBank(pool, candidates, SETTINGS, 0).draw_mixtures(2, generator())
        separated = draw_separation_batch(
            pool, separation_candidates(pool), separator, 6, 0.4, generator()
        )
        return [mixed.audio, reused.audio, separated.mixture, separated.targets]

    for found, expected in zip(drawn(on_gpu), drawn(on_cpu), strict=True):
        assert_alike(found.cpu(), expected)
