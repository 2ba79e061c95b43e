"""Folders of real songs: what is found, what is mended and noted, and what is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.data import bind
from experiments.profiles import DataScale
from experiments.registry import TABLE2
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import CLEAN, NOISY, TEST
from experiments.stages.folder_songs import FolderSongs
from experiments.stages.trimmed import Trimmed
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import by_song, open_audio_set
from selfrefine.clips.song_set import read_songs
from selfrefine.errors import InputError
from selfrefine.files.header import listed_seconds
from selfrefine.files.layouts import find_songs, fingerprint
from selfrefine.progress import Progress
from selfrefine.settings import Corruption
from tests.conftest import tone

RATE = 16000
SCALE = DataScale(RATE, 1, 1, 1, 1, 1.0, Corruption(), 1, 1.0)


def write_song(folder: Path, rate: int = RATE, seconds: float = 1.0, suffix: str = "wav") -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(CLASSES):
        audio = tone(200.0 * (number + 1), seconds, rate)
        soundfile.write(folder / f"{name}.{suffix}", audio.T, rate, subtype="PCM_16")


def read(root: Path, tmp_path: Path, tracks: bool = False):
    said: list[str] = []
    out = tmp_path / "set"
    read_songs(find_songs(root, tracks), out, RATE, Progress(note=said.append))
    return open_audio_set(out), said


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_stems_come_back_sample_for_sample(tmp_path: Path, suffix: str) -> None:
    write_song(tmp_path / "songs" / "Artist - Title", suffix=suffix)
    stored, said = read(tmp_path / "songs", tmp_path)
    assert list(by_song(stored)) == ["Artist - Title"]
    assert [clip.label for clip in stored.clips] == [(name,) for name in CLASSES]
    for number, clip in enumerate(stored.clips):
        expected = tone(200.0 * (number + 1), 1.0)
        np.testing.assert_allclose(stored.audio(clip), expected, atol=1 / 16384)
    assert said == []


def test_another_rate_is_resampled_and_said_once(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s", rate=44100)
    stored, said = read(tmp_path / "songs", tmp_path)
    assert said == ["4 files: audio of 44100 Hz is resampled to 16000 Hz"]
    middle = stored.audio(stored.clips[0])[:, 4000:12000]
    np.testing.assert_allclose(middle, tone(200.0, 1.0)[:, 4000:12000], atol=0.002)


def test_mono_is_made_stereo_and_said_once(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s")
    mono = tone(200.0, 1.0)[:1]
    soundfile.write(tmp_path / "songs" / "s" / "vocals.wav", mono.T, RATE)
    stored, said = read(tmp_path / "songs", tmp_path)
    assert said == ["1 file: mono audio is made stereo"]
    left, right = stored.audio(stored.clips[0])
    assert (left == right).all()


def test_unequal_lengths_are_padded_and_said(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s")
    soundfile.write(tmp_path / "songs" / "s" / "bass.wav", tone(100.0, 0.75).T, RATE)
    stored, said = read(tmp_path / "songs", tmp_path)
    assert len({clip.length for clip in stored.clips}) == 1
    assert len(said) == 1
    assert said[0].startswith("s/bass is 0.25 s shorter")
    assert np.abs(stored.audio(stored.clips[1])[:, 12000:]).max() == 0


def test_instrument_tracks_carry_their_class(tmp_path: Path) -> None:
    tracks = tmp_path / "songs" / "s" / "tracks"
    tracks.mkdir(parents=True)
    for name in ("drums__kick", "drums__snare", "vocals__lead"):
        soundfile.write(tracks / f"{name}.flac", tone(300.0, 0.5).T, RATE)
    stored, _ = read(tmp_path / "songs", tmp_path, tracks=True)
    assert [(clip.name, clip.label) for clip in stored.clips] == [
        ("drums__kick", ("drums",)),
        ("drums__snare", ("drums",)),
        ("vocals__lead", ("vocals",)),
    ]


def damage(path: Path, kind: str) -> None:
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:2000])
        case "text":
            path.write_text("this is no audio\n" * 1000)
        case "empty":
            path.write_bytes(b"")
        case "no samples":
            soundfile.write(path, np.zeros((0, 2)), RATE)
        case "not finite":
            audio = tone(200.0, 1.0).T.copy()
            audio[100] = np.nan
            soundfile.write(path, audio, RATE, subtype="FLOAT")


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "no samples", "not finite"])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    write_song(tmp_path / "songs" / "s")
    damage(tmp_path / "songs" / "s" / "drums.wav", kind)
    with pytest.raises(InputError, match=r"drums\.wav"):
        read(tmp_path / "songs", tmp_path)
    assert not (tmp_path / "set" / "index.json").exists()


def test_a_truncated_flac_is_refused_by_name(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s", suffix="flac")
    path = tmp_path / "songs" / "s" / "other.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"other\.flac"):
        read(tmp_path / "songs", tmp_path)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_songs(tmp_path / "nowhere", tracks=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no song found"):
        find_songs(tmp_path / "empty", tracks=False)


def test_two_files_for_one_stem_are_refused(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s")
    soundfile.write(tmp_path / "songs" / "s" / "bass.flac", tone(100.0, 1.0).T, RATE)
    with pytest.raises(InputError, match=r"both bass\.wav and bass\.flac"):
        find_songs(tmp_path / "songs", tracks=False)


def test_a_track_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "songs" / "s" / "tracks").mkdir(parents=True)
    soundfile.write(tmp_path / "songs" / "s" / "tracks" / "kick.wav", tone(60.0, 0.1).T, RATE)
    with pytest.raises(InputError, match=r"kick\.wav: name it <class>__"):
        find_songs(tmp_path / "songs", tracks=True)


def test_a_track_may_be_named_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "s" / "tracks").mkdir(parents=True)
    soundfile.write(tmp_path / "s" / "tracks" / "Vocals__Lead.WAV", tone(60.0, 0.1).T, RATE)
    (song,) = find_songs(tmp_path, tracks=True)
    assert [file.label for file in song.files] == [("vocals",)]


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "s")
    before = fingerprint(find_songs(tmp_path / "songs", tracks=False))
    assert fingerprint(find_songs(tmp_path / "songs", tracks=False)) == before
    soundfile.write(tmp_path / "songs" / "s" / "bass.wav", tone(101.0, 1.0).T, RATE)
    assert fingerprint(find_songs(tmp_path / "songs", tracks=False)) != before


def test_musdb_paths_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    with pytest.raises(InputError, match="MUSDB_PATH is not set"):
        bind(Trimmed(CLEAN), "musdb", SCALE)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "gone"))
    with pytest.raises(InputError, match="no such folder"):
        bind(Trimmed(CLEAN), "musdb", SCALE)
    write_song(tmp_path / "musdb" / "train" / "a")
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "musdb"))
    assert isinstance(bind(Trimmed(CLEAN), "musdb", SCALE).songs, FolderSongs)
    with pytest.raises(InputError, match="must hold the folders train and test"):
        bind(Trimmed(TEST), "musdb", SCALE)
    write_song(tmp_path / "noise" / "uuid-1")
    monkeypatch.setenv("LABELNOISE_PATH", str(tmp_path / "noise"))
    assert bind(Trimmed(NOISY), "musdb", SCALE).songs.name == "sdxdb23"


def test_the_noisy_set_of_multitracks_is_their_corrupted_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song(tmp_path / "train" / "a")
    (tmp_path / "train" / "a" / "tracks").mkdir()
    path = tmp_path / "train" / "a" / "tracks" / "bass__synth.wav"
    soundfile.write(path, tone(80.0, 1.0).T, RATE)
    monkeypatch.setenv("MULTITRACK_PATH", str(tmp_path))
    noisy = bind(Trimmed(NOISY), "multitrack", SCALE).songs
    assert isinstance(noisy, Corrupted)
    assert noisy.songs.tracks
    assert not bind(Trimmed(CLEAN), "multitrack", SCALE).songs.tracks


def test_unknown_data_lists_the_choices() -> None:
    with pytest.raises(InputError, match="band, musdb, multitrack"):
        bind(TABLE2.rows[0].stage, "musbd", SCALE)


def test_listed_seconds_are_those_of_readable_stems(tmp_path: Path) -> None:
    write_song(tmp_path / "in" / "a")
    soundfile.write(tmp_path / "in" / "a" / "mixture.wav", tone(80.0, 9.0).T, RATE)
    songs = find_songs(tmp_path / "in", tracks=False)
    stems = [file for file in songs[0].files if file.label]
    whole = sum(soundfile.info(file.path).duration for file in stems)
    assert listed_seconds(songs) == pytest.approx(whole)
    lost = soundfile.info(stems[0].path).duration
    stems[0].path.write_bytes(b"no audio")
    assert listed_seconds(songs) == pytest.approx(whole - lost)
