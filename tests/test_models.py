"""The networks are those that the paper names, and their losses follow section 3.2."""

import dataclasses

import numpy as np
import pytest
import torch
from openunmix.model import OpenUnmix
from torchaudio.models import HDemucs as TorchaudioHDemucs

from selfrefine.audio.spectrogram import spectrogram
from selfrefine.classes import CLASSES
from selfrefine.models import wiener
from selfrefine.models.classifier import build_classifier, magnitudes, parameter_count
from selfrefine.models.grouped_loss import grouped_loss
from selfrefine.models.hdemucs import (
    InverseSpectrum,
    build_hdemucs,
    hdemucs_loss,
    separate_hdemucs,
)
from selfrefine.models.separator import build_separator, separate_song
from selfrefine.models.xumx import CrossNet, separate_xumx, xumx_loss
from selfrefine.settings import PAPER_XUMX, XUMX, ClassifierSettings, HDemucs

SMALL_XUMX = XUMX(fft=1024, hop=512, hidden=32, lstm_layers=2, dropout=0.0)
SMALL_HDEMUCS = HDemucs(channels=4, fft=1024, depth=5, inference_seconds=1.0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_the_classifier_is_convnext_tiny() -> None:
    assert parameter_count(build_classifier(ClassifierSettings())) == 27_821_668


def test_the_classifier_sees_253_frames_of_1025_bins_of_two_channels() -> None:
    inputs = magnitudes(noise(1, 2, 131072), ClassifierSettings())
    assert inputs.shape == (1, 2, 1025, 253)


def test_xumx_has_the_paper_sizes() -> None:
    with torch.device("meta"):
        model = CrossNet(XUMX(), 44100)
    assert parameter_count(model) == 35_573_392
    assert (model.bins_in, model.bins_out) == (1487, 2049)
    branch = model.branches[0]
    assert branch.encode.weight.shape == (512, 2974)
    assert branch.decode.weight.shape == (512, 1024)
    assert branch.mask.weight.shape == (4098, 512)
    assert [layer.hidden_size for layer in branch.lstm.layers] == [256, 256, 256]
    assert all(layer.bidirectional for layer in branch.lstm.layers)
    assert branch.lstm.dropout == 0.4


@pytest.mark.parametrize("samples", [32768, 30001, 777])
def test_hybrid_demucs_is_torchaudios_forwards_and_backwards(samples: int) -> None:
    torch.manual_seed(3)
    ours = build_hdemucs(SMALL_HDEMUCS)
    peers = TorchaudioHDemucs(list(CLASSES), channels=4, nfft=1024, depth=5)
    peers.load_state_dict(ours.state_dict())
    mixture, target = torch.randn(2, 2, samples), torch.randn(2, 4, 2, samples)
    for model in (ours, peers):
        (model(mixture) - target).square().mean().backward()
    with torch.no_grad():
        torch.testing.assert_close(ours(mixture), peers(mixture), atol=1e-6, rtol=1e-5)
    pairs = zip(ours.parameters(), peers.parameters(), strict=True)
    gradients = [(own.grad, peer.grad) for own, peer in pairs]
    largest = max(peer.abs().max() for _, peer in gradients)
    for own, peer in gradients:
        torch.testing.assert_close(own, peer, atol=1e-5 * float(largest), rtol=1e-3)


def test_the_inverse_spectrum_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, target = noise(2, 2, 16384), noise(2, 4, 2, 16384, seed=1)
    found = []
    for bytes_at_once in (2**28, 1):
        monkeypatch.setattr(InverseSpectrum, "BYTES", bytes_at_once)
        torch.manual_seed(0)
        model = build_hdemucs(SMALL_HDEMUCS)
        estimate = model(mixture)
        (estimate - target).square().mean().backward()
        found.append([estimate, *(p.grad for p in model.parameters())])
    assert all(torch.equal(whole, pieces) for whole, pieces in zip(*found, strict=True))


def test_hdemucs_has_83_6_million_parameters() -> None:
    with torch.device("meta"):
        model = build_hdemucs(HDemucs())
    assert round(parameter_count(model) / 1e6, 1) == 83.6


def test_one_branch_without_bridges_is_open_unmix() -> None:
    """With four equal branches the two averages change nothing, so each branch is an Open-Unmix."""
    model = CrossNet(SMALL_XUMX, 44100).eval()
    peer = OpenUnmix(
        nb_bins=model.bins_out,
        nb_channels=2,
        hidden_size=32,
        nb_layers=2,
        max_bin=model.bins_in,
    ).eval()
    for branch in model.branches:
        pairs = [
            (branch.encode, peer.fc1),
            (branch.encode_norm, peer.bn1),
            (branch.lstm, peer.lstm),
            (branch.decode, peer.fc2),
            (branch.decode_norm, peer.bn2),
            (branch.mask, peer.fc3),
            (branch.mask_norm, peer.bn3),
        ]
        for ours, theirs in pairs:
            ours.load_state_dict(theirs.state_dict())
    mixture = noise(2, 2, model.bins_out, 9).abs()
    with torch.no_grad():
        ours = model(mixture.permute(0, 3, 1, 2)).permute(0, 1, 3, 4, 2)
        theirs = peer(mixture)
    for source in range(4):
        np.testing.assert_allclose(ours[:, source], theirs, rtol=1e-4, atol=1e-6)


def test_the_bridges_let_each_source_see_the_other_branches() -> None:
    model = CrossNet(SMALL_XUMX, 44100).eval()
    mixture = noise(1, 9, 2, model.bins_out).abs()
    model(mixture)[:, 0].sum().backward()
    for branch in model.branches:
        assert branch.encode.weight.grad.abs().sum() > 0
        assert branch.lstm.layers[0].weight_hh_l0.grad.abs().sum() > 0
    assert model.branches[1].mask.weight.grad.abs().sum() == 0


def identity_groups(batch: int) -> torch.Tensor:
    return torch.eye(4).repeat(batch, 1, 1)


@pytest.mark.parametrize("penalty", [torch.abs, torch.square])
def test_the_multi_label_loss_is_the_conventional_one_for_single_labels(penalty) -> None:
    estimates, targets = noise(3, 4, 2, 50), noise(3, 4, 2, 50, seed=1)
    ours = grouped_loss(estimates, targets, identity_groups(3), penalty)
    conventional = sum(penalty(estimates[:, k] - targets[:, k]).mean() for k in range(4))
    torch.testing.assert_close(ours, conventional)


def test_a_merged_target_is_compared_with_the_sum_of_its_estimates() -> None:
    estimates, targets = noise(2, 4, 2, 50), noise(2, 4, 2, 50, seed=1)
    groups = identity_groups(2)
    groups[1, 1] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    groups[1, 2] = 0.0
    errors = estimates - targets
    first = sum(errors[0, k].abs().mean() for k in range(4))
    merged = (estimates[1, 1] + estimates[1, 2] - targets[1, 1]).abs().mean()
    second = errors[1, 0].abs().mean() + merged + errors[1, 3].abs().mean()
    ours = grouped_loss(estimates, targets, groups, torch.abs)
    torch.testing.assert_close(ours, (first + second) / 2)


def test_a_merged_target_gives_both_its_estimates_the_same_gradient() -> None:
    estimates = noise(1, 4, 2, 50).requires_grad_()
    targets = noise(1, 4, 2, 50, seed=1)
    groups = identity_groups(1)
    groups[0, 1] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    groups[0, 2] = 0.0
    grouped_loss(estimates, targets, groups, torch.square).backward()
    gradient = estimates.grad[0]
    error = (estimates[0, 1] + estimates[0, 2] - targets[0, 1]).detach()
    torch.testing.assert_close(gradient[1], 2 * error / error.numel())
    torch.testing.assert_close(gradient[1], gradient[2])
    own = (estimates[0, 0] - targets[0, 0]).detach()
    torch.testing.assert_close(gradient[0], 2 * own / own.numel())


@pytest.mark.parametrize("autocast", [False, True])
def test_a_merged_target_of_perfect_estimates_has_no_loss_at_any_precision(autocast: bool) -> None:
    """A matrix product in bf16 would leave .14% of the level."""
    estimates = noise(5, 4, 2, 500)
    groups = identity_groups(5)
    groups[3, 1] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    groups[3, 2] = 0.0
    targets = estimates.clone()
    targets[3, 1] += targets[3, 2]
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            assert grouped_loss(estimates, targets, groups, torch.abs) == 0.0
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("samples", [16000, 16383])
def test_a_whole_song_comes_back_at_its_own_length(samples: int) -> None:
    mixture = noise(2, samples)
    model = CrossNet(SMALL_XUMX, 16000).eval()
    with torch.no_grad():
        assert separate_xumx(model, mixture).shape == (4, 2, samples)


def test_wiener_filtered_sources_sum_to_the_mixture() -> None:
    mixture = noise(2, 20000)
    model = CrossNet(SMALL_XUMX, 16000).eval()
    with torch.no_grad():
        sources = separate_xumx(model, mixture)
    assert (sources.sum(dim=0) - mixture).square().mean() < 1e-3 * mixture.square().mean()


def wiener_of_the_whole(magnitudes: np.ndarray, mixture: np.ndarray, iterations: int) -> np.ndarray:
    """openunmix's Wiener filter in plain matrices. It takes magnitudes `(class, frame, channel,
    bin)` and a complex mixture `(frame, channel, bin)`, and returns complex `(class, frame,
    channel, bin)`."""
    scale = max(1.0, np.abs(mixture).max() / 10)
    x = mixture.astype(np.complex128) / scale
    y = magnitudes * np.exp(1j * np.angle(x)) / scale
    for _ in range(iterations):
        power = np.mean(np.abs(y) ** 2, axis=2)
        covariance = np.einsum("sfib,sfjb->sbij", y, y.conj())
        covariance /= (1e-10 + power.sum(axis=1))[..., None, None]
        mixed = np.einsum("sfb,sbij->fbij", power, covariance) + np.sqrt(1e-10) * np.eye(2)
        gain = np.einsum("sfb,sbij,fbjk->sfbik", power, covariance, np.linalg.inv(mixed))
        y = np.einsum("sfbik,fkb->sfib", gain, x)
    return y * scale


@pytest.mark.parametrize("frames_at_once", [7, 64])
@pytest.mark.parametrize(
    ("samples", "level", "iterations"), [(900, 1.0, 1), (20000, 30.0, 1), (20000, 0.1, 2)]
)
def test_a_track_filtered_in_stretches_is_openunmixs_filtered_at_once(
    frames_at_once: int,
    samples: int,
    level: float,
    iterations: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiener, "FRAMES_AT_ONCE", frames_at_once)
    fft, hop = 512, 128
    audio = level * noise(2, samples)
    # The sources are mono below, wide above, and change along the track.
    audio[1] = 0.8 * audio[0] + audio[1] * torch.linspace(0.0, 1.0, samples)
    mixture = spectrogram(audio[None], fft, hop, centred=True)[0].permute(2, 0, 1)
    frames = len(mixture)
    masks = torch.rand(4, frames, 2, fft // 2 + 1, generator=torch.Generator().manual_seed(1))
    masks[..., : fft // 8] = masks[:, :, :1, : fft // 8]
    found = wiener.wiener_waveforms(
        lambda stretch: masks[:, stretch] * mixture[stretch], mixture, iterations, fft, hop, samples
    )
    expected = wiener_of_the_whole((masks * mixture.abs()).numpy(), mixture.numpy(), iterations)
    waves = torch.istft(
        torch.from_numpy(expected).permute(0, 2, 3, 1).flatten(0, 1),
        fft,
        hop,
        window=torch.hann_window(fft, dtype=torch.float64),
        length=samples,
    ).reshape(4, 2, samples)
    assert found.shape == waves.shape
    np.testing.assert_allclose(found, waves, atol=2e-5 * float(waves.abs().max()))


def test_xumx_separates_the_same_whatever_the_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = CrossNet(SMALL_XUMX, 16000).eval()
    mixture = noise(2, 30000)
    found = []
    for frames_at_once in (5, 1000):
        monkeypatch.setattr(wiener, "FRAMES_AT_ONCE", frames_at_once)
        with torch.no_grad():
            found.append(separate_xumx(model, mixture))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5 * float(found[1].abs().max()))


def test_without_iterations_a_source_is_its_mask_times_the_mixture() -> None:
    mixture = noise(2, 20000)
    spectrum = spectrogram(mixture[None], 512, 256, centred=True)[0].permute(2, 0, 1)
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None, None]
    sources = wiener.wiener_waveforms(
        lambda stretch: shares * spectrum[stretch], spectrum, 0, 512, 256, 20000
    )
    for source, share in zip(sources, (0.1, 0.2, 0.3, 0.4), strict=True):
        np.testing.assert_allclose(source, share * mixture, atol=1e-6)


@pytest.mark.parametrize("length", [700, 1000, 1001, 3777])
def test_overlapping_segments_rebuild_a_signal_without_seams(length: int) -> None:
    class Copies(torch.nn.Module):
        def forward(self, mixture: torch.Tensor) -> torch.Tensor:
            return mixture[:, None].repeat(1, 4, 1, 1)

    mixture = noise(2, length)
    sources = separate_hdemucs(Copies(), mixture, 1000, 0.25)
    for source in sources:
        np.testing.assert_allclose(source, mixture, atol=1e-6)


def test_separation_does_not_depend_on_the_songs_level() -> None:
    settings = dataclasses.replace(PAPER_XUMX, network=SMALL_XUMX, sample_rate=16000)
    model = build_separator(settings)
    mixture = noise(2, 32000)
    loud = separate_song(model, settings, mixture)
    quiet = separate_song(model, settings, mixture * 0.01)
    np.testing.assert_allclose(quiet * 100, loud, atol=1e-4)


def test_a_silent_song_separates_into_silence() -> None:
    settings = dataclasses.replace(PAPER_XUMX, network=SMALL_XUMX, sample_rate=16000)
    sources = separate_song(build_separator(settings), settings, torch.zeros(2, 16000))
    assert sources.abs().max() == 0


def test_both_separators_losses_are_finite_and_train_every_parameter() -> None:
    targets = noise(2, 4, 2, 16384)
    mixture = targets.sum(dim=1)
    for model, loss in (
        (CrossNet(SMALL_XUMX, 16000), xumx_loss),
        (build_hdemucs(SMALL_HDEMUCS), hdemucs_loss),
    ):
        value = loss(model, mixture, targets, identity_groups(2))
        value.backward()
        assert torch.isfinite(value)
        missing = [name for name, p in model.named_parameters() if p.grad is None]
        assert missing == []
