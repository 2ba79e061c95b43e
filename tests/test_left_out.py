"""Audio that is not used is named and counted, wherever it lies, and what a folder holds is
recognised by its content."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.clips.trimming import trim_stems
from selfrefine.errors import InputError
from selfrefine.files.layouts import audio_files, find_songs, fingerprint, unused_audio
from selfrefine.files.splits import songs_of_split
from selfrefine.progress import Progress
from tests.cli_songs import ask, assert_refused, stem, write_song, write_songs
from tests.conftest import RATE


def problems(capsys: pytest.CaptureFixture[str], root: Path) -> dict[str, list[tuple[str, str]]]:
    """Where and what each problem of check-data is, by its kind."""
    found: dict[str, list[tuple[str, str]]] = {}
    for problem in json.loads(ask(capsys, "check-data", root, "--json").out)["problems"]:
        found.setdefault(problem["kind"], []).append((problem["where"], problem["what"]))
    return found


@pytest.mark.parametrize("ending", ["opus", "w64", "caf", "au", "oga", "aifc"])
def test_stems_of_every_usual_format_are_read(ending: str, tmp_path: Path) -> None:
    forms = {"opus": ("OGG", "OPUS"), "oga": ("OGG", "VORBIS"), "aifc": ("AIFF", "PCM_16")}
    form, subtype = forms.get(ending, (ending.upper(), "PCM_16"))
    (tmp_path / "in" / "s").mkdir(parents=True)
    path = tmp_path / "in" / "s" / f"bass.{ending}"
    soundfile.write(path, stem("bass", 1, 2.0, 48000), 48000, format=form, subtype=subtype)
    songs = find_songs(tmp_path / "in", tracks=False)
    trimmed = trim_stems(songs, tmp_path / "out", RATE, Progress(note=print))
    assert trimmed.kept["s", "bass"].seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="m4a is read by ffmpeg")
def test_an_m4a_is_read_by_ffmpeg_and_a_cut_one_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(tmp_path / "in", 2, 3.0)
    song = sorted((tmp_path / "in").iterdir())[0]
    words = ["ffmpeg", "-v", "error", "-i", "bass.wav", "-movflags", "faststart", "bass.m4a"]
    subprocess.run(words, cwd=song, check=True)
    expected = soundfile.info(song / "bass.wav").duration
    (song / "bass.wav").unlink()
    files = {file.name: file for file in find_songs(tmp_path / "in", tracks=False)[0].files}
    assert files["bass"].path.suffix == ".m4a"
    assert "unreadable" not in problems(capsys, tmp_path / "in")
    songs = find_songs(tmp_path / "in", tracks=False)
    trimmed = trim_stems(songs, tmp_path / "out", RATE, Progress(note=print))
    assert trimmed.kept[song.name, "bass"].seconds == pytest.approx(expected, abs=0.1)
    whole = (song / "bass.m4a").read_bytes()
    (song / "bass.m4a").write_bytes(whole[: len(whole) * 2 // 3])
    ((where, what),) = problems(capsys, tmp_path / "in")["unreadable"]
    assert where == f"{song.name}/bass"
    assert "truncated" in what
    monkeypatch.setenv("PATH", "")
    ((where, what),) = problems(capsys, tmp_path / "in")["unreadable"]
    assert "needs ffmpeg" in what


def test_audio_at_any_depth_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_songs(tmp_path, 2, 1.0)
    write_song(tmp_path / "Artist X" / "Deep", 3, 1.0)
    write_song(tmp_path / ".git" / "annex", 4, 1.0)
    (tmp_path / "Artist X" / "Deep" / "._bass.wav").write_bytes(b"")
    (tmp_path / "Artist X" / "round").symlink_to(tmp_path)
    shutil.copy(tmp_path / "Artist X" / "Deep" / "bass.wav", tmp_path / "click.wav")
    expected = [f"Artist X/Deep/{name}.wav" for name in ("bass", "drums", "other", "vocals")]
    unused = unused_audio(tmp_path, find_songs(tmp_path, tracks=False))
    assert [str(path.relative_to(tmp_path)) for path in unused] == [*expected, "click.wav"]
    found = problems(capsys, tmp_path)["not recognised"]
    assert [where for where, _ in found] == [*expected, "click.wav"]


def test_a_data_set_that_lies_deeper_is_pointed_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in" / "data", 3, 0.2)
    answer = ask(capsys, "check-data", tmp_path / "in")
    assert_refused(answer, "no song found; 3 songs in", str(tmp_path / "in" / "data"))


def test_links_to_nowhere_are_unreadable_stems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2, 2.0)
    path = tmp_path / "in" / "Artist 0 - Title" / "bass.wav"
    path.unlink()
    path.symlink_to(tmp_path / "annex" / "bass.wav")
    songs = find_songs(tmp_path / "in", tracks=False)
    assert fingerprint(songs)
    assert path in audio_files(path.parent)
    ((where, what),) = problems(capsys, tmp_path / "in")["unreadable"]
    assert where == "Artist 0 - Title/bass"
    assert f"points to {tmp_path / 'annex' / 'bass.wav'}, which is not there" in what
    trimmed = trim_stems(songs, tmp_path / "out", RATE, Progress(note=print))
    assert [stem.reason for stem in trimmed.skipped.values()] == [what]


def test_class_folders_of_links_to_nowhere_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bass", "drums+other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Song__bass.wav").symlink_to(tmp_path / "gone" / f"{name}.wav")
        (tmp_path / name / f"{name}.wav").symlink_to(tmp_path / "gone" / f"{name}.wav")
    found = problems(capsys, tmp_path)
    assert len(found["unreadable"]) == 3
    assert all("which is not there" in what for _, what in found["unreadable"])


def test_inaudible_stems_are_left_out_and_quiet_ones_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 5, 3.0)
    rng = np.random.default_rng(0)
    shape = (3 * 44100, 2)
    quiet = {
        "dither": rng.triangular(-1, 0, 1, shape) * 2**-15,
        "offset": np.full(shape, 0.01),
        "denormal": np.full(shape, 1e-40) * rng.standard_normal(shape),
        "bleed": 1e-5 * rng.standard_normal(shape),
        "quiet": 10**-2.75 * rng.standard_normal(shape),
    }
    for song, audio in zip(sorted((tmp_path / "in").iterdir()), quiet.values(), strict=True):
        soundfile.write(song / "vocals.wav", audio, 44100, subtype="FLOAT")
    names = [f"Artist {song} - Title" for song in range(4)]
    found = problems(capsys, tmp_path / "in")["inaudible"]
    assert [where for where, _ in found] == [f"{name}/vocals" for name in names]
    songs = find_songs(tmp_path / "in", tracks=False)
    trimmed = trim_stems(songs, tmp_path / "out", RATE, Progress(note=print))
    assert list(trimmed.skipped) == [(name, "vocals") for name in names]
    assert all("inaudible" in one.reason for one in trimmed.skipped.values())


def test_a_song_may_be_called_as_a_class(tmp_path: Path) -> None:
    for song in ("Other", "Drums", "A - Song"):
        write_song(tmp_path / "train" / song, 1, 0.2)
    assert [song.name for song in find_songs(tmp_path / "train", tracks=False)] == [
        "A - Song",
        "Drums",
        "Other",
    ]
    held = {song.name for song in songs_of_split(tmp_path, "train", tracks=False)}
    assert len(held) == 2


def test_class_folders_may_hold_a_song_called_as_a_class(tmp_path: Path) -> None:
    for name in ("vocals", "bass"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "Drums.wav", stem(name, 1, 0.2), RATE)
    (song,) = find_songs(tmp_path, tracks=False)
    assert (song.name, [file.label for file in song.files]) == ("Drums", [("bass",), ("vocals",)])


def test_names_of_tracks_and_splits_are_read_in_any_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_song(tmp_path / "Test" / "B - 2", 2, 0.2)
    for song in ("A - 1", "A - 3"):
        write_song(tmp_path / "TRAIN" / song, 1, 0.2)
    tracks = tmp_path / "TRAIN" / "A - 1" / "tracks"
    tracks.mkdir()
    soundfile.write(tracks / "Vocals__x.WAV", stem("vocals", 1, 0.2), RATE)
    (song,) = find_songs(tmp_path / "TRAIN", tracks=True)
    assert [(file.name, file.label) for file in song.files] == [("Vocals__x", ("vocals",))]
    assert [song.name for song in songs_of_split(tmp_path, "test", tracks=False)] == ["B - 2"]
    splits = json.loads(ask(capsys, "check-data", tmp_path, "--json").out)["splits"]
    assert list(splits) == ["TRAIN", "Test"]


def test_check_data_lists_every_fault_and_others_refuse_and_count_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(tmp_path, 3, 1.0)
    songs = sorted(tmp_path.iterdir())
    for song in songs[:2]:
        soundfile.write(song / "bass.flac", stem("bass", 1, 1.0), RATE)
    (tmp_path / "drums").mkdir()
    soundfile.write(tmp_path / "drums" / "x.wav", stem("drums", 1, 1.0), RATE)
    os.mkfifo(songs[2] / "mixture.wav")
    found = problems(capsys, tmp_path)
    assert [where for where, _ in found["two files of one stem"]] == [s.name for s in songs[:2]]
    assert len(found["mixed layouts"]) == 1
    assert [where for where, _ in found["unreadable"]] == [f"{songs[2].name}/mixture"]
    with pytest.raises(InputError, match=r"both bass\.wav and bass\.flac.*3 problems"):
        find_songs(tmp_path, tracks=False)


def test_a_folder_that_cannot_be_listed_is_a_problem_and_no_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(tmp_path, 3, 1.0)

    def forbidden(folder: Path) -> list[Path]:
        if folder.name == "Artist 1 - Title":
            raise PermissionError(13, "Permission denied", str(folder))
        return audio_files(folder)

    monkeypatch.setattr("selfrefine.files.layouts.audio_files", forbidden)
    found = problems(capsys, tmp_path)
    assert [where for where, _ in found["unreadable folder"]] == ["Artist 1 - Title"]
