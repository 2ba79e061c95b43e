"""Commands over many songs go on past a bad one, name it, and pass over what is done."""

import csv
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine import scales
from selfrefine.app.finished_folder import UNFINISHED
from selfrefine.classes import CLASSES
from selfrefine.clips.truth import read_truth
from tests.cli_songs import ask, assert_refused, tree, write_song, write_songs
from tests.conftest import RATE, tone
from tests.test_cli import write_estimates
from tests.test_cli_separate import separator_file

SDR_ALONE = "--sdr-only"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return separator_file(tmp_path_factory.mktemp("xumx"), scales.SMOKE.xumx)


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of three songs' references and estimates."""
    for number in range(3):
        song = tmp_path / "ref" / f"song{number}"
        write_song(song, number, 2.0)
        write_estimates(tmp_path / "est", song, 0)
    return tmp_path / "ref", tmp_path / "est"


def spoil_missing(song: Path) -> str:
    (song / "bass.wav").unlink()
    return "no estimate of bass"


def spoil_two(song: Path) -> str:
    soundfile.write(song / "vocals.flac", tone(300.0, 2.0).T, RATE)
    return "both vocals.flac and vocals.wav"


def spoil_rate(song: Path) -> str:
    soundfile.write(song / "drums.wav", tone(300.0, 2.0).T, 8000)
    return "sample rate 8000"


def spoil_text(song: Path) -> str:
    (song / "other.wav").write_text("no audio")
    return "other.wav"


def spoil_folder(song: Path) -> str:
    song.rename(song.with_name("misspelt"))
    return "misspelt: estimates of no song"


SPOILS = [spoil_missing, spoil_two, spoil_rate, spoil_text, spoil_folder]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_song_that_cannot_be_scored_leaves_the_others_scored(
    spoil: object, scored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ask(capsys, "evaluate", *scored, SDR_ALONE)
    assert (whole.code, whole.err) == (0, "")
    rows = whole.out.splitlines()
    reason = spoil(scored[1] / "song1")  # type: ignore[operator]
    answer = ask(capsys, "evaluate", *scored, SDR_ALONE)
    assert answer.code == 1
    assert reason in answer.err
    assert "1 of 3 songs were not scored: song1" in answer.err.splitlines()[-1]
    found = answer.out.splitlines()
    assert found[:3] == [rows[0], rows[1], rows[3]]
    assert found[3].startswith("median of 2 songs")
    scores = np.array([[float(cell) for cell in row.split()[1:]] for row in found[1:3]])
    medians = [float(cell) for cell in found[3].split()[4:]]
    np.testing.assert_allclose(medians, np.median(scores, axis=0), atol=0.011)


def test_two_references_of_one_class_leave_the_other_songs_scored(
    scored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(scored[0] / "song0" / "vocals.flac", tone(300.0, 2.0).T, RATE)
    answer = ask(capsys, "evaluate", *scored, SDR_ALONE)
    assert answer.code == 1
    assert "song0: both vocals.wav and vocals.flac" in answer.err


def test_no_song_that_can_be_scored_is_an_error(
    scored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for song in scored[1].iterdir():
        (song / "bass.wav").unlink()
    assert_refused(ask(capsys, "evaluate", *scored), "none of 3 songs was scored", "bass")
    assert_refused(ask(capsys, "evaluate", scored[0], tmp_path / "gone"), "no such folder")
    (tmp_path / "sets" / "drums+other").mkdir(parents=True)
    soundfile.write(tmp_path / "sets/drums+other/song0__drums.wav", tone(300.0, 2.0).T, RATE)
    answer = ask(capsys, "evaluate", tmp_path / "sets", scored[1])
    assert_refused(answer, "no song has a stem of one class")
    assert "each stem has several classes: 1 song: song0" in answer.err
    (tmp_path / "sets" / "bass").mkdir()
    soundfile.write(tmp_path / "sets/bass/song1__bass.wav", tone(300.0, 2.0).T, RATE)
    write_song(tmp_path / "third" / "song1", 1, 2.0)
    answer = ask(capsys, "evaluate", tmp_path / "sets", tmp_path / "third", SDR_ALONE)
    assert answer.code == 0
    assert "each stem has several classes: 1 song: song0" in answer.err


@pytest.mark.parametrize("side", [0, 1])
def test_a_mono_stem_scores_as_two_equal_channels(
    side: int, scored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = scored[side] / "song0" / "bass.wav"
    left = soundfile.read(path)[0][:, 0]
    soundfile.write(path, np.stack([left, left], axis=1), RATE, subtype="FLOAT")
    stereo = ask(capsys, "evaluate", *scored)
    soundfile.write(path, left, RATE, subtype="FLOAT")
    answer = ask(capsys, "evaluate", *scored)
    assert (answer.code, answer.out) == (0, stereo.out)
    assert f"{path}: mono beside stereo" in answer.err


def test_names_meet_in_any_unicode_form_but_never_two_in_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {form: unicodedata.normalize(form, "Beyoncé") for form in ("NFC", "NFD")}
    write_song(tmp_path / "ref" / names["NFD"], 0, 2.0)
    write_estimates(tmp_path / "est", tmp_path / "ref" / names["NFD"], 0)
    (tmp_path / "est" / names["NFD"]).rename(tmp_path / "est" / names["NFC"])
    answer = ask(capsys, "evaluate", tmp_path / "ref", tmp_path / "est", SDR_ALONE)
    assert (answer.code, answer.err) == (0, "")
    # With a song of either form, each one has its own estimates, or none.
    write_song(tmp_path / "ref" / names["NFC"], 1, 2.0)
    answer = ask(capsys, "evaluate", tmp_path / "ref", tmp_path / "est", SDR_ALONE)
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == f"1 of 2 songs were not scored: {names['NFD']}"


def test_files_are_separated_past_a_bad_one_and_once(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"track{number}.wav" for number in range(3)]
    for number, path in enumerate(files):
        soundfile.write(path, tone(200.0 + number, 1.0).T, RATE)
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:9000])
    words = ("separate", *files, "--model", model, "--out", tmp_path / "out")
    answer = ask(capsys, *words)
    assert answer.code == 1
    assert "track1.wav: truncated" in answer.err
    assert f"1 of 3 files were not separated: {files[1]}" == answer.err.splitlines()[-1]
    made = tree(tmp_path / "out")
    assert {path.split("/")[0] for path in made} == {"track0", "track2"}
    # A killed call leaves this.
    (tmp_path / "out" / f"{UNFINISHED}killed" / "building").mkdir(parents=True)
    files[1].write_bytes(whole)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.wav")}
    answer = ask(capsys, *words)
    assert answer.code == 0
    assert "2 of 3 files were separated before and are passed over" in answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "track0", "track1", "track2",
    ]  # fmt: skip
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    # Neither another file of the name nor damaged stems are passed over.
    soundfile.write(files[0], tone(500.0, 1.0).T, RATE)
    (tmp_path / "out" / "track2" / "bass.wav").unlink()
    answer = ask(capsys, *words)
    assert answer.code == 1
    assert "track0: was made with other input; delete it" in answer.err
    assert "track2: is not as it was written" in answer.err


def test_stems_are_named_after_the_path_as_given(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").mkdir()
    soundfile.write(tmp_path / "store" / "3fa9c1.wav", tone(200.0, 1.0).T, RATE)
    song = tmp_path / "Artist - Title"
    song.mkdir()
    (song / "mixture.wav").symlink_to(tmp_path / "store" / "3fa9c1.wav")
    (tmp_path / "linked").symlink_to(song)
    for path, name in ((song, "Artist - Title"), (tmp_path / "linked", "linked")):
        words = ("separate", path / "mixture.wav", "--model", model, "--out", tmp_path / "out")
        assert ask(capsys, *words).code == 0
        assert {p.stem for p in (tmp_path / "out" / name).glob("*.wav")} == set(CLASSES)


def test_songs_are_corrupted_past_a_bad_one_as_they_are_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 4, 1.0)
    # Without moved tracks no stem is silent, so that each has its truth.
    words = ("corrupt", tmp_path / "in", "--swap-rate", 0.9, "--rate", 0, "--out")
    whole = ask(capsys, *words, tmp_path / "whole")
    assert whole.code == 0
    path = tmp_path / "in" / "Artist 1 - Title" / "bass.wav"
    audio = path.read_bytes()
    path.write_bytes(audio[:5000])
    answer = ask(capsys, *words, tmp_path / "out")
    assert answer.code == 1
    assert "bass.wav: truncated" in answer.err
    assert "1 of 4 songs were not corrupted: Artist 1 - Title" in answer.err
    assert len(read_truth(tmp_path / "out" / "truth.csv")) == 12
    expected = tree(tmp_path / "whole")
    for name, content in tree(tmp_path / "out").items():
        if name.endswith(".wav"):
            assert content == expected[name]
    path.write_bytes(audio)
    answer = ask(capsys, *words, tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert "passed over, since corrupted before: 3 songs" in answer.out
    assert tree(tmp_path / "out") == expected
    other = ask(capsys, *words, tmp_path / "out", "--seed", 1)
    assert_refused(other, "none of 4 songs", "was made with other seed or songs", "delete it")
    assert tree(tmp_path / "out") == expected


def test_what_corrupt_did_not_write_is_never_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    write_songs(tmp_path / "mine", 1, 1.0)
    before = tree(tmp_path / "mine")
    answer = ask(capsys, "corrupt", tmp_path / "in", "--out", tmp_path / "mine")
    assert_refused(answer, "holds something already")
    assert tree(tmp_path / "mine") == before


def test_a_silent_stem_is_not_counted_as_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2, 1.0)
    soundfile.write(tmp_path / "in/Artist 0 - Title/bass.wav", np.zeros((RATE, 2)), RATE)
    words = ("--rate", 0, "--swap-rate", 0, "--bleed-rate", 0, "--out", tmp_path / "out")
    answer = ask(capsys, "corrupt", tmp_path / "in", *words)
    assert "0 of 8 stems" in answer.out
    assert "1 stem silent" in answer.out
    with (tmp_path / "out" / "truth.csv").open(newline="", encoding="utf-8-sig") as file:
        silent = [row["given"] for row in csv.DictReader(file) if not row["true_label"]]
    assert silent == ["bass"]


def test_a_song_with_a_stem_twice_leaves_the_others_corrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 3, 1.0)
    words = ("corrupt", tmp_path / "in", "--swap-rate", 0.9, "--out")
    assert ask(capsys, *words, tmp_path / "whole").code == 0
    soundfile.write(tmp_path / "in/Artist 1 - Title/bass.flac", tone(100.0, 1.0).T, RATE)
    answer = ask(capsys, *words, tmp_path / "out")
    assert answer.code == 1
    assert "Artist 1 - Title: both bass.wav and bass.flac; keep one of them" in answer.err
    assert "1 of 3 songs were not corrupted: Artist 1 - Title" in answer.err
    expected = tree(tmp_path / "whole")
    made = {name: x for name, x in tree(tmp_path / "out").items() if name.endswith(".wav")}
    assert {name.split("/")[0] for name in made} == {"Artist 0 - Title", "Artist 2 - Title"}
    assert made == {name: expected[name] for name in made}


def test_a_missing_file_takes_no_name_and_one_given_twice_is_refused_once(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, tone(200.0, 1.0).T, RATE)
    words = ("--model", model, "--out", tmp_path / "out")
    answer = ask(capsys, "separate", tmp_path / "mistyped" / "song.wav", song, song, *words)
    assert answer.code == 1
    assert "song.wav: no such file" in answer.err
    assert "has the same name" in answer.err
    assert "2 of 3 files were not separated" in answer.err
    assert {path.name for path in (tmp_path / "out" / "song").glob("*.wav")} == {
        f"{name}.wav" for name in CLASSES
    }


@pytest.mark.parametrize("ending", ["wav", "m4a"])
def test_a_song_of_six_channels_is_separated_as_its_stereo_is(
    ending: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    six = np.stack([tone(200.0 * (k + 1), 1.0)[0] / 8 for k in range(6)], 1)
    left, right, centre, _, left_behind, right_behind = six.T
    half = 0.5**0.5
    sides = [left + half * (centre + left_behind), right + half * (centre + right_behind)]
    soundfile.write(tmp_path / "stereo.wav", np.stack(sides, 1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "six.wav", six, RATE, format="WAVEX", subtype="FLOAT")
    if ending == "m4a":
        if not shutil.which("ffmpeg"):
            pytest.skip("m4a is read by ffmpeg")
        words = ["ffmpeg", "-v", "error", "-i", "six.wav", "-b:a", "1M", "six.m4a"]
        subprocess.run(words, cwd=tmp_path, check=True)
    files = (tmp_path / "stereo.wav", tmp_path / f"six.{ending}")
    answer = ask(capsys, "separate", *files, "--model", model, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    for name in CLASSES:
        stereo, folded = (
            soundfile.read(tmp_path / "out" / song / f"{name}.wav")[0][:RATE]
            for song in ("stereo", "six")
        )
        # AAC spoils the song's ends.
        inside = slice(RATE // 4, -RATE // 4)
        np.testing.assert_allclose(
            folded[inside], stereo[inside], atol=1e-4 if ending == "wav" else 0.02
        )


def test_the_truth_in_an_output_is_of_all_songs_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 3, 1.0)
    words = ("corrupt", tmp_path / "in", "--rate", 0, "--swap-rate", 0.9, "--out", tmp_path / "out")
    assert ask(capsys, *words).code == 0
    before = read_truth(tmp_path / "out" / "truth.csv")
    # The new song is the first, so that the numbers of the others change, and their seeds.
    write_song(tmp_path / "in" / "A new song", 5, 1.0)
    answer = ask(capsys, *words)
    assert answer.code == 1
    assert "3 of 4 songs were not corrupted" in answer.err
    after = read_truth(tmp_path / "out" / "truth.csv")
    assert len(after) == 16
    assert {key: label for key, label in after.items() if key in before} == before


def test_songs_without_a_score_are_named_with_the_reason(
    scored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    references, estimates = scored
    equal = estimates / "song0"
    for path in (references / "song0").glob("*.wav"):
        soundfile.write(equal / path.name, *soundfile.read(path))
    silence = np.zeros((2 * RATE, 2))
    soundfile.write(estimates / "song1" / "bass.wav", silence, RATE)
    answer = ask(capsys, "evaluate", references, estimates, SDR_ALONE)
    assert answer.code == 1
    assert "song0: no frame can be scored: in each, an estimate is its reference" in answer.err
    assert "song1: no frame can be scored: estimate bass silent throughout" in answer.err
    assert "2 of 3 songs were not scored: song0, song1" in answer.err
    assert "median of 1 song" in answer.out


def test_estimates_of_another_length_are_named(
    scored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = scored[1] / "song1" / "drums.wav"
    audio, rate = soundfile.read(path)
    soundfile.write(path, audio[: round(1.2 * rate)], rate)
    answer = ask(capsys, "evaluate", *scored, SDR_ALONE)
    assert answer.code == 0
    assert f"{path}: lasts 1.20 s, its reference 2.00 s" in answer.err
    assert answer.err.count("\n") == 1


def test_stems_are_named_after_the_folder_where_the_path_only_points_there(
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "Song" / "stems").mkdir(parents=True)
    for name in ("Song/mixture.wav", "...wav"):
        soundfile.write(tmp_path / name, tone(200.0, 1.0).T, RATE, format="WAV")
    monkeypatch.chdir(tmp_path / "Song" / "stems")
    words = ("separate", "../mixture.wav", "../../...wav", "--model", model, "--out", "out")
    answer = ask(capsys, *words)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in Path("out").iterdir()) == ["...wav", "Song"]
