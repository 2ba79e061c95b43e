"""Trainings on a GPU whose layers torch.compile has fused."""

import dataclasses
from pathlib import Path

import pytest
import torch

from selfrefine.clips.audio_set import AudioSet
from selfrefine.progress import Progress, StepReport
from selfrefine.settings import SAMPLE_RATE
from selfrefine.training.device import prepare
from selfrefine.training.loop import Place
from tests.test_gpu_training import GPU, PAPER, noise_stems, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> AudioSet:
    return noise_stems(tmp_path_factory.mktemp("stems"), SAMPLE_RATE)


@pytest.mark.parametrize("name", ["classifier", "hdemucs"])
def test_fused_layers_train_as_the_layers_do(
    name: str, stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(GPU)
    settings = dataclasses.replace(PAPER[name], batch=16)
    found: dict[str, list[StepReport]] = {"0": [], "1": []}
    weights: dict[str, dict[str, torch.Tensor]] = {}
    operations = {}
    for chosen, reports in found.items():
        monkeypatch.setenv("SELFREFINE_COMPILE", chosen)
        folder = tmp_path / chosen
        folder.mkdir()
        trained = train(stems, settings, Place(folder, GPU, Progress(step=reports.append)))
        operations[chosen] = trained.step_flops
        weights[chosen] = torch.load(folder / "model.pt", weights_only=True)["model"]
        print(name, chosen, f"{1000 * reports[-1].seconds:.0f} ms a step", reports)
    plain, fused = found.values()
    # Two runs on a GPU differ in the last bits, which training makes larger.
    assert [r.loss for r in fused] == pytest.approx([r.loss for r in plain], rel=0.05)
    assert weights["0"].keys() == weights["1"].keys()
    assert operations["0"] == operations["1"] > 1e11
