"""`pip install .` installs the package `selfrefine` and what its command needs, and no more."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from selfrefine.classes import CLASSES
from tests.cli_songs import write_song

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ROOMS = ("experiments", "sweeps", "reports", "benchmarks")
DATA = (".jinja", ".js", ".css", ".pt", ".md")
EXTRAS = {
    "musdb": {"museval", "stempeg"},
    "tracking": {"wandb", "wandb-workspaces"},
    "reports": {"matplotlib", "tabulate"},
    "sweeps": {
        *("optuna", "optuna-dashboard", "plotly", "scikit-learn", "matplotlib", "pandas"),
        *("tabulate", "psutil"),
    },
    "robust": {"cleanlab"},
    "all": {"selfrefine"},
}
NOT_THERE = (
    *("museval", "musdb", "stempeg", "wandb", "optuna", "matplotlib", "pandas", "tabulate"),
    *("sklearn", "plotly", "psutil", "pytest", "openunmix", "pyloudnorm", *ROOMS, "tests"),
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree without tests and results."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("selfrefine", *ROOMS):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, clone)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `bin` of a new environment with the wheel and the packages that it requires. These
    are not downloaded, but linked from the environment that runs this test."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for found in required(requirements(wheel, extra="")):
        for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(found.locate_file(name))
    # With its dependencies, so that pip says what is missing.
    pip("--python", folder, "install", wheel)
    return folder / "bin"


def pip(*words: object) -> None:
    """Runs pip without a network."""
    ran = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words)],
        env={**os.environ, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def requirements(wheel: Path, extra: str) -> list[Requirement]:
    """The wheel's requirements for an extra, or without one for ""."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return wanted(metadata.get_all("Requires-Dist", []), extra)


def wanted(lines: Iterable[str], extra: str) -> list[Requirement]:
    found = [Requirement(line) for line in lines]
    own = [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]
    if not extra:
        return own
    asked = [each for each in found if each.marker and each.marker.evaluate({"extra": extra})]
    return [each for each in asked if each not in own]


def required(direct: list[Requirement]) -> list[Distribution]:
    """The installed distributions that requirements name, and those that they require in turn."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(each, extra) for each in direct for extra in ("", *each.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        if (requirement.name, extra) in seen:
            continue
        seen.add((requirement.name, extra))
        found[requirement.name] = distribution(requirement.name)
        for each in wanted(found[requirement.name].requires or [], extra):
            waiting += [(each, more) for more in ("", *each.extras)]
    return list(found.values())


def run(program: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *map(str, words)], cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )


def test_a_wheel_holds_the_package_and_its_data_alone(clone: Path, wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(clone).as_posix()
        for path in (clone / "selfrefine").rglob("*")
        if path.suffix in (".py", *DATA)
    }
    assert held == source
    assert {Path(name).suffix for name in held} == {".py", *DATA}


def test_a_wheel_names_its_extras(wheel: Path) -> None:
    base = {each.name for each in requirements(wheel, extra="")}
    for extra, packages in EXTRAS.items():
        names = {each.name for each in requirements(wheel, extra)}
        assert names == packages
        assert not names & base
    (everything,) = requirements(wheel, "all")
    assert everything.extras == EXTRAS.keys() - {"all"}


def test_nothing_else_comes_with_it(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec;"
        f"print([name for name in {NOT_THERE!r} if find_spec(name)])"
    )
    assert run(installed / "python", "-c", code, cwd=tmp_path).stdout.strip() == "[]"


def test_every_step_from_songs_to_scores_works(installed: Path, tmp_path: Path) -> None:
    def selfrefine(*words: object) -> str:
        ran = run(installed / "selfrefine", *words, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "train-separator" in selfrefine("--help")
    selfrefine("synthesize", "songs", "--songs", 2, "--seconds", 3, "--sample-rate", 16000)
    assert "2 songs" in selfrefine("check-data", "songs")
    selfrefine("refine", "songs", "--out", "refined", "--profile", "smoke", "--iterations", 1)
    for name in ("labels.csv", "segments.csv", "audit.html", "classifier.pt"):
        assert (tmp_path / "refined" / name).stat().st_size > 0
    stems = ("refined/stems", "--out", "model", "--profile", "smoke")
    assert "model/separator.pt" in selfrefine("train-separator", *stems)
    mixtures = sorted(tmp_path.glob("songs/*/mixture.wav"))
    selfrefine("separate", *mixtures, "--model", "model", "--out", "separated")
    for song in (path.parent.name for path in mixtures):
        found = {path.name for path in (tmp_path / "separated" / song).glob("[!.]*")}
        assert found == {f"{name}.wav" for name in CLASSES}
    assert "median of 2 songs" in selfrefine("evaluate", "songs", "separated")


def test_what_an_extra_is_for_names_it(installed: Path, tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "a song", seconds=1.0)
    (tmp_path / "stem files").mkdir()
    (tmp_path / "stem files" / "a song.stem.mp4").touch()
    (tmp_path / "estimates" / "a song").mkdir(parents=True)
    for name in CLASSES:
        shutil.copy(tmp_path / "songs" / "a song" / f"{name}.wav", tmp_path / "estimates/a song")
    for words, needed in (
        (("songs", "estimates", "--with", "museval"), "--with museval needs the package museval"),
        (("stem files", "estimates"), "a stem file needs the package stempeg"),
    ):
        ran = run(installed / "selfrefine", "evaluate", *words, cwd=tmp_path)
        assert ran.returncode == 2
        (line,) = ran.stderr.splitlines()
        assert line.startswith("error: ")
        assert line.endswith(f"{needed}, which is not installed: pip install 'selfrefine[musdb]'")


def test_a_clone_names_its_experiments_without_an_extra(installed: Path, clone: Path) -> None:
    for words in (("list",), ("show", "table2/x-umx-psi-refined", "--store", "runs")):
        ran = run(installed / "python", "-m", "experiments", *words, cwd=clone)
        assert ran.returncode == 0, ran.stderr
        assert "W&B" not in ran.stderr
