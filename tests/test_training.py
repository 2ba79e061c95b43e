"""The training loop: resuming, stopping on what is not finite, and learning at all."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments.trainings.watching import recognition_measure, separation_measure
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.models.classifier import build_classifier
from selfrefine.models.weights import load_model
from selfrefine.progress import Progress, StepReport
from selfrefine.refining.labels import thresholded_labels
from selfrefine.refining.probabilities import stem_windows
from selfrefine.settings import (
    PAPER_HDEMUCS,
    PAPER_XUMX,
    XUMX,
    ClassifierSettings,
    ConvNeXt,
    HDemucs,
    Refining,
    SeparatorSettings,
)
from selfrefine.training import inspection, timing
from selfrefine.training.classifier import classification_loss, train_classifier
from selfrefine.training.device import items_at_once, training_device
from selfrefine.training.inspection import Inspect
from selfrefine.training.loop import Place
from selfrefine.training.schedule import Schedule
from selfrefine.training.separator import train_separator
from selfrefine.training.speed import step_flops
from tests.cli_songs import ask, assert_refused, write_songs
from tests.conftest import RATE

CPU = torch.device("cpu")
SMALL_NET = ConvNeXt((1, 1, 1, 1), (8, 16, 24, 32), 3, None, True, True, True)
CLASSIFIER = ClassifierSettings(
    network=SMALL_NET,
    sample_rate=RATE,
    segment=8192,
    fft=512,
    hop=128,
    steps=6,
    batch=4,
    warmup_steps=0,
)
REUSING = dataclasses.replace(CLASSIFIER, source_uses=2)
SMALL = {"sample_rate": RATE, "segment": 8192, "steps": 6, "batch": 2}
XUMX_SETTINGS = dataclasses.replace(
    PAPER_XUMX, network=XUMX(fft=512, hop=256, hidden=16, lstm_layers=2), **SMALL
)
HDEMUCS_SETTINGS = dataclasses.replace(
    PAPER_HDEMUCS, network=HDemucs(channels=4, fft=1024, depth=5), **SMALL
)


class Killed(Exception):
    """Stands for a kill in the middle of a training."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)["model"]


def train_either(
    stems: AudioSet,
    settings: ClassifierSettings | SeparatorSettings,
    folder: Path,
    stop_after: int | None,
    inspect: Inspect | None = None,
) -> None:
    def listen(report: StepReport) -> None:
        if stop_after is not None and report.step > stop_after:
            raise Killed

    folder.mkdir(exist_ok=True)
    place = Place(folder, CPU, Progress(step=listen), inspect)
    if isinstance(settings, ClassifierSettings):
        train_classifier(stems, settings, 7, place)
    else:
        train_separator(stems, settings, 7, place)


@pytest.mark.parametrize("settings", [CLASSIFIER, REUSING, XUMX_SETTINGS, HDEMUCS_SETTINGS])
def test_half_the_steps_and_a_resume_are_the_whole_run_bit_for_bit(
    tone_stems: AudioSet,
    settings: ClassifierSettings | SeparatorSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train_either(tone_stems, settings, tmp_path / "whole", None)
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")
    with pytest.raises(Killed):
        train_either(tone_stems, settings, tmp_path / "broken", 3)
    assert torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"] == 3
    train_either(tone_stems, settings, tmp_path / "broken", None)
    assert not (tmp_path / "broken" / "checkpoint.pt").exists()
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert [name for name in whole if not torch.equal(whole[name], broken[name])] == []


@pytest.mark.parametrize("settings", [CLASSIFIER, REUSING, XUMX_SETTINGS])
def test_batches_drawn_ahead_train_the_same_weights_bit_for_bit(
    tone_stems: AudioSet,
    settings: ClassifierSettings | SeparatorSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for ahead in ("0", "1"):
        monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", ahead)
        train_either(tone_stems, settings, tmp_path / ahead, None)
    behind, before = weights(tmp_path / "0"), weights(tmp_path / "1")
    assert [name for name in behind if not torch.equal(behind[name], before[name])] == []


@pytest.mark.parametrize("settings", [CLASSIFIER, XUMX_SETTINGS, HDEMUCS_SETTINGS])
def test_a_watched_run_is_the_unwatched_one_bit_for_bit_also_when_resumed(
    tone_stems: AudioSet,
    settings: ClassifierSettings | SeparatorSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    if isinstance(settings, ClassifierSettings):
        measure = recognition_measure(tone_stems, settings, CPU)
    else:
        measure = separation_measure(tone_stems, settings, CPU)

    def inspect(model: torch.nn.Module, step: int, steps: int) -> None:
        assert not torch.is_grad_enabled()
        assert not any(part.training for part in model.modules())
        measure(model)
        torch.manual_seed(step)  # whatever a look draws
        looks.append(step)

    monkeypatch.setattr(inspection, "INSPECTIONS", 3)
    train_either(tone_stems, settings, tmp_path / "alone", None)
    train_either(tone_stems, settings, tmp_path / "watched", None, inspect)
    assert looks == [2, 4, 6]
    monkeypatch.setenv("SELFREFINE_CHECKPOINT_SECONDS", "0")
    with pytest.raises(Killed):
        train_either(tone_stems, settings, tmp_path / "resumed", 3, inspect)
    train_either(tone_stems, settings, tmp_path / "resumed", None, inspect)
    assert looks[3:] == [2, 4, 6]
    alone = weights(tmp_path / "alone")
    for name in ("watched", "resumed"):
        other = weights(tmp_path / name)
        assert [key for key in alone if not torch.equal(alone[key], other[key])] == []


def test_steps_are_timed_without_the_looks_between_them(
    tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def inspect(model: torch.nn.Module, step: int, steps: int) -> None:
        now[0] += 100.0

    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    reports: list[StepReport] = []
    place = Place(tmp_path, CPU, Progress(step=reports.append), inspect)
    train_classifier(tone_stems, CLASSIFIER, 0, place)
    assert now[0] == 100.0 * CLASSIFIER.steps
    assert [report.seconds for report in reports] == [0.0] * CLASSIFIER.steps


@pytest.mark.parametrize("steps", [1, 5, 6, 7, 56400])
def test_a_training_is_looked_at_evenly_and_at_its_end(steps: int) -> None:
    looked = sorted(inspection.inspected_steps(steps))
    assert looked[-1] == steps
    assert looked[0] >= 1
    assert len(looked) == min(steps, inspection.INSPECTIONS)
    gaps = [b - a for a, b in zip([0, *looked], looked, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_the_seed_changes_the_training(tone_stems: AudioSet, tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        train_classifier(tone_stems, CLASSIFIER, seed, Place(tmp_path / str(seed), CPU))
    first, second = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_loss_that_is_not_finite_stops_with_the_stems_names(
    tone_stems: AudioSet, tmp_path: Path
) -> None:
    broken = dataclasses.replace(
        tone_stems,
        clips=tuple(dataclasses.replace(clip, scale=float("nan")) for clip in tone_stems.clips),
    )
    with pytest.raises(InputError, match=r"at step 0.*song\d/") as caught:
        train_classifier(broken, CLASSIFIER, 0, Place(tmp_path, CPU))
    assert "song" in str(caught.value)
    assert not (tmp_path / "model.pt").exists()


def test_the_mean_absolute_error_is_that_of_the_sigmoid_outputs() -> None:
    logits, labels = torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 0.0]])
    expected = (0.5 + 1 / (1 + torch.exp(torch.tensor(-3.0)))) / 2
    torch.testing.assert_close(classification_loss(logits, labels, use_bce=False), expected)


def test_the_rate_warms_up_and_falls_to_its_final_share() -> None:
    schedule = Schedule(100, 1e-3, 0.0, 10, 0.1)
    assert schedule.rate(0) == pytest.approx(1e-4)
    assert schedule.rate(10) == pytest.approx(1e-3)
    assert schedule.rate(55) == pytest.approx(1e-3 * 0.55)
    assert schedule.rate(99) == pytest.approx(1e-4, rel=0.01)


@pytest.mark.slow
def test_a_tiny_classifier_recovers_flipped_labels_better_than_chance(
    tone_stems: AudioSet, tmp_path: Path
) -> None:
    """A quarter of the stems get a wrong label. A classifier trained on them finds the truth."""
    truth = {(clip.song, clip.name): clip.label for clip in tone_stems.clips}
    wrong = {("song0", "vocals"): ("bass",), ("song1", "drums"): ("other",)}
    wrong |= {("song2", "bass"): ("vocals",)}
    noisy = dataclasses.replace(
        tone_stems,
        clips=tuple(
            dataclasses.replace(clip, label=wrong.get((clip.song, clip.name), clip.label))
            for clip in tone_stems.clips
        ),
    )
    settings = dataclasses.replace(
        CLASSIFIER, steps=200, batch=16, learning_rate=2e-3, final_rate=0.1, bce_share=0.5
    )
    train_classifier(noisy, settings, 0, Place(tmp_path, CPU))
    model = load_model(build_classifier(settings), tmp_path / "model.pt", CPU)
    judged = stem_windows(model, noisy, settings, Refining().windows_per_segment, CPU)
    refined = thresholded_labels((row for row, _ in judged), (0.5, 0.5, 0.5, 0.5), False)
    given = {(clip.song, clip.name): clip.label for clip in noisy.clips}
    assert label_accuracy(given, truth).exact == 0.75
    assert label_accuracy(refined, truth).exact > 0.75


def test_a_steps_operations_are_those_of_its_layers() -> None:
    linear = torch.nn.Linear(30, 50)
    recurrent = torch.nn.LSTM(50, 20, batch_first=True, bidirectional=True)
    frames = torch.randn(4, 7, 30)
    by_hand = 2 * 4 * 7 * (30 * 50 + 2 * 4 * 20 * (50 + 20))
    assert step_flops(lambda: recurrent(linear(frames))) == 3 * by_hand


@pytest.mark.parametrize("which", ["classifier", "hdemucs"])
def test_parts_of_a_batch_train_as_the_whole(
    which: str, tone_stems: AudioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither network has batch normalisation, which would see a part at a time.
    network = dataclasses.replace(SMALL_NET, batch_norm=False, frequency_kept=False)
    classifier = dataclasses.replace(CLASSIFIER, network=network, steps=3, batch=5)
    separator = dataclasses.replace(HDEMUCS_SETTINGS, steps=3, batch=3)
    losses: dict[str, list[float]] = {}
    for at_once in ("1", "2", "100"):
        monkeypatch.setenv("SELFREFINE_ITEMS_AT_ONCE", at_once)
        heard: list[float] = []
        folder = tmp_path / at_once
        folder.mkdir()

        def listen(report: StepReport, heard: list[float] = heard) -> None:
            heard.append(report.loss)

        if which == "classifier":
            train_classifier(tone_stems, classifier, 0, Place(folder, CPU, Progress(step=listen)))
        else:
            train_separator(tone_stems, separator, 0, Place(folder, CPU, Progress(step=listen)))
        losses[at_once] = heard
    assert losses["1"] == pytest.approx(losses["100"], rel=1e-2)
    assert losses["2"] == pytest.approx(losses["100"], rel=1e-2)


def test_a_bad_count_of_items_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFREFINE_ITEMS_AT_ONCE", "none")
    with pytest.raises(InputError, match="SELFREFINE_ITEMS_AT_ONCE"):
        items_at_once(8)


BAD_SETTINGS = [
    ("SELFREFINE_DEVICE", "banana"),
    ("SELFREFINE_DEVICE", "cuda:-1"),
    ("SELFREFINE_DEVICE", "cuda:99"),
    ("SELFREFINE_PRECISION", "bf17"),
    ("SELFREFINE_ITEMS_AT_ONCE", "0"),
    ("SELFREFINE_DRAW_AHEAD", "yes"),
    ("SELFREFINE_CHECKPOINT_SECONDS", "abc"),
    ("SELFREFINE_CHECKPOINT_SECONDS", "-1"),
    ("SELFREFINE_CHECKPOINT_SECONDS", "nan"),
    ("SELFREFINE_CHECKPOINT_SECONDS", "inf"),
]


@pytest.mark.parametrize(("variable", "value"), BAD_SETTINGS)
def test_a_bad_machine_setting_is_refused_where_the_device_is_asked_for(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=f"^{variable}={value}: .*(give|torch finds)"):
        training_device()


def test_empty_machine_settings_count_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for variable, _ in BAD_SETTINGS:
        monkeypatch.setenv(variable, "")
    assert training_device() == CPU
    assert items_at_once(8) == 8


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFREFINE_DEVICE", "cuda")
    with pytest.raises(InputError, match="no such GPU here, torch finds none; give cpu"):
        training_device()


@pytest.mark.parametrize("command", ["refine", "train-separator", "separate"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SELFREFINE_DEVICE", "cuda:99"),
        ("SELFREFINE_PRECISION", "bf17"),
        ("SELFREFINE_CHECKPOINT_SECONDS", "abc"),
    ],
)
def test_commands_refuse_a_bad_machine_setting_before_they_make_anything(
    command: str,
    variable: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_songs(tmp_path / "songs", 1)
    source = tmp_path / "songs"
    words: list[object] = [command, source, "--out", tmp_path / "out", "--profile", "smoke"]
    if command == "separate":
        (track,) = source.glob("*/vocals.*")
        words = [command, track, "--model", tmp_path / "no.pt", "--out", tmp_path / "out"]
    monkeypatch.setenv(variable, value)
    assert_refused(ask(capsys, *words), f"{variable}={value}: ")
    assert not [*tmp_path.glob("out/*")]
