"""Refining from a start: what trainings use, resuming after a kill, and the shipped file."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.profiles import PROFILES
from experiments.shipping import ROW
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.stage import expression, identity
from experiments.targets import resolved_rows
from selfrefine import scales
from selfrefine.audio.colouring import randomly_filtered
from selfrefine.clips.audio_set import AudioSet, with_labels
from selfrefine.errors import InputError
from selfrefine.models.classifier import build_classifier
from selfrefine.models.model_file import load_classifier
from selfrefine.progress import Progress, StepReport
from selfrefine.refining.iterations import Refinement
from selfrefine.refining.started import refine_started
from selfrefine.refining.starting import (
    STEPS,
    shipped_classifier,
    shipped_file,
    training_on,
    usual_trainings,
)
from selfrefine.settings import Refining
from tests.conftest import RATE
from tests.tone_classifier import TONE_SETTINGS

CPU = torch.device("cpu")
REFINING = Refining(windows_per_segment=2)


def swapped(stems: AudioSet) -> AudioSet:
    """The same stems, where the first song's bass and drums have each other's label."""
    names = {"bass": ("drums",), "drums": ("bass",)}
    return with_labels(
        stems,
        {
            (clip.song, clip.name): names.get(clip.name, clip.label)
            if clip.song == "song0"
            else clip.label
            for clip in stems.clips
        },
    )


class Heard:
    """Counts the steps of trainings, and interrupts them after `most` steps."""

    def __init__(self, most: int | None = None) -> None:
        self.steps = 0
        self.most = most
        self.sentences: list[str] = []

    def listen(self, report: StepReport) -> None:
        self.steps += 1
        if self.steps == self.most:
            raise KeyboardInterrupt

    @property
    def progress(self) -> Progress:
        return Progress(step=self.listen, note=self.sentences.append)


def test_swapped_labels_are_found_and_a_killed_run_goes_on(
    tone_stems: AudioSet, tone_classifier: Path, tmp_path: Path
) -> None:
    stems = swapped(tone_stems)
    loaded = load_classifier(tone_classifier, CPU)
    settings = replace(training_on(TONE_SETTINGS, len(stems.clips)), steps=20)

    def run(folder: Path, heard: Heard) -> list[dict[tuple[str, str], tuple[str, ...]]]:
        shared = Refinement(stems, settings, REFINING, 0, folder, CPU, heard.progress)
        return [each.labels for each in refine_started(shared, loaded.model, 2)]

    whole = run(tmp_path / "whole", Heard())
    assert len(whole) == 3
    for labels in whole:
        assert labels == {(clip.song, clip.name): (clip.name,) for clip in stems.clips}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Heard(most=30))
    heard = Heard()
    assert run(tmp_path / "killed", heard) == whole
    assert heard.steps <= 20
    for name in ("start", "iteration-1", "iteration-2"):
        one, other = (tmp_path / each / name / "probabilities.csv" for each in ("whole", "killed"))
        assert one.read_text() == other.read_text()


def test_the_start_is_left_as_it_was(
    tone_stems: AudioSet, tone_classifier: Path, tmp_path: Path
) -> None:
    loaded = load_classifier(tone_classifier, CPU)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    settings = replace(training_on(TONE_SETTINGS, 12), steps=3)
    run = Refinement(tone_stems, settings, REFINING, 0, tmp_path, CPU, Heard().progress)
    list(refine_started(run, loaded.model, 1))
    after = loaded.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    trained = torch.load(tmp_path / "iteration-1" / "model.pt", weights_only=True)["model"]
    assert any(not torch.equal(value, trained[name]) for name, value in before.items())


def test_a_class_that_no_stem_holds_alone_ends_the_trainings_and_is_named(
    tone_stems: AudioSet, tmp_path: Path
) -> None:
    """The start has the same outputs for every stem, so it finds one class in all of them."""
    torch.manual_seed(0)
    blind = build_classifier(TONE_SETTINGS)
    with torch.no_grad():
        for parameter in blind.parameters():
            parameter.zero_()
        blind.head[-1].bias.copy_(torch.tensor([-20.0, 20.0, -20.0, -20.0]))
    heard = Heard()
    run = Refinement(tone_stems, TONE_SETTINGS, REFINING, 0, tmp_path, CPU, heard.progress)
    found = list(refine_started(run, blind.eval(), 2))
    assert len(found) == 1
    assert heard.steps == 0
    assert "no stem was found to hold" in heard.sentences[0]
    assert "vocals" in heard.sentences[0]


def test_a_small_collection_is_trained_on_shorter_and_a_tiny_one_not_at_all() -> None:
    mini = scales.MINI.classifier
    assert training_on(mini, 400).steps == training_on(mini, None).steps == STEPS
    assert training_on(mini, 20).steps < STEPS
    assert training_on(mini, 20).learning_rate == pytest.approx(mini.learning_rate / 4)
    assert training_on(replace(mini, steps=30), 400).steps == 10
    assert usual_trainings(3) == 0 < usual_trainings(30)


@pytest.mark.parametrize("profile", ["mini", "lite"])
def test_the_shipped_start_is_the_registrys_and_small_and_has_a_card(profile: str) -> None:
    path = shipped_classifier(PROFILES[profile].scale.classifier.sample_rate)
    assert path.stat().st_size < 3e6
    score = resolved_rows([ROW], PROFILES[profile], "band", "band")[ROW][1]
    assert isinstance(score, RecognitionScore)
    text = path.with_suffix(".md").read_text()
    assert identity(score.outputs.classifier) in text
    assert re.search(r"commit `[0-9a-f]{7,}`", text)
    written = json.loads(text.rsplit("Every setting:", 1)[1])
    assert written == json.loads(json.dumps(expression(score.outputs.classifier.settings)))
    assert load_classifier(path, CPU).settings == score.outputs.classifier.settings


def test_a_rate_without_a_shipped_start_is_refused_with_those_there_are() -> None:
    assert not shipped_file(22050).exists()
    with pytest.raises(InputError, match="only of 16000 Hz and 44100 Hz"):
        shipped_classifier(22050)


def test_a_random_filter_keeps_the_energy_and_moves_no_sound() -> None:
    rng = np.random.default_rng(1)
    audio = np.zeros((2, RATE), dtype=np.float32)
    audio[:, RATE // 2] = 1.0
    changed = []
    for _ in range(20):
        filtered = randomly_filtered(audio, RATE, rng)
        assert filtered.dtype == np.float32
        assert np.square(filtered).sum() == pytest.approx(np.square(audio).sum(), rel=1e-3)
        assert np.abs(filtered).argmax(axis=1).tolist() == [RATE // 2] * 2
        changed.append(np.abs(np.fft.rfft(filtered[0])))
    assert np.std(changed, axis=0).mean() > 0.1
    silence = np.zeros((2, 100), dtype=np.float32)
    assert not randomly_filtered(silence, RATE, rng).any()
