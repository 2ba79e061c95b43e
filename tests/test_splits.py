"""The splits of a user's own data are disjoint and seeded, and keep artists together."""

import shutil
from pathlib import Path

import pytest
import soundfile

from experiments.data import bind
from experiments.profiles import DataScale
from experiments.stages.data_set import CLEAN, NOISY, TEST, VALIDATION
from experiments.stages.songs import Songs
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from experiments.work import Work
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import by_song, open_audio_set
from selfrefine.clips.song_set import read_songs, read_stem
from selfrefine.errors import InputError
from selfrefine.files.layouts import find_songs
from selfrefine.files.splits import (
    MUSDB18_VALIDATION,
    artist_of,
    songs_of_split,
    validation_names,
)
from selfrefine.progress import Progress, ignore
from selfrefine.settings import Corruption
from tests.cli_songs import stem, write_song
from tests.conftest import RATE, tone

SCALE = DataScale(RATE, 1, 1, 1, 1, 1.0, Corruption(), 1, 1.0)


def names(root: Path, split: str, tracks: bool = False) -> set[str]:
    return {song.name for song in songs_of_split(root, split, tracks)}


def write_set(root: Path, songs: list[str], split: str = "train") -> None:
    for number, name in enumerate(songs):
        write_song(root / split / name, number % 6, 0.2)


def test_artists_stay_on_one_side_and_every_song_is_in_one_split() -> None:
    songs = [f"Artist {k // 3} - {k}" for k in range(60)]
    held = validation_names(songs, 0.14, seed=0)
    assert 6 <= len(held) <= 9
    trained = {artist_of(name) for name in songs if name not in held}
    assert trained.isdisjoint(artist_of(name) for name in held)
    assert validation_names(songs[::-1], 0.14, seed=0) == held
    assert validation_names(songs, 0.14, seed=1) != held


def test_one_artist_alone_is_split_by_songs() -> None:
    held = validation_names([f"One - {k}" for k in range(10)], 0.14, seed=0)
    assert len(held) == 1


def test_musdb_keeps_its_own_validation_songs() -> None:
    assert len(MUSDB18_VALIDATION) == 14
    songs = [*MUSDB18_VALIDATION, *(f"A{k} - B" for k in range(86))]
    assert validation_names(songs, 0.14, seed=5) == MUSDB18_VALIDATION


def test_musdb_validation_songs_are_those_of_the_musdb_package() -> None:
    package = pytest.importorskip("musdb", exc_type=(ImportError, RuntimeError, OSError))
    config = Path(package.__file__).parent / "configs" / "mus.yaml"
    listed = config.read_text().partition("validation_tracks:")[2]
    assert {line.strip("- '") for line in listed.splitlines() if line.strip()} == MUSDB18_VALIDATION


@pytest.mark.parametrize("folder", ["validation", "valid"])
def test_a_validation_folder_is_used(folder: str, tmp_path: Path) -> None:
    write_set(tmp_path, ["A - 1", "B - 2"])
    write_set(tmp_path, ["C - 3"], folder)
    assert names(tmp_path, "train") == {"A - 1", "B - 2"}
    assert names(tmp_path, "validation") == {"C - 3"}


def test_without_a_validation_folder_training_songs_are_held_out(tmp_path: Path) -> None:
    write_set(tmp_path, [f"A{k} - T" for k in range(7)])
    train, validation = names(tmp_path, "train"), names(tmp_path, "validation")
    assert len(validation) == 1
    assert len(train) == 6
    assert train.isdisjoint(validation)


def test_stems_and_tracks_of_a_set_are_split_alike(tmp_path: Path) -> None:
    songs = [f"A{k} - T" for k in range(7)]
    write_set(tmp_path, songs)
    for name in songs[1:]:
        (tmp_path / "train" / name / "tracks").mkdir()
        path = tmp_path / "train" / name / "tracks" / "bass__synth.wav"
        soundfile.write(path, tone(80.0, 0.2).T, RATE)
    tracks = names(tmp_path, "train", tracks=True)
    assert tracks
    assert tracks.isdisjoint(names(tmp_path, "validation"))
    assert tracks <= names(tmp_path, "train")


def test_one_song_has_no_validation_split(tmp_path: Path) -> None:
    write_set(tmp_path, ["A - 1"])
    assert names(tmp_path, "train") == {"A - 1"}
    with pytest.raises(InputError, match="1 song cannot be split"):
        songs_of_split(tmp_path, "validation", tracks=False)


def test_musdb_and_multitrack_have_all_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "musdb", ["Actions - One Minute Smile", "A - 1", "B - 2"])
    write_set(tmp_path / "musdb", ["C - 3"], "test")
    write_set(tmp_path, ["u1", "u2"], "noise")
    for name in ("A - 1", "B - 2", "Actions - One Minute Smile"):
        (tmp_path / "musdb" / "train" / name / "tracks").mkdir()
        path = tmp_path / "musdb" / "train" / name / "tracks" / "bass__synth.wav"
        soundfile.write(path, tone(80.0, 0.2).T, RATE)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "musdb"))
    monkeypatch.setenv("MULTITRACK_PATH", str(tmp_path / "musdb"))
    monkeypatch.setenv("LABELNOISE_PATH", str(tmp_path / "noise"))
    expected = {
        CLEAN: {"A - 1", "B - 2"},
        VALIDATION: {"Actions - One Minute Smile"},
        TEST: {"C - 3"},
    }
    marks = set()
    for number, (dataset, songs) in enumerate(expected.items()):
        stage = bind(Trimmed(dataset), "musdb", SCALE).songs
        marks.add(stage.fingerprint)
        assert stored_songs(stage, tmp_path / f"set{number}") == songs
        assert bind(Trimmed(dataset), "multitrack", SCALE).songs.fingerprint == stage.fingerprint
    assert len(marks) == 3
    assert bind(Trimmed(NOISY), "musdb", SCALE).songs.fingerprint not in marks
    tracks = bind(Trimmed(NOISY), "multitrack", SCALE).songs.songs
    assert stored_songs(tracks, tmp_path / "tracks") == expected[CLEAN]


def stored_songs(stage: Songs, root: Path) -> set[str]:
    """The songs that a stage stores when it is computed."""
    store = Store(root)
    store.folder(stage).mkdir(parents=True)
    stage.compute(Work(store, store.folder(stage), Progress(note=print), None, ignore, 1))
    return set(by_song(open_audio_set(store.folder(stage))))


def test_a_mixture_that_is_not_its_stems_is_read_and_said(tmp_path: Path) -> None:
    for number, name in enumerate(("A - Fine", "PR - Oh No")):
        write_song(tmp_path / "in" / name, number, 1.0, mixture=True)
    path = tmp_path / "in" / "PR - Oh No" / "vocals.wav"
    soundfile.write(path, stem("vocals", 1, 1.0)[::-1] / 2, RATE)
    said: list[str] = []
    songs = find_songs(tmp_path / "in", tracks=False)
    read_songs(songs, tmp_path / "set", RATE, Progress(note=said.append))
    assert len(said) == 1
    assert said[0].startswith("PR - Oh No: the stems do not sum to the mixture")
    clips = by_song(open_audio_set(tmp_path / "set"))["PR - Oh No"]
    assert [clip.name for clip in clips] == [*CLASSES, "mixture"]


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="stem files are read by ffmpeg")
def test_streams_of_a_stem_file_are_read_as_their_classes(tmp_path: Path) -> None:
    stempeg = pytest.importorskip("stempeg")
    (tmp_path / "in").mkdir()
    shutil.copy(stempeg.example_stem_path(), tmp_path / "in" / "A - B.stem.mp4")
    (song,) = find_songs(tmp_path / "in", tracks=False)
    assert song.name == "A - B"
    whole, rate = stempeg.read_stems(stempeg.example_stem_path())
    order = ("mixture", "drums", "bass", "other", "vocals")
    for file in song.files:
        expected = whole[order.index(file.name)].T
        ours = read_stem(file, rate, lambda sentence: None)
        assert abs(ours - expected).max() < 1e-6


def test_mixed_layouts_are_refused(tmp_path: Path) -> None:
    write_song(tmp_path / "A - B", 0, 0.2)
    (tmp_path / "bass").mkdir()
    soundfile.write(tmp_path / "bass" / "x.wav", tone(80.0, 0.2).T, RATE)
    with pytest.raises(InputError, match="keep one kind"):
        find_songs(tmp_path, tracks=False)
