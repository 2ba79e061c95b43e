"""Small audio sets that tests make for themselves."""

import os

# Two spinning OpenMP threads beside any other busy process make small operations up to forty
# times slower; libraries read this when they are first loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A GPU that happens to be there is for tests marked `gpu`.
os.environ["SELFREFINE_DEVICE"] = "cpu"

import fcntl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, open_audio_set

# Without a GPU its kernels run in Triton's interpreter, which must be said before they are read;
# with one, tests marked `gpu` run them.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
interpreted = pytest.mark.skipif(
    torch.cuda.is_available() or find_spec("triton") is None,
    reason="kernels are interpreted where Triton is, but no GPU",
)

# A test's files need not survive a power cut, and waiting for the disk is a third of some tests.
os.fsync = lambda fd: None

RATE = 16000


def tone(frequency: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """A stereo sine at a quarter of full scale, `(channel=2, sample)`."""
    time = np.arange(round(seconds * rate)) / rate
    return np.tile(0.25 * np.sin(2 * np.pi * frequency * time), (2, 1)).astype(np.float32)


CLASS_TONES = dict(zip(CLASSES, (880.0, 110.0, 3000.0, 440.0), strict=True))


@pytest.fixture
def tone_stems(tmp_path: Path) -> AudioSet:
    """Three songs of four stems, each class a sine of its own frequency, 5 s long."""
    with AudioSetWriter(tmp_path / "stems", RATE) as writer:
        for song in range(3):
            for name in CLASSES:
                audio = tone(CLASS_TONES[name] * (1 + 0.01 * song), 5.0)
                writer.add(f"song{song}", name, (name,), audio)
    return open_audio_set(tmp_path / "stems")


@pytest.fixture(scope="session")
def tone_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a classifier that knows the classes' tones."""
    from tests.tone_classifier import train_tone_classifier

    return train_tone_classifier(tmp_path_factory.mktemp("tone-classifier"))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which everything was run at the smoke profile, with tracking. Test processes share
    it, so that what would change it takes a copy."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    store, done = place / "smoke", place / "smoke.done"
    with (place / "smoke.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            words = ["experiments", "run", "all", "--profile", "smoke", "--store", str(store)]
            ran = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=Path(__file__).parent.parent,
                env={**os.environ, "WANDB_MODE": "offline"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
            done.touch()
    return store


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu`, leaves out files without a test for a GPU: a machine with a GPU may lack
    packages that other tests need."""
    alone = config.getoption("markexpr") == "gpu" and collection_path.suffix == ".py"
    return True if alone and "pytest.mark.gpu" not in collection_path.read_text() else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Says at once why a test for a GPU failed: time on a GPU may end before the tests do."""
    if report.failed and "gpu" in report.keywords:
        print(f"\n{report.nodeid}\n{report.longreprtext[-3000:]}", flush=True)


@pytest.fixture(autouse=True)
def device_of_a_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives tests marked `gpu` the GPU and all others the CPU. All begin in float32, since an
    earlier training may have chosen a shorter format for products."""
    torch.set_float32_matmul_precision("highest")
    if request.node.get_closest_marker("gpu"):
        monkeypatch.delenv("SELFREFINE_DEVICE", raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first. If a process began one last, all others would wait. The
    first of all makes the smoke run, so that no other file waits for it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    sharing = [item.path for item in items if "smoke" in getattr(item, "fixturenames", ())]
    items.sort(key=lambda item: (item.path not in sharing[:1], item.path not in slow))
