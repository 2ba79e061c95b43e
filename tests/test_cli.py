"""The command line as a whole: instant help, one clear error, exit codes."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.app import heartbeat
from selfrefine.app.output_folder import make_output_folder
from selfrefine.classes import CLASSES
from selfrefine.cli import COMMANDS
from selfrefine.errors import InputError
from selfrefine.metrics.sdr import frame_sdr, track_sdr
from tests.cli_songs import ask, assert_refused, limit_file_size, tree, write_song, write_songs
from tests.conftest import RATE


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys; from selfrefine.cli import parser; parser().format_help();"
        "print([m for m in ('numpy', 'torch', 'soundfile', 'tqdm') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        ask(capsys, command, "--help")
    assert stopped.value.code == 0
    assert "usage: selfrefine" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["refine", "train-separator", "corrupt"])
def test_an_empty_folder_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    answer = ask(capsys, command, tmp_path / "in", "--out", tmp_path / "out")
    assert_refused(answer, "no song found", str(tmp_path / "in"), "<song>/<class>")
    assert not (tmp_path / "out").exists()


def test_a_data_set_of_splits_is_pointed_at_its_train_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in" / "train", 2, 1.0)
    answer = ask(capsys, "refine", tmp_path / "in", "--out", tmp_path / "out")
    assert_refused(answer, "did you mean its folder train?")


@pytest.mark.parametrize("where", ["in/out", "in", "."])
def test_an_output_folder_at_the_input_is_refused(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2, 1.0)
    before = tree(tmp_path)
    answer = ask(capsys, "refine", tmp_path / "in", "--out", tmp_path / where)
    assert_refused(answer, "choose a folder")
    assert tree(tmp_path) == before


def test_an_output_folder_inside_the_input_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="inside the input"):
        make_output_folder(tmp_path / "link" / "out", tmp_path / "in")


def test_a_used_output_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 2, 1.0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for more in ([], ["--resume"]):
        answer = ask(capsys, "refine", tmp_path / "in", "--out", tmp_path / "out", *more)
        assert_refused(answer, str(tmp_path / "out"), "an empty folder")
    assert tree(tmp_path / "out") == {"thesis.txt": b"mine"}


def test_an_output_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    answer = ask(capsys, "synthesize", tmp_path / "file" / "out", "--songs", 1)
    assert_refused(answer, "cannot be made a folder")


def test_a_read_only_output_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the answer of the system is given in its stead.
    monkeypatch.setattr("selfrefine.app.output_folder.os.access", lambda path, mode: False)
    answer = ask(capsys, "synthesize", tmp_path / "out", "--songs", 1)
    assert_refused(answer, "cannot be written", str(tmp_path / "out"))


def test_a_symlink_loop_is_no_trap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_songs(tmp_path / "in", 2, 1.0)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in" / "loop")
    (tmp_path / "in" / "Artist 0 - Title" / "bass.wav").unlink()
    (tmp_path / "in" / "Artist 0 - Title" / "bass.wav").symlink_to("bass.wav")
    answer = ask(capsys, "check-data", tmp_path / "in")
    assert answer.code == 1
    assert "2 songs" in answer.out
    assert "! unreadable: 1\n    Artist 0 - Title/bass" in answer.out


@pytest.mark.parametrize("command", ["synthesize", "corrupt"])
def test_a_disk_that_fills_is_one_clear_error(command: str, tmp_path: Path) -> None:
    write_songs(tmp_path / "in", 1, 2.0)
    words = ["corrupt", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    if command == "synthesize":
        words = ["synthesize", str(tmp_path / "out"), "--songs", "1", "--seconds", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "selfrefine.cli", *words],
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    # What is there is whole: nothing under its final name was cut short.
    for path in (tmp_path / "out").rglob("*.wav"):
        assert soundfile.info(path).frames > 0


def write_estimates(root: Path, song: Path, silence: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes noisy estimates of a song's stems, which are silent up to a sample. Returns references
    and estimates, both `(class, channel, sample)`."""
    (root / song.name).mkdir(parents=True)
    rng = np.random.default_rng(len(list(root.iterdir())))
    pair = []
    for name in CLASSES:
        reference, _ = soundfile.read(song / f"{name}.wav")
        estimate = reference + rng.uniform(0.01, 0.05) * rng.standard_normal(reference.shape)
        estimate[:silence] = 0.0
        soundfile.write(root / song.name / f"{name}.wav", estimate, RATE, subtype="FLOAT")
        pair.append((reference.T, estimate.T))
    references, estimates = (np.stack(side) for side in zip(*pair, strict=True))
    return references, estimates


def test_evaluating_agrees_with_the_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_song(tmp_path / "ref" / "Artist - Title", 0, 3.0)
    pair = write_estimates(tmp_path / "est", tmp_path / "ref" / "Artist - Title", 0)
    expected = track_sdr(frame_sdr(*pair, RATE, RATE))
    answer = ask(capsys, "evaluate", tmp_path / "ref", tmp_path / "est")
    assert answer.code == 0
    row = next(line for line in answer.out.splitlines() if line.startswith("Artist - Title"))
    np.testing.assert_allclose([float(cell) for cell in row.split()[3:]], expected, atol=0.006)
    assert "SAR" in answer.out


@pytest.mark.parametrize("options", [(), ("--sdr-only",)])
def test_museval_reads_what_evaluating_writes_and_finds_the_same_medians(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    museval = pytest.importorskip("museval", exc_type=(ImportError, RuntimeError, OSError))
    # The silent second of "1" is NaN, which medians pass over.
    songs = {"Artist - 1": RATE, "Artist - 2.5 (Mix)": 0, "Artist - 3": 0}
    for number, (song, silence) in enumerate(songs.items()):
        write_song(tmp_path / "ref" / song, number, 2.0)
        write_estimates(tmp_path / "est", tmp_path / "ref" / song, silence)
    words = (tmp_path / "ref", tmp_path / "est", "--out", tmp_path / "xumx", *options)
    answer = ask(capsys, "evaluate", *words)
    assert answer.code == 0, answer.err
    methods = museval.MethodStore()
    methods.add_eval_dir(tmp_path / "xumx")
    assert set(methods.df["track"]) == set(songs)
    medians = methods.agg_frames_tracks_scores()["xumx"]
    rows = [line for line in answer.out.splitlines() if "median of 3 songs" in line]
    assert len(rows) == (1 if options else 4)
    for row in rows:
        metric = row.split(",")[0] if "," in row else "SDR"
        found = [medians[name][metric] for name in CLASSES]
        np.testing.assert_allclose([float(cell) for cell in row.split()[-4:]], found, atol=0.006)
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path / "xumx")
    assert "SDR" in repr(store)


def test_corrupted_stems_sum_to_the_clean_mixture_and_the_truth_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 3, 2.0)
    before = tree(tmp_path / "in")
    answer = ask(
        capsys, "corrupt", tmp_path / "in", "--out", tmp_path / "out", "--swap-rate", 1, "--rate", 0
    )
    assert answer.code == 0
    assert "6 of 12 stems" in answer.out
    for song in range(3):
        sums = []
        for root in ("in", "out"):
            stems = (tmp_path / root / f"Artist {song} - Title").glob("*.wav")
            sums.append(sum(soundfile.read(path)[0] for path in stems))
        np.testing.assert_allclose(sums[0], sums[1], atol=4e-4)
    assert tree(tmp_path / "in") == before
    assert_refused(
        ask(capsys, "corrupt", tmp_path / "in", "--out", tmp_path / "o2", "--rate", 1.5), "--rate"
    )


def test_synthesized_songs_are_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--songs", 2, "--seconds", 3, "--sample-rate", 8000)
    assert ask(capsys, "synthesize", tmp_path / "band", *words).code == 0
    answer = ask(capsys, "check-data", tmp_path / "band")
    assert "2 songs" in answer.out
    assert "stems are not the mixture" not in answer.out
    song = next(path for path in (tmp_path / "band").iterdir())
    tracks = [soundfile.read(path)[0] for path in (song / "tracks").glob("bass__*.wav")]
    np.testing.assert_allclose(sum(tracks), soundfile.read(song / "bass.wav")[0], atol=2e-4)


def test_a_path_with_a_line_break_is_named_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(ask(capsys, "check-data", "no\nsuch\x1b[2Jfolder"), r"no\nsuch\x1b[2Jfolder")


def test_a_command_in_a_log_says_again_and_again_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.02)
    with heartbeat.heartbeat("refine"):
        heartbeat.NOW.words = "training, step 3 of 9"
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("refine: training, step 3 of 9 (0 s in all)") >= 3
