"""`--test folder`: rows are tested on a user's own songs, in any folder."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.commands import plan
from experiments.data import bind
from experiments.examples import FOLDER as EXAMPLES
from experiments.profiles import PROFILES
from experiments.registry import TABLE2
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.data_set import TEST, VALIDATION
from experiments.stages.own_songs import OwnSongs, find_own_songs, own_songs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.separation_score import SeparationScore, song_scores
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, describe, identity
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.targets import from_seeds, groups_of, resolved_rows, wanted_stages
from experiments.work import Work
from selfrefine.app.evaluate_folders import paired_songs, score_song
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSetWriter, by_song, open_audio_set
from selfrefine.clips.song_signals import references_and_mixture
from selfrefine.errors import InputError
from selfrefine.files.layouts import find_songs
from selfrefine.metrics.sdr import frame_sdr, track_sdr
from selfrefine.progress import Progress, ignore
from tests.cli_songs import stem, write_song
from tests.conftest import RATE, tone

SMOKE = PROFILES["smoke"]
SetPath = Callable[..., None]


@pytest.fixture
def set_path(monkeypatch: pytest.MonkeyPatch) -> SetPath:
    def to(*folders: Path) -> None:
        monkeypatch.setenv("TEST_PATH", ":".join(str(folder) for folder in folders))

    return to


def write_tracks(song: Path, *names: str, seconds: float = 1.0) -> None:
    (song / "tracks").mkdir(parents=True)
    for number, name in enumerate(names):
        audio = tone(200.0 * (number + 1), seconds)
        soundfile.write(song / "tracks" / f"{name}.wav", audio.T, RATE, subtype="PCM_16")


@pytest.fixture
def songs(tmp_path: Path, set_path: SetPath) -> Path:
    """Two folders of songs. One has songs with stems in and beside a split; the other has tracks
    alone."""
    write_song(tmp_path / "one" / "train" / "A - Stems", 0, 3.0)
    write_tracks(tmp_path / "one" / "train" / "A - Stems", "drums__not_used")
    write_song(tmp_path / "one" / "C - Direct", 1, 3.0)
    write_tracks(
        tmp_path / "two" / "B - Tracks", "drums__kick", "drums__snare", "bass__synth", seconds=3.0
    )
    set_path(tmp_path / "one", tmp_path / "two")
    return tmp_path


def work_of(stage: Stage, store: Store, progress: Progress | None = None) -> Work:
    store.folder(stage).mkdir(parents=True, exist_ok=True)
    progress = progress or Progress(note=ignore)
    return Work(store, store.folder(stage), progress, None, ignore, 1)


def read(stage: OwnSongs, store: Store) -> list[str]:
    said: list[str] = []
    stage.compute(work_of(stage, store, Progress(note=said.append)))
    return said


def test_songs_are_found_in_every_folder_and_split_and_stems_come_before_tracks(
    songs: Path,
) -> None:
    found = {song.name: [file.name for file in song.files] for song in find_own_songs()}
    assert found == {
        "A - Stems": list(CLASSES),
        "B - Tracks": ["bass__synth", "drums__kick", "drums__snare"],
        "C - Direct": list(CLASSES),
    }


def test_where_songs_lie_is_no_part_of_the_identity(songs: Path, set_path: SetPath) -> None:
    before = own_songs(RATE)
    shutil.copytree(songs / "one", songs / "elsewhere" / "deep")
    set_path(songs / "two", songs / "elsewhere" / "deep")
    assert own_songs(RATE) == before
    set_path(songs / "two", songs / "one", songs / "one")
    assert own_songs(RATE) == before
    set_path(songs / "one")
    assert own_songs(RATE).fingerprint != before.fingerprint


def test_tracks_are_summed_to_the_stems_of_their_class(songs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    read(own_songs(RATE), store)
    stored = open_audio_set(store.folder(own_songs(RATE)))
    references, mixture = references_and_mixture(stored, by_song(stored)["B - Tracks"])
    # The tracks' tones in the order of their names: kick 200 Hz, snare 400 Hz, synth 600 Hz.
    expected = np.zeros((4, 2, 3 * RATE))
    expected[CLASSES.index("drums")] = tone(200.0, 3.0) + tone(400.0, 3.0)
    expected[CLASSES.index("bass")] = tone(600.0, 3.0)
    np.testing.assert_allclose(references, expected, atol=1 / 8192)
    np.testing.assert_allclose(mixture, expected.sum(axis=0), atol=1 / 4096)


def test_plan_knows_the_seconds_of_every_class_that_a_song_has(songs: Path) -> None:
    assert own_songs(RATE).stem_seconds() == pytest.approx(3.0 * (4 + 4 + 2))


def test_songs_that_change_while_running_are_refused(songs: Path, tmp_path: Path) -> None:
    stage = own_songs(RATE)
    soundfile.write(songs / "one" / "C - Direct" / "bass.wav", tone(99.0, 3.0).T, RATE)
    with pytest.raises(InputError, match="TEST_PATH changed while running; run the command again"):
        read(stage, Store(tmp_path / "runs"))


def without_variable(root: Path, set_path: SetPath) -> None:
    set_path()


def missing_folder(root: Path, set_path: SetPath) -> None:
    set_path(root / "gone")


def folder_without_songs(root: Path, set_path: SetPath) -> None:
    (root / "empty").mkdir()
    set_path(root / "two", root / "empty")


def one_name_twice(root: Path, set_path: SetPath) -> None:
    write_song(root / "three" / "A - Stems", 2, 1.0)
    set_path(root / "one", root / "three")


def no_vocals_anywhere(root: Path, set_path: SetPath) -> None:
    set_path(root / "two")


def badly_named_track(root: Path, set_path: SetPath) -> None:
    write_tracks(root / "four" / "D - Kick", "kick")
    set_path(root / "four")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (without_variable, "TEST_PATH is not set; set it to the folder"),
        (missing_folder, "gone: no such folder; check the path"),
        (folder_without_songs, "empty: no song found; expected <song>/<class>"),
        (one_name_twice, "two songs are called 'A - Stems', in .*one.*three.*rename one"),
        (no_vocals_anywhere, "none of the 1 songs has vocals or other"),
        (badly_named_track, "name it <class>__<instrument>"),
    ],
)
def test_songs_that_cannot_be_used_are_one_clear_error_before_anything_runs(
    make: Callable[[Path, SetPath], None],
    says: str,
    songs: Path,
    set_path: SetPath,
    tmp_path: Path,
) -> None:
    make(songs, set_path)
    with pytest.raises(InputError, match=says):
        plan(["table2"], "smoke", "band", tmp_path / "runs", range(1), test="folder")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no test called 'mine'; choose one of band, folder"):
        resolved_rows(["table2"], SMOKE, "band", "mine")


def test_every_row_is_tested_on_the_own_songs_and_trained_as_before(songs: Path) -> None:
    band = resolved_rows(["*"], SMOKE, "band")
    folder = resolved_rows(["*"], SMOKE, "band", "folder")
    own = own_songs(SMOKE.data.sample_rate)
    assert band.keys() == folder.keys()
    for label, (_, stage) in folder.items():
        before = band[label][1]
        if isinstance(stage, SeparationScore):
            # Even where test songs chose the thresholds that it was trained with.
            assert stage == replace(before, test=own)
        elif isinstance(stage, RecognitionScore):
            stems = replace(before.outputs, stems=Trimmed(own))
            assert stage == replace(before, outputs=stems)
    validated = folder["figure4/thresholds"][1]
    assert validated == band["figure4/thresholds"][1]
    assert bind(VALIDATION, "band", SMOKE.data) in closure([validated])


def test_both_tests_are_run_with_the_same_trainings(songs: Path) -> None:
    asked = closure(wanted_stages(["table1", "table2"], SMOKE, "band", "folder", range(2)))
    plain = closure(wanted_stages(["table1", "table2"], SMOKE, "band", "band", range(2)))
    added = set(asked) - set(plain)
    assert set(plain) < set(asked)
    assert not any(isinstance(stage, Classifier | Separator) for stage in added)
    scores = sum(isinstance(stage, SeparationScore) for stage in added)
    assert scores == 2 * len(TABLE2.rows)
    assert len({describe(stage) for stage in asked}) == len(asked)


def test_what_only_the_own_songs_need_is_grouped_apart(songs: Path) -> None:
    groups = groups_of(["table2/x-umx-noisy"], SMOKE, "band", range(1), test="folder")
    assert groups.items() >= groups_of(["table2/x-umx-noisy"], SMOKE, "band", range(1)).items()
    rows = resolved_rows(["table2/x-umx-noisy"], SMOKE, "band", "folder")
    (score,) = (stage for _, stage in rows.values())
    assert groups[score][:2] == ["table2 on own songs", "table2/x-umx-noisy on own songs"]
    assert set(closure(from_seeds(score, range(1)))) <= set(groups)


def scored(
    songs: OwnSongs | BandSongs,
    store: Store,
    estimates: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[dict, Path]:
    """The result of a score, and its folder, where the network returns `estimates`
    `(class, channel, sample)`."""
    import torch

    from selfrefine.models import separator, weights

    monkeypatch.setattr(separator, "build_separator", lambda settings: None)
    monkeypatch.setattr(weights, "load_model", lambda model, path, device: None)
    monkeypatch.setattr(
        separator, "separate_song", lambda model, settings, mixture: torch.from_numpy(estimates)
    )
    row = resolved_rows(["table2/x-umx-clean"], SMOKE, "band")["table2/x-umx-clean"][1]
    assert isinstance(row, SeparationScore)
    stage = replace(row, test=songs)
    store.folder(stage.separator).mkdir(parents=True)
    store.finish(stage.separator, {}, {})
    return stage.compute(work_of(stage, store)), store.folder(stage)


def test_a_song_without_a_class_is_scored_on_the_others_as_evaluate_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = tmp_path / "in" / "A - No Bass"
    write_song(song, 0, 3.0)
    (song / "bass.wav").unlink()
    store = Store(tmp_path / "runs")
    songs = OwnSongs(RATE, "abc")
    with AudioSetWriter(store.folder(songs), RATE) as writer:
        for file in find_songs(tmp_path / "in", tracks=False)[0].files:
            audio, _ = soundfile.read(file.path, dtype="float32")
            writer.add("A - No Bass", file.name, file.label, audio.T)
    store.finish(songs, {}, {})
    estimates = np.stack([stem(name, 1, 3.0).T for name in CLASSES]).astype(np.float32)
    result, folder = scored(songs, store, estimates, monkeypatch)
    for name, audio in zip(CLASSES, estimates, strict=True):
        path = tmp_path / "out" / "A - No Bass" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio.T, RATE, subtype="FLOAT")
    ((song, pairs),) = paired_songs(tmp_path / "in", tmp_path / "out").pairs.items()
    known = score_song(song, pairs, all_four=False, with_museval=False)
    assert known.classes == ("vocals", "drums", "other")
    found = result["tracks"]["A - No Bass"]
    assert found["bass"] is None
    assert [found[name] for name in known.classes] == pytest.approx(known.median("SDR"), abs=1e-3)
    assert not (folder / EXAMPLES).exists()


def test_songs_with_every_class_score_to_the_bit_as_before_and_leave_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    songs = bind(TEST, "band", SMOKE.data)
    with AudioSetWriter(store.folder(songs), RATE) as writer:
        for name in CLASSES:
            writer.add("a500", name, (name,), stem(name, 0, 3.0).T)
    store.finish(songs, {}, {})
    stored = open_audio_set(store.folder(songs))
    references, _ = references_and_mixture(stored, list(stored.clips))
    estimates = (0.7 * references[::-1] + references).astype(np.float32)
    result, folder = scored(songs, store, estimates, monkeypatch)
    known = track_sdr(frame_sdr(references, estimates, RATE, RATE))
    assert result["tracks"]["a500"] == dict(zip(CLASSES, known.tolist(), strict=True))
    assert len(list((folder / EXAMPLES).iterdir())) == 1 + 2 * len(CLASSES)


def test_a_lacking_class_is_not_a_number() -> None:
    references = np.stack([stem(name, 0, 2.0).T for name in CLASSES])
    held = np.array([True, False, True, True])
    scores = song_scores(references, 0.9 * references, held, RATE)
    # The error is a tenth of the reference.
    assert scores[held] == pytest.approx([20.0] * 3)
    assert np.isnan(scores[~held]).all()


def test_identities_of_a_row_differ_by_its_test_alone(songs: Path) -> None:
    names = ["table2/x-umx-clean"]
    band, folder = (
        resolved_rows(names, SMOKE, "band", test)[names[0]][1] for test in ("band", "folder")
    )
    assert identity(band) != identity(folder)
    assert describe(folder) == "SDR on own songs of X-UMX on clean"
