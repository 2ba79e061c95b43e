"""`selfrefine check-data`: its hours agree with silence removal, and it finds every kind of
problem."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.app.signal_scan import scan_song
from selfrefine.audio.silence import remove_silence
from selfrefine.classes import CLASSES
from selfrefine.clips.trimming import trim_stems
from selfrefine.files.header import read_header
from selfrefine.files.layouts import SongFiles, StemFile, find_songs, stem_files
from selfrefine.progress import Progress
from selfrefine.settings import SilenceRemoval
from tests.cli_songs import ask, assert_refused, stem, tree, write_song, write_songs
from tests.conftest import RATE, tone


def problems_of(capsys: pytest.CaptureFixture[str], root: Path) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and the places where each kind of problem was found."""
    answer = ask(capsys, "check-data", root, "--json")
    found: dict[str, list[str]] = {}
    for problem in json.loads(answer.out)["problems"]:
        found.setdefault(problem["kind"], []).append(problem["where"])
    return answer.code, found


def scan(path: Path) -> tuple[float, float, float, int]:
    file = StemFile("bass", ("bass",), path)
    facts = scan_song(SongFiles("s", (file,)), {"bass": read_header(file)}).files["bass"]
    assert not facts.error
    return facts.seconds, facts.kept_seconds, facts.peak, facts.clipped


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_sounding_hours_agree_with_silence_removal(subtype: str, rate: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    # Long enough for several blocks; levels that come and go over 90 dB.
    levels = 10 ** (rng.uniform(-90, 0, 60) / 20)
    audio = np.repeat(levels, rate // 2)[:, None] * rng.uniform(-1, 1, (60 * (rate // 2), 2))
    audio = audio[: -rate // 7]
    soundfile.write(tmp_path / "bass.wav", audio, rate, subtype=subtype)
    stored, _ = soundfile.read(tmp_path / "bass.wav", dtype="float32")
    kept = remove_silence(stored.T, rate, SilenceRemoval())
    seconds, kept_seconds, peak, _ = scan(tmp_path / "bass.wav")
    assert seconds == pytest.approx(len(audio) / rate)
    assert kept_seconds == pytest.approx(kept.shape[1] / rate, abs=0.02)
    assert 0.1 < kept_seconds < 0.9 * seconds
    assert peak == pytest.approx(float(np.abs(stored).max()), rel=1e-4)


def test_only_runs_at_full_scale_count_as_clipped(tmp_path: Path) -> None:
    audio = np.zeros((RATE, 2))
    audio[100:110, 0] = 1.0
    audio[200:202, 1] = -1.0
    audio[300:303, 1] = -1.0
    soundfile.write(tmp_path / "bass.wav", audio, RATE, subtype="PCM_16")
    assert scan(tmp_path / "bass.wav")[3] == 13


def test_a_sound_data_set_has_no_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 3, 2.0)
    before = tree(tmp_path)
    answer = ask(capsys, "check-data", tmp_path / "in")
    assert answer.code == 0
    assert "no problems" in answer.out
    hours = next(line for line in answer.out.splitlines() if line.startswith("3 songs: hours  "))
    np.testing.assert_allclose([float(cell) for cell in hours.split()[-4:]], 6 / 3600, atol=6e-4)
    assert tree(tmp_path) == before


def test_every_problem_is_found_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "in"
    write_songs(root, 9, 2.0)
    songs = sorted(root.iterdir())
    (songs[0] / "vocals.wav").write_text("no audio at all\n" * 700000)
    (songs[1] / "vocals.wav").write_bytes((songs[1] / "vocals.wav").read_bytes()[:30000])
    (songs[2] / "vocals.wav").write_bytes(b"")
    broken = stem("bass", 3, 2.0)
    broken[77] = np.nan
    soundfile.write(songs[3] / "bass.wav", broken, RATE, subtype="FLOAT")
    soundfile.write(songs[4] / "bass.wav", np.zeros((2 * RATE, 2)), RATE)
    soundfile.write(songs[4] / "drums.wav", np.clip(8 * stem("drums", 4, 2.0), -1, 1), RATE)
    soundfile.write(songs[5] / "other.wav", stem("other", 5, 1.0), RATE)
    soundfile.write(songs[6] / "other.wav", stem("other", 6, 2.0, 8000)[:, 0], 8000)
    shutil.copy(songs[6] / "drums.wav", songs[7] / "drums.wav")
    soundfile.write(songs[8] / "choir.wav", tone(500.0, 1.0).T, RATE)
    soundfile.write(songs[8] / "bass.wav", np.zeros((0, 2)), RATE)
    code, found = problems_of(capsys, root)
    assert code == 1
    name = "Artist {} - Title".format
    assert sorted(found["unreadable"]) == [
        f"{name(0)}/vocals",
        f"{name(1)}/vocals",
        f"{name(2)}/vocals",
        f"{name(3)}/bass",
    ]
    assert found["empty"] == [f"{name(8)}/bass"]
    assert found["silent"] == [f"{name(4)}/bass"]
    assert found["clipped"] == [f"{name(4)}/drums"]
    assert found["unequal lengths"] == [name(5)]
    assert found["sample rate"] == [f"{name(6)}/other"]
    assert found["channels"] == [f"{name(6)}/other"]
    assert found["duplicate"] == [f"{name(7)}/drums"]
    assert found["not recognised"] == [f"{name(8)}/choir.wav"]
    assert len(found) == 9


def test_songs_in_both_splits_are_found_by_name_and_by_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for song in range(2):
        write_song(tmp_path / "train" / f"song {song}", song, 1.0)
        write_song(tmp_path / "test" / f"other song {song}", song + 5, 1.0)
    write_song(tmp_path / "test" / "SONG 0", 8, 1.0)
    write_song(tmp_path / "test" / "renamed", 1, 1.0)
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert set(found) == {"in two splits"}
    assert sorted(found["in two splits"]) == [
        *(f"test/renamed/{name}" for name in sorted(CLASSES)),
        "train/song 0",
    ]


def test_one_song_and_a_class_missing_everywhere_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    (tmp_path / "in" / "Artist 0 - Title" / "bass.wav").unlink()
    code, found = problems_of(capsys, tmp_path / "in")
    assert code == 1
    assert set(found) == {"few songs", "missing class"}


def test_stems_that_are_not_the_mixture_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("A - Fine", "PR - Oh No")):
        write_song(tmp_path / "test" / name, number, 2.0, mixture=True)
        write_song(tmp_path / "train" / f"B - {number}", number + 4, 2.0, mixture=True)
    path = tmp_path / "test" / "PR - Oh No" / "vocals.wav"
    soundfile.write(path, stem("vocals", 1, 2.0)[::-1] / 2, RATE)
    answer = ask(capsys, "check-data", tmp_path)
    assert answer.code == 0
    assert "MUSDB18-HQ" in answer.out
    assert "stems are not the mixture: 1" in answer.out
    assert "PR - Oh No: mixture minus stems" in answer.out


def test_the_label_noise_set_is_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for song in range(2):
        write_song(tmp_path / f"0a1b2c3d-0000-4000-8000-00000000000{song}", song, 1.0)
    answer = ask(capsys, "check-data", tmp_path)
    assert "SDXDB23_LabelNoise" in answer.out
    assert "the paper has" in answer.out


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="stem files are read by ffmpeg")
def test_stem_files_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stempeg = pytest.importorskip("stempeg")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        shutil.copy(stempeg.example_stem_path(), tmp_path / split / f"{split} - song.stem.mp4")
    (tmp_path / "test" / "bad.stem.mp4").write_bytes(b"no such box")
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert len(found["unreadable"]) == 5
    assert "in two splits" in found


def test_a_stem_file_without_ffmpeg_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_stempeg(path: Path) -> None:
        import selfrefine.errors

        raise selfrefine.errors.InputError(f"{path}: a stem file needs ffmpeg")

    monkeypatch.setattr("selfrefine.files.stem_mp4.import_stempeg", no_stempeg)
    (tmp_path / "song.stem.mp4").write_bytes(b"")
    _, found = problems_of(capsys, tmp_path)
    assert len(found["unreadable"]) == 5


def test_a_folder_without_a_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert_refused(ask(capsys, "check-data", tmp_path / "in"), "no song found")
    assert_refused(ask(capsys, "check-data", tmp_path / "gone"), "no such folder", "gone")


def test_names_in_any_case_are_stems(tmp_path: Path) -> None:
    write_song(tmp_path / "s", 0, 0.5)
    (tmp_path / "s" / "bass.wav").rename(tmp_path / "s" / "Bass.WAV")
    assert [file.name for file in stem_files(tmp_path / "s")] == list(CLASSES)


@pytest.mark.parametrize(
    "suffix", ["opus", "oga", "w64", "caf", "au", "aifc", "rf64", "mp2", "m4a"]
)
def test_files_that_are_not_read_are_named_at_any_depth(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 2, 1.0)
    write_song(tmp_path / "Artist" / "Album" / "Song", 4, 1.0)
    (tmp_path / "Artist 0 - Title" / f"choir.{suffix}").write_bytes(b"")
    code, found = problems_of(capsys, tmp_path)
    assert code == 0
    expected = [f"Artist/Album/Song/{name}.wav" for name in CLASSES]
    expected.append(f"Artist 0 - Title/choir.{suffix}")
    assert {kind: sorted(where) for kind, where in found.items()} == {
        "not recognised": sorted(expected)
    }


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        ("opus", "OGG OPUS"),
        ("oga", "OGG VORBIS"),
        ("w64", "W64 PCM_16"),
        ("caf", "CAF PCM_16"),
        ("au", "AU PCM_16"),
        ("rf64", "RF64 PCM_24"),
        ("aifc", "AIFF PCM_16"),
    ],
)
def test_stems_are_read_in_the_formats_of_libsndfile(
    suffix: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 2, 1.0)
    path = tmp_path / "Artist 0 - Title" / "bass.wav"
    container, subtype = form.split()
    audio, path_now = stem("bass", 0, 1.0, 48000), path.with_suffix(f".{suffix}")
    soundfile.write(path_now, audio, 48000, format=container, subtype=subtype)
    path.unlink()
    assert problems_of(capsys, tmp_path) == (0, {"sample rate": ["Artist 0 - Title/bass"]})


def test_a_link_to_nowhere_and_a_pointer_are_unreadable_stems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 3, 1.0)
    linked, pointer = (
        tmp_path / "Artist 0 - Title/bass.wav",
        tmp_path / "Artist 1 - Title/drums.wav",
    )
    linked.unlink()
    linked.symlink_to(".git/annex/objects/SHA256E-s1.wav")
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert found == {"unreadable": ["Artist 0 - Title/bass", "Artist 1 - Title/drums"]}
    for path in tmp_path.glob("*/*.wav"):
        path.unlink()
        path.symlink_to("/nowhere.wav")
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert len(found["unreadable"]) == 12


@pytest.mark.parametrize("kind", ["dither", "offset", "-100 dB"])
def test_what_cannot_be_heard_is_left_out_and_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2, 1.0)
    quiet = {
        "dither": np.random.default_rng(0).integers(-1, 2, (RATE, 2)) / 32768,
        "offset": np.full((RATE, 2), 0.05),
        "-100 dB": stem("vocals", 0, 1.0) * 1e-5,
    }[kind]
    path = tmp_path / "in" / "Artist 0 - Title" / "vocals.wav"
    soundfile.write(path, quiet, RATE, subtype="PCM_16" if kind == "dither" else "FLOAT")
    assert problems_of(capsys, tmp_path / "in") == (0, {"inaudible": ["Artist 0 - Title/vocals"]})
    songs = find_songs(tmp_path / "in", tracks=False)
    trimmed = trim_stems(songs, tmp_path / "set", RATE, Progress())
    (skipped,) = trimmed.skipped.values()
    assert "vocals.wav: inaudible throughout" in skipped.reason
    assert len(trimmed.kept) == 7


def test_a_quiet_stem_that_can_be_heard_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 2, 1.0)
    path = tmp_path / "Artist 0 - Title" / "vocals.wav"
    soundfile.write(path, stem("vocals", 0, 1.0) * 10 ** (-40 / 20), RATE, subtype="FLOAT")
    assert problems_of(capsys, tmp_path) == (0, {})


def test_an_impossible_header_leaves_one_file_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 3, 1.0)
    for song, rate in enumerate((1, 999999937)):
        path = tmp_path / f"Artist {song} - Title" / "bass.wav"
        content = bytearray(path.read_bytes())
        content[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(content)
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert found == {"unreadable": ["Artist 0 - Title/bass", "Artist 1 - Title/bass"]}


def test_all_problems_are_listed_where_two_files_are_one_stem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path, 3, 1.0)
    for song in (0, 1):
        soundfile.write(
            tmp_path / f"Artist {song} - Title" / "bass.flac", stem("bass", 7, 1.0), RATE
        )
    (tmp_path / "Artist 2 - Title" / "drums.wav").write_bytes(b"")
    code, found = problems_of(capsys, tmp_path)
    assert code == 1
    assert found["two files of one stem"] == ["Artist 0 - Title", "Artist 1 - Title"]
    assert found["unreadable"] == ["Artist 2 - Title/drums"]


def test_a_song_may_be_called_as_a_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_song(tmp_path / "Other", 0, 1.0)
    write_song(tmp_path / "Song", 1, 1.0)
    assert problems_of(capsys, tmp_path) == (0, {})
    assert [song.name for song in find_songs(tmp_path, tracks=False)] == ["Other", "Song"]
