"""A package that is not installed is named in one line, with the remedy, where it is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.commit import commit_of_code
from experiments.profiles import PROFILES
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.optional import from_extra
from sweeps.studies import STUDIES, Bound
from tests.cli_songs import write_song
from tests.sweep_store import fill_store
from tests.tracked_stages import fill
from tests.wandb_process import environment, tracked

ROOT = Path(__file__).parent.parent

TRACKING = ("wandb", "wandb_workspaces")
REPORTS = ("matplotlib", "tabulate")
SWEEPS = ("optuna", "sqlalchemy", "optuna_dashboard", "plotly", "sklearn", "pandas", "psutil")
MUSDB = ("museval", "musdb", "stempeg")
DEVELOPMENT = ("pytest", "openunmix", "pyloudnorm")


HIDE = """
from functools import partial
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {names!r} else found(name, path, target)

# Not a function, which a class that keeps it would make a method of.
PathFinder.find_spec = partial(find_spec)
"""


def hiding(folder: Path, *names: str) -> dict[str, str]:
    """The environment variables with which a process, and any that it starts, does not find the
    named packages."""
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDE.format(names=names))
    return environment(PYTHONPATH=str(folder / "hidden"))


def ran(variables: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("note: "))
    assert line.startswith("error: ")
    for words in expected:
        assert words in line


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        *(("list", "optuna"), ("run", "optuna"), ("run", "pandas"), ("run", "psutil")),
        *(("show", "matplotlib"), ("freeze", "optuna")),
    ],
)
def test_sweeps_name_their_extra(verb: str, name: str, tmp_path: Path) -> None:
    words = () if verb == "list" else ("threshold-f1", "--store", tmp_path / "runs")
    done = ran(hiding(tmp_path, name), "-m", "sweeps", verb, *words)
    assert_one_line(done, f"needs the package {name}", "pip install 'selfrefine[sweeps]'")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_sweeps_need_their_own_extra_alone(tmp_path: Path) -> None:
    bound = Bound(STUDIES["threshold-f1"], PROFILES["smoke"], "band")
    truth = np.eye(len(CLASSES), dtype=bool)
    store = fill_store(tmp_path, bound, truth, 0.2 + 0.6 * truth)
    variables = hiding(tmp_path, *TRACKING, *MUSDB, *DEVELOPMENT)
    shared = ("threshold-f1", "--profile", "smoke", "--store", store.root)
    for verb, *more in (("run", "--trials", 3), ("show", "--output", tmp_path), ("freeze",)):
        done = ran(variables, "-m", "sweeps", verb, *shared, *more)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("untracked") == (verb == "run")


@pytest.mark.parametrize("name", REPORTS)
def test_reports_name_their_extra(name: str, tmp_path: Path) -> None:
    words = ("-m", "reports", "table1", "--results", ROOT / "results" / "band-mini")
    done = ran(hiding(tmp_path, name), *words, "--output", tmp_path / "out")
    assert_one_line(done, f"needs the package {name}", "pip install 'selfrefine[reports]'")


@pytest.mark.slow
def test_reports_need_their_own_extra_alone(tmp_path: Path) -> None:
    others = (*TRACKING, *SWEEPS, *MUSDB, *DEVELOPMENT)
    words = ("-m", "reports", "all", "--results", ROOT / "results" / "band-mini")
    done = ran(hiding(tmp_path, *others), *words, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "band-mini" / "report.html").exists()


def test_the_dashboard_names_its_extra(tmp_path: Path) -> None:
    words = ("-m", "reports", "wandb-dashboard", "--results", ROOT / "results" / "band-mini")
    variables = {**hiding(tmp_path, *TRACKING), "WANDB_API_KEY": "k"}
    done = ran(variables, *words, "--output", tmp_path / "out")
    assert_one_line(done, "wandb-workspaces", "pip install 'selfrefine[tracking]'", "report.html")


@pytest.mark.slow
def test_stages_go_untracked_and_one_line_says_so(tmp_path: Path) -> None:
    fill(tmp_path)
    done = tracked(tmp_path, PYTHONPATH=hiding(tmp_path, *TRACKING)["PYTHONPATH"])
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "W&B" in line)
    assert "untracked: pip install 'selfrefine[tracking]', or WANDB_MODE=disabled" in line
    assert not (tmp_path / "wandb").exists()


WORKERS = """
import multiprocessing
from experiments.tracking.mode import tracked, wandb_mode

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["experiments.tracking.preload"])
for worker in [context.Process(target=tracked, args=(wandb_mode(),)) for _ in range(3)]:
    worker.start()
    worker.join()
"""


@pytest.mark.parametrize(("mode", "lines"), [("offline", 1), ("online", 1), ("disabled", 0)])
def test_several_workers_say_it_once(mode: str, lines: int, tmp_path: Path) -> None:
    done = ran({**hiding(tmp_path, *TRACKING), "WANDB_MODE": mode}, "-c", WORKERS)
    assert done.returncode == 0
    assert done.stderr.count("\n") == lines
    assert done.stderr.count("untracked") == lines


def test_a_folder_that_is_called_wandb_is_not_the_package(tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    code = (
        "import sys; from experiments.tracking.mode import tracked; sys.path = [sys.argv[1]];"
        "print(tracked('offline'))"
    )
    done = ran(environment(), "-c", code, tmp_path)
    assert done.stdout == "False\n"
    assert done.stderr.count("untracked") == 1


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A song as WAV files, and a .stem.mp4 in another folder beside it."""
    write_song(tmp_path / "songs" / "wav" / "a song", seconds=1.0)
    (tmp_path / "songs" / "mp4").mkdir()
    (tmp_path / "songs" / "mp4" / "a song.stem.mp4").touch()
    return tmp_path / "songs"


@pytest.mark.parametrize("name", ["museval", "pandas"])
def test_scoring_by_museval_names_its_extra(name: str, songs: Path, tmp_path: Path) -> None:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("museval wants ffmpeg before it wants others")
    words = ("-m", "selfrefine.cli", "evaluate", songs / "wav", songs / "wav", "--with", "museval")
    done = ran(hiding(tmp_path, name), *words)
    assert_one_line(done, f"needs the package {name}", "pip install 'selfrefine[musdb]'")


def test_a_stem_file_names_its_extra(songs: Path, tmp_path: Path) -> None:
    words = ("-m", "selfrefine.cli", "evaluate", songs / "mp4", stem_estimates(songs))
    done = ran(hiding(tmp_path, "stempeg"), *words)
    expected = ("a song.stem.mp4", "needs the package stempeg", "pip install 'selfrefine[musdb]'")
    assert_one_line(done, *expected)


def test_ffmpeg_is_named_where_it_is_needed(songs: Path, tmp_path: Path) -> None:
    variables = environment(PATH=str(tmp_path))
    evaluate = ("-m", "selfrefine.cli", "evaluate")
    estimates = stem_estimates(songs)
    done = ran(variables, *evaluate, songs / "mp4", estimates)
    assert_one_line(done, "a song.stem.mp4", "ffmpeg and ffprobe on the PATH")
    done = ran(variables, *evaluate, songs / "wav", estimates, "--with", "museval")
    assert_one_line(done, "ffmpeg and ffprobe on the PATH")
    done = ran(variables, *evaluate, songs / "wav", estimates, "--sdr-only")
    assert done.returncode == 0, done.stderr


def stem_estimates(songs: Path) -> Path:
    """A folder with estimates for the songs: their stems at half the level."""
    for path in (songs / "wav").glob("*/*.wav"):
        estimate = songs / "estimates" / path.relative_to(songs / "wav")
        estimate.parent.mkdir(parents=True, exist_ok=True)
        audio, rate = soundfile.read(path)
        soundfile.write(estimate, audio / 2, rate)
    return songs / "estimates"


def test_without_git_the_commit_is_unknown_or_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SELFREFINE_COMMIT", raising=False)
    assert commit_of_code() == "unknown"
    monkeypatch.setenv("SELFREFINE_COMMIT", "0123456789ab")
    assert commit_of_code() == "0123456789ab"


def test_outside_a_repository_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SELFREFINE_COMMIT", raising=False)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "gone"))
    assert commit_of_code() == "unknown"


def test_a_part_missing_in_a_package_is_no_matter_of_extras() -> None:
    with pytest.raises(ModuleNotFoundError), from_extra("sweeps", needed_by="this test"):
        import selfrefine.no_such_part  # noqa: F401
    with (
        pytest.raises(InputError, match=r"this test needs the package no_such_package, .*\[sweeps"),
        from_extra("sweeps", needed_by="this test"),
    ):
        import no_such_package  # noqa: F401
