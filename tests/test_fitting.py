"""A training whose memory runs out at some steps ends in the same weights as one that has enough,
and values that are not finite never reach a checkpoint. The errors are injected, since a CPU has
enough memory.
"""

import dataclasses
import errno
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from torch import nn

from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.mixing.stem_pool import StemPool, load_pool, place_on_device, take_back
from selfrefine.models.weights import read_weights, save_tensors
from selfrefine.progress import Progress
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    XUMX,
    ClassifierSettings,
    ConvNeXt,
    HDemucs,
    SeparatorSettings,
)
from selfrefine.training import checkpoint, classifier, loop, precision, separator, warm_up
from selfrefine.training.classifier import train_classifier
from selfrefine.training.device import memory_left
from selfrefine.training.drawing import Draws, drawn_batches
from selfrefine.training.fitting import Fitting
from selfrefine.training.gradients import Gradients
from selfrefine.training.history import History
from selfrefine.training.inspection import Inspect
from selfrefine.training.loop import Place
from selfrefine.training.memory import (
    is_out_of_memory,
    named_memory_errors,
    unless_out_of_memory,
)
from selfrefine.training.separator import train_separator
from selfrefine.training.task import Task
from tests.conftest import RATE

CPU = torch.device("cpu")
ITEMS = 6
SMALL = {"sample_rate": RATE, "segment": 8192, "steps": 5, "batch": ITEMS}
# Without batch normalisation, which sees a part at a time.
CLASSIFIER = ClassifierSettings(
    network=ConvNeXt((1, 1, 1, 1), (8, 16, 24, 32), 3, None, True, False, False),
    fft=512,
    hop=128,
    warmup_steps=0,
    **SMALL,
)
HDEMUCS_SETTINGS = dataclasses.replace(
    PAPER_HDEMUCS, network=HDemucs(channels=4, fft=256, depth=4), **SMALL
)
XUMX_SETTINGS = dataclasses.replace(
    PAPER_XUMX, network=XUMX(fft=512, hop=256, hidden=16, lstm_layers=2), **SMALL
)
Settings = ClassifierSettings | SeparatorSettings


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in float32: in bf16, the sum over a batch's parts would differ much by rounding."""
    monkeypatch.setattr(precision, "multiplies_in_bf16", lambda device: False)


def train(
    stems: AudioSet, settings: Settings, folder: Path, inspect: Inspect | None = None
) -> list[str]:
    """Trains into a folder. Returns the notes."""
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    place = Place(folder, CPU, progress=Progress(note=said.append), inspect=inspect)
    if isinstance(settings, ClassifierSettings):
        train_classifier(stems, settings, 7, place)
    else:
        train_separator(stems, settings, 7, place)
    return said


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "model.pt", weights_only=True)["model"]
    return found


def assert_same(left: Path, right: Path) -> None:
    pairs = [(name, value, weights(right)[name]) for name, value in weights(left).items()]
    assert [name for name, own, other in pairs if not torch.equal(own, other)] == []


class Scarce(torch.autograd.Function):
    """Passes values on. Runs out of memory in the backward pass where `when` returns true."""

    @staticmethod
    def forward(context, values, when: Callable[[], bool]):  # type: ignore[no-untyped-def]
        context.when = when
        return values.clone()

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        if context.when():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return gradient, None


def scarce(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, fits: int, step: int, backward: bool
) -> None:
    """From step `step` on, memory runs out with more than `fits` items at once."""
    module, name = (
        (classifier, "classification_loss")
        if isinstance(settings, ClassifierSettings)
        else (separator, "separation_loss")
    )
    plain = getattr(module, name)
    drawn = {"steps": 0}
    train_step = Fitting.fitted

    def fitted(self: Fitting, attempt: Callable[[int], torch.Tensor], at: int) -> torch.Tensor:
        drawn["steps"] = at
        return train_step(self, attempt, at)

    def loss(*arguments):  # type: ignore[no-untyped-def]
        # (model, mixture, …) or (logits, labels, …)
        items = arguments[1].shape[0]
        lacks = drawn["steps"] >= step and items > fits
        if lacks and not backward:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return Scarce.apply(plain(*arguments), lambda: lacks and backward)

    monkeypatch.setattr(Fitting, "fitted", fitted)
    monkeypatch.setattr(module, name, loss)


@pytest.mark.parametrize(
    ("settings", "backward"), [(CLASSIFIER, False), (CLASSIFIER, True), (HDEMUCS_SETTINGS, True)]
)
def test_memory_that_runs_out_at_the_first_step_trains_what_a_split_batch_does(
    settings: Settings,
    backward: bool,
    tone_stems: AudioSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SELFREFINE_ITEMS_AT_ONCE", "2")
        assert train(tone_stems, settings, tmp_path / "split") == []
    scarce(monkeypatch, settings, fits=2, step=0, backward=backward)
    (sentence,) = train(tone_stems, settings, tmp_path / "ran-out")
    assert "2 of a batch's 6 items go through the network together" in sentence
    assert "SELFREFINE_ITEMS_AT_ONCE=2" in sentence
    assert "normalisation" not in sentence
    assert_same(tmp_path / "split", tmp_path / "ran-out")


@pytest.mark.parametrize("settings", [CLASSIFIER, HDEMUCS_SETTINGS])
@pytest.mark.parametrize("backward", [False, True])
def test_memory_that_runs_out_in_the_middle_ends_in_the_whole_batchs_weights(
    settings: Settings,
    backward: bool,
    tone_stems: AudioSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(tone_stems, settings, tmp_path / "whole")
    scarce(monkeypatch, settings, fits=3, step=2, backward=backward)
    (sentence,) = train(tone_stems, settings, tmp_path / "ran-out")
    assert sentence.startswith("memory ran out at step 2: from here on 3 of")
    whole, ran_out = weights(tmp_path / "whole"), weights(tmp_path / "ran-out")
    for name, expected in whole.items():
        # Sums in another order; AdamW's steps make of them up to its rate where gradients are tiny.
        error = (ran_out[name] - expected).abs().max()
        assert error <= 0.05 * settings.learning_rate * settings.steps, name


def test_a_network_with_batch_normalisation_says_that_it_sees_a_part_at_a_time(
    tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SELFREFINE_ITEMS_AT_ONCE", "3")
        train(tone_stems, XUMX_SETTINGS, tmp_path / "split")
    scarce(monkeypatch, XUMX_SETTINGS, fits=3, step=0, backward=True)
    (sentence,) = train(tone_stems, XUMX_SETTINGS, tmp_path / "ran-out")
    assert "batch normalisation sees these alone" in sentence
    # The failed attempt had already counted in the running means.
    assert_same(tmp_path / "split", tmp_path / "ran-out")


def test_one_item_that_does_not_fit_ends_in_one_clear_error(
    tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce(monkeypatch, HDEMUCS_SETTINGS, fits=0, step=1, backward=False)
    with pytest.raises(InputError, match=r"one item of a batch; .*Tried to allocate 9 GiB"):
        train(tone_stems, HDEMUCS_SETTINGS, tmp_path)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("failures", [1, 2])
def test_a_look_that_runs_out_of_memory_costs_the_training_nothing(
    failures: int, tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    attempts: list[int] = []

    def inspect(model: nn.Module, step: int, steps: int) -> None:
        attempts.append(step)
        torch.manual_seed(step)
        if step == 3 and attempts.count(3) <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory")
        looked.append(step)

    train(tone_stems, CLASSIFIER, tmp_path / "alone")
    said = train(tone_stems, CLASSIFIER, tmp_path / "watched", inspect)
    assert looked == ([1, 2, 3, 4, 5] if failures == 1 else [1, 2, 4, 5])
    assert said == ([] if failures == 1 else ["not looked at after step 3: memory ran out"])
    assert_same(tmp_path / "alone", tmp_path / "watched")


@pytest.mark.parametrize("ahead", ["0", "1"])
def test_a_batch_that_did_not_fit_is_drawn_again_without_the_stems_on_the_gpu(
    ahead: str, tone_stems: AudioSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", ahead)
    pool = elsewhere(load_pool(tone_stems, CPU))
    drawn: list[tuple[int, bool, float]] = []

    def draw(step: int, generator: torch.Generator) -> float:
        drawn.append((step, pool.elsewhere, float(torch.rand((), generator=generator))))
        if step == 1 and pool.elsewhere:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return drawn[-1][2]

    with drawn_batches(Draws(draw, pool, 0, CPU), range(3)) as batches:
        found = [*batches]
    places = [(step, there) for step, there, _ in drawn]
    assert places == [(0, True), (1, True), (1, False), (2, False)]
    assert found == [drawn[0][2], drawn[1][2], drawn[-1][2]]
    assert len({number for step, _, number in drawn if step == 1}) == 1

    def never(step: int, generator: torch.Generator) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with (
        pytest.raises(InputError, match="does not hold one batch beside the network"),
        drawn_batches(Draws(never, pool, 0, CPU), range(3)) as batches,
    ):
        next(batches)


def test_batches_that_never_fit_ahead_are_soon_drawn_in_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", "1")
    failed: list[int] = []

    def draw(step: int, generator: torch.Generator) -> int:
        if threading.current_thread() is not threading.main_thread():
            failed.append(step)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step

    with drawn_batches(Draws(draw, None, 0, CPU), range(5)) as batches:
        assert [*batches] == [0, 1, 2, 3, 4]
    assert failed == [0]
    assert [record.getMessage() for record in caplog.records] == [
        "memory does not hold a batch that is drawn ahead: batches are drawn in turn"
    ]


def elsewhere(pool: StemPool) -> StemPool:
    """The pool, as if its samples were on a GPU."""
    pool.frames = pool.mapped.clone()
    return pool


def test_the_stems_leave_the_gpu_before_a_batch_is_split(tone_stems: AudioSet) -> None:
    pool = elsewhere(load_pool(tone_stems, CPU))
    said: list[str] = []
    tried: list[tuple[int, bool]] = []

    def attempt(at_once: int) -> torch.Tensor:
        tried.append((at_once, pool.elsewhere))
        if pool.elsewhere or at_once > 4:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return torch.ones(())

    fitting = Fitting(nn.Linear(1, 1), pool, 8, 8, CPU, said.append)
    assert fitting.fitted(attempt, 3) == 1
    assert tried == [(8, True), (8, False), (4, False)]
    assert said == [
        "memory ran out: the stems stay on the host, and the step is repeated",
        "memory ran out at step 3: from here on 4 of a batch's 8 items go through the network "
        "together; SELFREFINE_ITEMS_AT_ONCE=4 begins so",
    ]
    assert not take_back(pool)


def test_stems_go_where_they_fit_and_a_tenth_of_the_memory_stays_free(
    tone_stems: AudioSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3000, 10000))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 5000)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4400)
    # 600 were in use and given back: a step will want them again.
    assert memory_left(torch.device("cuda")) == 1400
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (500, 10000))
    assert memory_left(torch.device("cuda")) == 0
    pool = load_pool(tone_stems, torch.device("meta"))
    place_on_device(pool, pool.mapped.nbytes - 1)
    assert not pool.elsewhere
    place_on_device(pool, pool.mapped.nbytes)
    assert pool.frames.device.type == "meta"


def test_warming_up_a_gpu_places_the_stems_and_leaves_the_network_as_it_was(
    tone_stems: AudioSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test runs on a CPU that is treated as a GPU."""
    pool = load_pool(tone_stems, torch.device("meta"))
    monkeypatch.setattr(warm_up, "free_memory", lambda device: None)
    monkeypatch.setattr(warm_up, "memory_left", lambda device: pool.mapped.nbytes)
    monkeypatch.setattr(warm_up, "seconds_of_a_draw", lambda draws, step: 0.25 * step)
    drawn: list[tuple[int, bool]] = []

    def draw(step: int, generator: torch.Generator) -> torch.Tensor:
        drawn.append((step, pool.elsewhere))
        return torch.randn(ITEMS, 3, generator=generator)

    def loss(model: nn.Module, part: torch.Tensor, step: int) -> torch.Tensor:
        return model(part).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = Task(draw, lambda batch, at_once: [(batch, 1.0)], loss, lambda batch: [], ITEMS, pool)
    gradients = Gradients(model, task, 0, CPU, short=False)
    fitting = Fitting(model, pool, ITEMS, ITEMS, CPU, lambda sentence: None)
    draws = Draws(draw, pool, 0, torch.device("cuda"))
    assert warm_up.warm_up(draws, gradients, fitting, 3) == 1.0
    assert drawn == [(3, False)]
    assert pool.elsewhere
    after = model.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
    assert all(weight.grad is None for weight in model.parameters())
    assert warm_up.warm_up(Draws(draw, pool, 0, CPU), gradients, fitting, 3) == 0.0


def test_only_what_says_that_memory_ran_out_is_taken_for_it() -> None:
    def fail(error: Exception) -> None:
        raise error

    assert unless_out_of_memory(lambda: 3) == (3,)
    for words in (
        "CUDA error: out of memory\nmore",
        "cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when",
        "FIND was unable to find an engine to execute this computation",
    ):
        assert is_out_of_memory(RuntimeError(words))
        assert unless_out_of_memory(lambda words=words: fail(RuntimeError(words))) is None
    for error in (RuntimeError("shapes do not match"), ValueError("CUDA out of memory")):
        with pytest.raises(type(error)):
            unless_out_of_memory(lambda error=error: fail(error))


def fail_for_memory(work: Callable[[], object]) -> None:
    with named_memory_errors():
        work()


def test_what_a_host_says_when_memory_runs_out_is_recognised_and_has_a_remedy() -> None:
    for allocate in (lambda: torch.empty(2**60), lambda: np.empty(2**50)):
        assert unless_out_of_memory(allocate) is None
        with pytest.raises(InputError, match=r"memory ran out .*SELFREFINE_ITEMS_AT_ONCE=1"):
            fail_for_memory(allocate)
    with pytest.raises(RuntimeError, match="size of tensor"):
        fail_for_memory(lambda: torch.ones(2) + torch.ones(3))


def test_what_is_not_finite_reaches_no_checkpoint_though_losses_are_read_late(
    tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are read every twenty steps, as on a GPU. The stems of step 3 are broken."""
    steps = 40
    monkeypatch.setitem(loop.STEPS_A_REPORT, "cpu", 20)
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")
    settings = dataclasses.replace(CLASSIFIER, steps=steps, batch=2)
    saved: list[int] = []
    plain = checkpoint.save_checkpoint

    def save(
        path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, more: dict[str, Any]
    ) -> None:
        assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
        saved.append(more["step"])
        plain(path, model, optimiser, more)

    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    train_loop = loop.train
    broken: list[str] = []

    def with_a_broken_batch(model, task, schedule, seed, place):  # type: ignore[no-untyped-def]
        def draw(step: int, generator: torch.Generator):  # type: ignore[no-untyped-def]
            batch = task.draw(step, generator)
            if step != 3:
                return batch
            broken.extend(task.sources(batch))
            return dataclasses.replace(batch, inputs=batch.inputs * float("nan"))

        return train_loop(model, dataclasses.replace(task, draw=draw), schedule, seed, place)

    monkeypatch.setattr(classifier, "train", with_a_broken_batch)
    with pytest.raises(InputError, match="at step 3; look for") as caught:
        train(tone_stems, settings, tmp_path)
    named = str(caught.value).split("rate: ")[1].split(", ")
    assert named == sorted(set(broken))
    assert saved == [1, 2, 3]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_losses_that_are_read_late_are_reported_as_means_of_all_their_steps(
    tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: dict[int, list[tuple[int, float]]] = {1: [], 3: []}
    for every, reports in heard.items():
        monkeypatch.setitem(loop.STEPS_A_REPORT, "cpu", every)
        folder = tmp_path / str(every)
        folder.mkdir()
        place = Place(folder, CPU, Progress(step=lambda r, to=reports: to.append((r.step, r.loss))))
        train_classifier(tone_stems, CLASSIFIER, 0, place)
    single = [loss for _, loss in heard[1]]
    assert heard[3] == [
        (3, pytest.approx(sum(single[:3]) / 3)),
        (5, pytest.approx(sum(single[3:]) / 2)),
    ]


def test_a_disk_that_is_full_ends_in_one_clear_error_and_keeps_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    save_tensors({"model": {"weight": torch.ones(3)}}, path)
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
    ):

        def save(state: object, file: BinaryIO, error: Exception = error) -> None:
            file.write(b"some of it")
            raise error

        monkeypatch.setattr(torch, "save", save)
        with pytest.raises(InputError, match=r"model\.pt: cannot be written.*; free space"):
            save_tensors({"model": torch.zeros(3)}, path)
    assert [*tmp_path.iterdir()] == [path]
    assert torch.equal(read_weights(path)["weight"], torch.ones(3))


def test_a_training_removes_what_a_killed_one_left_half_written(
    tone_stems: AudioSet, tmp_path: Path
) -> None:
    for name in ("checkpoint.pt.17.partial", "model.pt.18.partial"):
        (tmp_path / name).write_bytes(b"half")
    train(tone_stems, dataclasses.replace(CLASSIFIER, steps=1), tmp_path)
    assert "model.pt" in [each.name for each in tmp_path.iterdir()]
    assert not [*tmp_path.glob("*.partial")]


def test_checkpoints_take_a_fiftieth_of_the_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [0.0]
    monkeypatch.delenv("SELFREFINE_CHECKPOINT_SECONDS", raising=False)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def save(*arguments: object) -> None:
        now[0] += 4.0

    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    large = nn.Linear(1, 1)
    large.weight = nn.Parameter(torch.empty(83_600_000, 1, device="meta"))
    optimiser = torch.optim.SGD([large.bias], 1.0)
    checkpoints = checkpoint.Checkpoints(tmp_path, large, optimiser, {})
    # Three copies of 334 MB at 500 MB/s: 2 s, so the first comes after 100 s.
    saves = []
    while now[0] < 2000:
        if checkpoints.due():
            checkpoints.save(0, History())
            saves.append(now[0])
        now[0] += 1.0
    assert saves[0] == pytest.approx(105, abs=2)
    gaps = [later - earlier for earlier, later in itertools.pairwise(saves)]
    assert gaps == pytest.approx([205.0] * len(gaps), abs=2)
    small = checkpoint.Checkpoints(tmp_path, nn.Linear(1, 1), optimiser, {})
    assert not small.due()
    now[0] += 20.5
    assert small.due()
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")
    always = checkpoint.Checkpoints(tmp_path, large, optimiser, {})
    now[0] += 0.1
    assert always.due()
