"""Trainings on a GPU, at the paper's sizes: kills, memory, waiting, and agreement with the CPU."""

import dataclasses
import multiprocessing
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.models.classifier import build_classifier, magnitudes
from selfrefine.models.recurrent import Float32LSTM
from selfrefine.models.separator import build_separator, separation_loss
from selfrefine.models.xumx import CrossNet
from selfrefine.progress import Progress, StepReport
from selfrefine.scales import MINI
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    SAMPLE_RATE,
    ClassifierSettings,
    SeparatorSettings,
)
from selfrefine.training.checkpoint import Checkpoints
from selfrefine.training.classifier import classification_loss, train_classifier
from selfrefine.training.device import prepare
from selfrefine.training.loop import Place, Trained
from selfrefine.training.precision import autocast
from selfrefine.training.separator import train_separator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

GPU = torch.device("cuda")
STEPS = 40
Settings = ClassifierSettings | SeparatorSettings
PAPER: dict[str, Settings] = {
    "classifier": dataclasses.replace(ClassifierSettings(), steps=STEPS, warmup_steps=5),
    "xumx": dataclasses.replace(PAPER_XUMX, steps=STEPS),
    "hdemucs": dataclasses.replace(PAPER_HDEMUCS, steps=STEPS),
}
SMALL: dict[str, Settings] = {
    "classifier": dataclasses.replace(MINI.classifier, steps=STEPS, source_uses=1),
    "xumx": dataclasses.replace(MINI.xumx, steps=STEPS),
    "hdemucs": dataclasses.replace(MINI.hdemucs, steps=STEPS),
}


class Killed(Exception):
    """Stands for a kill in the middle of a training."""


def noise_stems(folder: Path, rate: int) -> AudioSet:
    """Two songs of noise that comes and goes, 20 s long. In each, one stem has two classes."""
    rng = np.random.default_rng(0)
    swell = np.abs(np.sin(3 * np.arange(20 * rate) / rate)).astype(np.float32)
    with AudioSetWriter(folder, rate) as writer:
        for song in range(2):
            for label in [*((name,) for name in CLASSES), CLASSES[1:3]]:
                noise = rng.standard_normal((2, len(swell)), dtype=np.float32)
                writer.add(f"song{song}", "+".join(label), tuple(label), 0.1 * swell * noise)
    return open_audio_set(folder)


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> AudioSet:
    return noise_stems(tmp_path_factory.mktemp("stems"), SAMPLE_RATE)


@pytest.fixture(scope="module")
def small_stems(tmp_path_factory: pytest.TempPathFactory) -> AudioSet:
    return noise_stems(tmp_path_factory.mktemp("small"), MINI.xumx.sample_rate)


@pytest.fixture(autouse=True)
def fresh_memory() -> Iterator[None]:
    prepare(GPU)
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def train(stems: AudioSet, settings: Settings, place: Place) -> Trained:
    if isinstance(settings, ClassifierSettings):
        return train_classifier(stems, settings, 3, place)
    return train_separator(stems, settings, 3, place)


@pytest.mark.parametrize("name", PAPER)
def test_forty_steps_at_the_papers_size_survive_a_kill_with_finite_losses(
    name: str, stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[StepReport] = []

    def killed(report: StepReport) -> None:
        # At step 10 the losses are read before the checkpoint is written; the kill comes later.
        if report.step > 10:
            reports.append(report)
            raise Killed

    asked = {"times": 0}

    def due(checkpoints: Checkpoints) -> bool:
        asked["times"] += 1
        return asked["times"] == 10

    monkeypatch.setattr(Checkpoints, "due", due)
    said: list[str] = []
    with pytest.raises(Killed):
        train(stems, PAPER[name], Place(tmp_path, GPU, Progress(step=killed, note=said.append)))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10
    place = Place(tmp_path, GPU, Progress(step=reports.append, note=said.append))
    trained = train(stems, PAPER[name], place)
    assert [report.step for report in reports] == [30, 30, 40]
    assert all(np.isfinite([r.loss, r.gradient_norm]).all() for r in reports)
    assert trained.step_flops > 1e11
    weights = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert not (tmp_path / "checkpoint.pt").exists()
    print(f"{name}: {trained}, {1000 * reports[-1].seconds:.0f} ms a step, {said}")


def gradients_of(
    name: str, device: torch.device, short: bool
) -> tuple[float, dict[str, torch.Tensor], nn.Module]:
    """The paper's network with its loss and gradients on two items. Its weights are the same on
    every device. With `short` it computes as trainings do, else in strict float32."""
    prepare(device)
    if not short:
        torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = short
    settings = PAPER[name]
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    targets = 0.1 * torch.randn(2, len(CLASSES), 2, settings.segment, generator=generator)
    mixture = targets.sum(dim=1)
    if isinstance(settings, ClassifierSettings):
        model: nn.Module = build_classifier(settings).to(device).train()
        labels = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]], device=device)
        with autocast(device, short):
            outputs = model(magnitudes(mixture.to(device), settings))
            loss = classification_loss(outputs, labels, use_bce=True)
    else:
        network = settings.network
        if name == "xumx":  # the CPU's dropout draws other numbers
            network = dataclasses.replace(network, dropout=0.0)  # type: ignore[type-var]
        model = build_separator(dataclasses.replace(settings, network=network)).to(device).train()
        groups = torch.eye(len(CLASSES)).repeat(2, 1, 1)
        groups[1, 1] = torch.tensor([0.0, 1.0, 1.0, 0.0])
        groups[1, 2] = 0.0
        with autocast(device, short):
            loss = separation_loss(model, mixture.to(device), targets.to(device), groups)
    loss.backward()
    found = {n: p.grad.detach().cpu() for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), found, model


def cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    """The cosine of two gradients, in float64: the squares of values of 1e-16 would be lost in
    float32."""
    a, b = left.flatten().double(), right.flatten().double()
    return float(a @ b / (a.norm() * b.norm()))


def rounding_of(gradients: dict[str, torch.Tensor]) -> float:
    """A norm below which a weight's gradient may be rounding error alone. The true gradient is 0
    for X-UMX's input means, which batch normalisation cancels, and for the bias of Demucs' keys,
    which a softmax cancels."""
    return 1e-6 * float(torch.cat([g.double().flatten() for g in gradients.values()]).norm())


@pytest.mark.parametrize("name", PAPER)
def test_every_gradient_at_the_papers_size_is_the_cpus_in_float32(name: str) -> None:
    expected_loss, expected, _ = gradients_of(name, torch.device("cpu"), short=False)
    loss, found, _ = gradients_of(name, GPU, short=False)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert found.keys() == expected.keys()
    noise = rounding_of(expected)
    for weight, gradient in expected.items():
        error = (found[weight] - gradient).double().norm()
        assert error < 0.02 * gradient.double().norm() + noise, f"{weight}: {error}"


@pytest.mark.parametrize("name", PAPER)
def test_no_gradient_vanishes_in_training_precision(name: str) -> None:
    expected_loss, expected, model = gradients_of(name, torch.device("cpu"), short=False)
    loss, found, _ = gradients_of(name, GPU, short=True)
    assert loss == pytest.approx(expected_loss, rel=0.02)
    together = [torch.cat([g.flatten() for g in of.values()]) for of in (found, expected)]
    assert cosine(*together) > 0.97
    recurrent = [
        f"{part}.{weight}"
        for part, module in model.named_modules()
        if isinstance(module, Float32LSTM)
        for weight, _ in module.named_parameters()
    ]
    assert (len(recurrent) > 0) == (name != "classifier")
    noise = rounding_of(expected)
    for weight, gradient in expected.items():
        assert found[weight].isfinite().all(), weight
        if gradient.double().norm() > noise:
            assert found[weight].double().norm() > 0.5 * gradient.double().norm(), weight
    for weight in recurrent:
        assert cosine(found[weight], expected[weight]) > 0.95, weight


def test_memory_that_runs_out_for_real_splits_the_batch(stems: AudioSet, tmp_path: Path) -> None:
    settings = dataclasses.replace(PAPER["hdemucs"], batch=16, steps=4)
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 10e9 / total))
    said: list[str] = []
    reports: list[StepReport] = []
    place = Place(tmp_path, GPU, Progress(step=reports.append, note=said.append))
    trained = train(stems, settings, place)
    assert trained.items_at_once in (1, 2, 4, 8)
    assert f"SELFREFINE_ITEMS_AT_ONCE={trained.items_at_once}" in said[-1]
    assert torch.cuda.max_memory_reserved(GPU) <= 10.1e9
    torch.cuda.set_per_process_memory_fraction(1.0)
    whole = tmp_path / "whole"
    whole.mkdir()
    expected: list[StepReport] = []
    place = Place(whole, GPU, Progress(step=expected.append))
    assert train(stems, settings, place).items_at_once == 16
    assert reports[-1].loss == pytest.approx(expected[-1].loss, rel=0.02)


@pytest.mark.parametrize("name", SMALL)
def test_batches_drawn_ahead_train_as_those_drawn_in_turn(
    name: str, small_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: dict[str, list[float]] = {}
    for ahead in ("0", "1"):
        monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", ahead)
        folder = tmp_path / ahead
        folder.mkdir()
        reports: list[StepReport] = []
        train(small_stems, SMALL[name], Place(folder, GPU, Progress(step=reports.append)))
        losses[ahead] = [report.loss for report in reports]
    # Two runs on a GPU differ in the last bits, which training makes larger.
    assert losses["0"] == pytest.approx(losses["1"], rel=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_nothing_waits_for_the_gpu_between_two_readings_of_the_losses(
    name: str, small_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "due", lambda checkpoints: False)
    reports: list[StepReport] = []

    def listen(report: StepReport) -> None:
        reports.append(report)
        torch.cuda.set_sync_debug_mode("warn" if report.step == 20 else "default")

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(small_stems, SMALL[name], Place(tmp_path, GPU, Progress(step=listen)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in caught if "called a synchronizing" in str(each.message)]
    # Steps 21 to 40, and the reading of their losses.
    assert [report.step for report in reports] == [20, 40]
    assert len(waits) <= 1, waits


def test_the_branches_side_by_side_are_those_one_after_another() -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(PAPER_XUMX.network, dropout=0.0)  # type: ignore[type-var]
    model = CrossNet(settings, SAMPLE_RATE).to(GPU)  # type: ignore[arg-type]
    mixture = torch.rand(4, 60, 2, model.bins_out, device=GPU)
    found = []
    for together in (True, False):
        model.side_by_side = together
        model.zero_grad()
        output = model(mixture)
        output.square().mean().backward()
        found.append((output.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}))
    (output, beside), (other, apart) = found
    torch.testing.assert_close(output, other, rtol=1e-3, atol=1e-4)
    noise = rounding_of(apart)
    for weight, gradient in apart.items():
        error = (beside[weight] - gradient).double().norm()
        assert error < 0.01 * gradient.double().norm() + noise, weight


def train_in_a_process(folder: Path, stems: Path) -> None:
    place = Place(folder, GPU)
    prepare(GPU)
    train(open_audio_set(stems), SMALL["xumx"], place)


def test_several_processes_train_on_one_gpu(tmp_path: Path) -> None:
    noise_stems(tmp_path / "stems", MINI.xumx.sample_rate)
    context = multiprocessing.get_context("spawn")
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    workers = [
        context.Process(target=train_in_a_process, args=(folder, tmp_path / "stems"))
        for folder in folders
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert all((folder / "model.pt").exists() for folder in folders)
