"""Measures on validation songs while a training runs: their values, their cost, and that they
cannot make it fail."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from experiments.data import bind
from experiments.engine.watched import needed_to_watch, validation_songs, watched_with
from experiments.profiles import PROFILES
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.data_set import VALIDATION
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import closure, identity
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.trainings import watching
from experiments.trainings.validation import FILE, add_validation, read_validation
from experiments.trainings.watching import Watcher, recognition_measure, separation_measure
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set
from selfrefine.errors import InputError
from selfrefine.metrics.sdr import frame_sdr
from selfrefine.models.separator import build_separator, separate_song
from tests.conftest import CLASS_TONES, RATE, tone
from tests.test_experiments import table2
from tests.test_training import CLASSIFIER, CPU, XUMX_SETTINGS

SMOKE = PROFILES["smoke"]


class Loudest(torch.nn.Module):
    """A classifier that finds a class wherever there is sound at the frequency of its tone."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        bins = [round(f * CLASSIFIER.fft / RATE) for f in CLASS_TONES.values()]
        self.outputs = inputs.mean(dim=(1, 3))[:, bins] - 1.0
        return self.outputs


def test_recognition_is_scikit_learns_and_the_same_at_each_look(tone_stems: AudioSet) -> None:
    torch.manual_seed(1)
    measure = recognition_measure(tone_stems, CLASSIFIER, CPU)
    torch.manual_seed(2)
    again = recognition_measure(tone_stems, CLASSIFIER, CPU)
    heard: list[torch.Tensor] = []

    class Heard(Loudest):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            heard.append(super().forward(inputs))
            return heard[-1]

    values = measure(Heard())
    assert measure(Loudest()) == values == again(Loudest())
    measures = ("accuracy", "f1", "precision", "recall")
    assert set(values) == {m + c for m in measures for c in ("", *(f"/{n}" for n in CLASSES))}
    found = (torch.cat(heard) >= 0).numpy()
    assert len(found) == watching.MIXTURES
    truth = truth_of(tone_stems)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, zero_division=0.0)
    assert values["f1"] == pytest.approx(f1.mean())
    for index, name in enumerate(CLASSES):
        assert values[f"f1/{name}"] == pytest.approx(f1[index])
        assert values[f"precision/{name}"] == pytest.approx(precision[index])
        assert values[f"recall/{name}"] == pytest.approx(recall[index])


def truth_of(stems: AudioSet) -> np.ndarray:
    from selfrefine.mixing.random_mixing import class_candidates, draw_mixtures
    from selfrefine.mixing.stem_pool import load_pool

    pool = load_pool(stems, CPU)
    generator = torch.Generator().manual_seed(watching.SEED)
    mixtures = draw_mixtures(
        pool,
        class_candidates(pool),
        CLASSIFIER,
        watching.MIXTURES,
        generator,
        CLASSIFIER.effects,
    )
    return mixtures.labels.bool().numpy()


def song_set(folder: Path, silent: tuple[str, ...] = ()) -> AudioSet:
    """Two songs; those named in `silent` have no bass."""
    rng = np.random.default_rng(0)
    with AudioSetWriter(folder, RATE) as writer:
        for song in ("first", "second"):
            for name in CLASSES:
                audio = tone(CLASS_TONES[name], 3.0) * rng.uniform(0.2, 1.0)
                gain = 0.0 if song in silent and name == "bass" else 1.0
                writer.add(song, name, (name,), (gain * audio).astype(np.float32))
    return open_audio_set(folder)


def test_sdr_is_that_of_the_tables_on_the_songs_that_have_all_sources(tmp_path: Path) -> None:
    songs = song_set(tmp_path / "songs", silent=("first",))
    torch.manual_seed(0)
    model = build_separator(XUMX_SETTINGS).eval()
    values = separation_measure(songs, XUMX_SETTINGS, CPU)(model)
    references = np.stack([songs.audio(clip) for clip in songs.clips if clip.song == "second"])
    mixture = torch.from_numpy(references.sum(axis=0))
    estimates = separate_song(model, XUMX_SETTINGS, mixture).numpy()
    expected = np.median(frame_sdr(references, estimates, RATE, RATE), axis=1)
    assert [values[f"sdr/{name}"] for name in CLASSES] == pytest.approx(expected, abs=1e-6)
    assert values["sdr"] == pytest.approx(expected.mean(), abs=1e-6)


def test_songs_without_all_sources_are_refused(tmp_path: Path) -> None:
    songs = song_set(tmp_path / "songs", silent=("first", "second"))
    with pytest.raises(InputError, match="no validation song"):
        separation_measure(songs, XUMX_SETTINGS, CPU)


def test_what_fails_is_said_once_and_the_training_goes_on() -> None:
    said: list[str] = []
    told: list[int] = []

    def prepare() -> watching.Metric:
        raise InputError("a broken file\nand more")

    watcher = Watcher(prepare, lambda step, values: told.append(step), said.append)
    for step in (1, 2, 3):
        watcher.look(torch.nn.Identity(), step, 3)
    assert said == ["not watched on validation songs: a broken file"]
    assert told == []


def test_looks_that_cost_too_much_are_left_out_but_for_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])

    def steps_looked_at(training_seconds: float, look_seconds: float) -> list[int]:
        def measure(model: torch.nn.Module) -> watching.Values:
            now[0] += look_seconds
            return {"sdr": 1.0, "sdr/bass": float("nan")}

        told: list[int] = []

        def tell(step: int, values: watching.Values) -> None:
            assert values == {"sdr": 1.0}  # what could not be measured is left out
            told.append(step)

        watcher = Watcher(lambda: measure, tell, print)
        for step in range(1, 7):
            now[0] += training_seconds / 6
            watcher.look(torch.nn.Identity(), step, 6)
        return told

    assert steps_looked_at(100.0, 0.2) == [1, 2, 3, 4, 5, 6]
    assert steps_looked_at(10.0, 0.2) == [6]
    assert steps_looked_at(100.0, 1.0) == [1, 5, 6]


def test_the_file_holds_each_look_and_drops_what_a_resumed_run_measures_again(
    tmp_path: Path,
) -> None:
    assert read_validation(tmp_path) == []
    for step, sdr in ((2, 1.0), (4, 2.0), (6, 3.0)):
        add_validation(tmp_path, step, {"sdr": sdr, "sdr/bass": sdr / 2})
    add_validation(tmp_path, 4, {"sdr": 5.0})
    assert read_validation(tmp_path) == [
        {"step": 2, "sdr": 1.0, "sdr/bass": 0.5},
        {"step": 4, "sdr": 5.0},
    ]
    (tmp_path / FILE).write_text("step,sdr\n1,none\n")
    assert read_validation(tmp_path) == []


def test_trainings_are_watched_with_validation_songs_and_with_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    stages = closure(list(table2(SMOKE)))
    names = {identity(stage) for stage in stages}
    songs = validation_songs("band", SMOKE.data, print)
    assert songs == bind(VALIDATION, "band", SMOKE.data)
    tests = {stage.test for stage in stages if isinstance(stage, SeparationScore)}
    for stage in stages:
        watched = watched_with(stage, songs)
        assert watched not in tests
        if isinstance(stage, Classifier):
            assert watched == Trimmed(songs)
        else:
            assert watched == (songs if isinstance(stage, Separator) else None)
    assert needed_to_watch(stages, songs, Store(tmp_path)) == [songs, Trimmed(songs)]
    # Watching is no part of what is computed.
    assert {identity(stage) for stage in closure(list(table2(SMOKE)))} == names
    assert songs not in stages


def test_nothing_is_made_to_watch_with_where_nobody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert validation_songs("band", SMOKE.data, said.append) is None
    assert said == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    assert validation_songs("musdb", SMOKE.data, said.append) is None
    assert len(said) == 1
    assert said[0].startswith("note   trainings go unwatched: MUSDB_PATH")
    assert needed_to_watch(closure(list(table2(SMOKE))), None, Store(tmp_path)) == []
    songs = BandSongs("a", 400, 2, 10.0, 16000, 2023)
    store = Store(tmp_path)
    for stage in closure(list(table2(SMOKE))):
        store.folder(stage).mkdir(parents=True)
        store.finish(stage, {}, {})
    assert needed_to_watch(closure(list(table2(SMOKE))), songs, store) == []
