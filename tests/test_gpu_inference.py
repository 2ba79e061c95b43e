"""Refining, separating, scoring and watching on a GPU give what the CPU gives."""

import dataclasses

import numpy as np
import pytest
import torch

from experiments.trainings.watching import recognition_measure, separation_measure
from selfrefine.clips.audio_set import AudioSet
from selfrefine.metrics.sdr import frame_sdr
from selfrefine.models.classifier import build_classifier
from selfrefine.models.separator import build_separator, separate_song
from selfrefine.refining.mixture_outputs import mixture_outputs
from selfrefine.refining.probabilities import stem_windows
from selfrefine.scales import MINI
from selfrefine.settings import Refining
from selfrefine.training.device import prepare

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICES = (torch.device("cpu"), torch.device("cuda"))
CLASSIFIER = MINI.classifier
SEPARATORS = {
    "hdemucs": MINI.hdemucs,
    "xumx": MINI.xumx,
}


def decided(model: torch.nn.Module) -> torch.nn.Module:
    """The network with larger weights: an untrained one gives nearly the same for any input."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model


def classifier_on(device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    prepare(device)
    return decided(build_classifier(CLASSIFIER)).to(device).eval()


def separator_on(name: str, device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    prepare(device)
    return build_separator(SEPARATORS[name]).to(device).eval()


def test_refining_gives_the_cpus_probabilities(tone_stems: AudioSet) -> None:
    found = [
        [
            windows.cpu()
            for _, windows in stem_windows(
                classifier_on(device),
                tone_stems,
                CLASSIFIER,
                Refining().windows_per_segment,
                device,
            )
        ]
        for device in DEVICES
    ]
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, atol=0.02, rtol=0.0)
    assert torch.cat(found[0]).std() > 0.02


def test_random_mixtures_are_recognised_as_on_the_cpu(tone_stems: AudioSet) -> None:
    found = []
    for device in DEVICES:
        rows = list(mixture_outputs(classifier_on(device), tone_stems, CLASSIFIER, 20, 0, device))
        found.append(rows)
    for (truth, values), (other_truth, other_values) in zip(*found, strict=True):
        assert truth == other_truth
        assert values == pytest.approx(other_values, abs=0.02)


@pytest.mark.parametrize("name", SEPARATORS)
def test_a_song_separated_on_the_gpu_is_the_cpus_within_40_db(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    song = 0.1 * torch.randn(2, 5 * 16000, generator=generator)
    separated = [
        separate_song(separator_on(name, device), SEPARATORS[name], song.to(device)).cpu()
        for device in DEVICES
    ]
    error = (separated[1] - separated[0]).square().sum()
    assert 10 * torch.log10(separated[0].square().sum() / error) > 40


def test_scores_of_finished_estimates_do_not_depend_on_where_they_came_from() -> None:
    rng = np.random.default_rng(0)
    references = rng.standard_normal((4, 2, 3 * 16000)).astype(np.float32)
    estimates = references + 0.1 * rng.standard_normal(references.shape).astype(np.float32)
    from_gpu = torch.from_numpy(estimates).cuda().cpu().numpy()
    assert np.array_equal(
        frame_sdr(references, estimates, 16000, 16000),
        frame_sdr(references, from_gpu, 16000, 16000),
    )


def test_watching_a_classifier_measures_the_cpus_values(tone_stems: AudioSet) -> None:
    found = [
        recognition_measure(tone_stems, CLASSIFIER, device)(classifier_on(device))
        for device in DEVICES
    ]
    assert found[1].keys() == found[0].keys()
    for name, value in found[0].items():
        # A few of 128 mixtures lie at the threshold.
        assert found[1][name] == pytest.approx(value, abs=0.06), name


@pytest.mark.parametrize("name", SEPARATORS)
def test_watching_a_separator_measures_the_cpus_sdr(name: str, tone_stems: AudioSet) -> None:
    settings = dataclasses.replace(SEPARATORS[name], sample_rate=tone_stems.sample_rate)
    found = [
        separation_measure(tone_stems, settings, device)(separator_on(name, device))
        for device in DEVICES
    ]
    assert found[1] == pytest.approx(found[0], abs=0.1)
