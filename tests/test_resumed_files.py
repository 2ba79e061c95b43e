"""Whatever file a run keeps to be resumed by is damaged: the run says which one to delete, and then
ends as if nothing had been."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from selfrefine.cli import main
from tests.cli_songs import Answer, ask, write_songs


@dataclass(frozen=True)
class Run:
    """A finished run: its command line but for the output folder, and that folder."""

    words: tuple[object, ...]
    out: Path
    results: tuple[str, ...]

    def copy(self, folder: Path) -> "Run":
        shutil.copytree(self.out, folder, symlinks=True)
        return Run(self.words, folder, self.results)

    def resumed(self) -> tuple[object, ...]:
        return (*self.words, "--out", self.out, "--resume")

    def result(self) -> list[bytes]:
        return [(self.out / name).read_bytes() for name in self.results]


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory, tone_classifier: Path) -> Run:
    folder = tmp_path_factory.mktemp("refined")
    write_songs(folder / "in", 2, 2.0)
    words = ("refine", folder / "in", "--start", tone_classifier, "--iterations", 1)
    assert main([str(word) for word in (*words, "--out", folder / "out")]) == 0
    return Run(words, folder / "out", ("labels.csv", "segments.csv", "classifier.pt"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("trained")
    write_songs(folder / "in", 1, 2.0)
    words = ("train-separator", folder / "in", "--profile", "smoke")
    assert main([str(word) for word in (*words, "--out", folder / "out")]) == 0
    return Run(words, folder / "out", ("separator.pt",))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def filled_with_garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_kind(path: Path) -> None:
    path.write_text('{"format": 1, "kept": 3, "clips": [7], "label": "bass"}')


def made_a_list(path: Path) -> None:
    path.write_text("[1, 2]")


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def spoilt_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


DAMAGES: list[Callable[[Path], None]] = [
    emptied,
    filled_with_garbage,
    cut_in_half,
    of_another_kind,
    made_a_list,
    made_a_folder,
]


def deleted_as_told(answer: Answer) -> Path:
    """Deletes what the one error line says to delete, and returns it."""
    assert answer.code == 2, answer
    lines = answer.err.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert "Traceback" not in answer.err
    told = re.search(r"delete (\S+) and run again", line)
    assert told, line
    named = line.removeprefix("error: ").partition(": ")[0]
    path = Path(named if told[1] == "it" else told[1])
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return path


def assert_damage_is_named_and_mended(
    run: Run,
    file: str,
    damages: list[Callable[[Path], None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for damage in damages:
        damaged = run.copy(tmp_path / damage.__name__)
        damage(damaged.out / file)
        told = deleted_as_told(ask(capsys, *damaged.resumed()))
        assert told in [damaged.out / file, *(damaged.out / file).parents]
    # Other damages of the file end in the same state.
    answer = ask(capsys, *damaged.resumed())
    assert answer.code == 0, (file, answer.err)
    assert damaged.result() == run.result()


@pytest.mark.parametrize(
    "file",
    [
        "work/stems/index.json",
        "work/stems/audio.i16",
        "work/stems/stems.json",
        "work/start/probabilities.csv",
        "work/start/windows.npz",
        "work/iteration-1/probabilities.csv",
        "work/iteration-1/windows.npz",
        "work/iteration-1/model.pt",
    ],
)
def test_a_damaged_file_of_a_refinement_is_named_and_deleting_it_mends_the_run(
    file: str, refined: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_damage_is_named_and_mended(refined, file, DAMAGES, tmp_path, capsys)


@pytest.mark.parametrize(
    "file",
    ["work/stems/index.json", "work/stems/audio.i16", "work/model.pt"],
)
def test_a_damaged_file_of_a_separator_is_named_and_deleting_it_mends_the_run(
    file: str, trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_damage_is_named_and_mended(trained, file, DAMAGES, tmp_path, capsys)


def test_a_damaged_order_is_named_and_deleting_the_run_begins_it_anew(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A JSON object would be another order, which is no damage.
    damages = [each for each in DAMAGES if each is not of_another_kind]
    assert_damage_is_named_and_mended(trained, "work/order.json", damages, tmp_path, capsys)


@pytest.mark.parametrize(
    "file", ["work/stems/audio.i16", "work/iteration-1/model.pt", "work/iteration-1/windows.npz"]
)
def test_bytes_that_changed_in_place_are_found(
    file: str, refined: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_damage_is_named_and_mended(refined, file, [spoilt_in_the_middle], tmp_path, capsys)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_training_then_begins_anew(
    damage: Callable[[Path], None],
    trained: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trained.copy(tmp_path / "out")
    (run.out / "work" / "model.pt").unlink()
    checkpoint = run.out / "work" / "checkpoint.pt"
    checkpoint.write_bytes((run.out / "separator.pt").read_bytes())
    damage(checkpoint)
    assert deleted_as_told(ask(capsys, *run.resumed())) == checkpoint
    assert ask(capsys, *run.resumed()).code == 0
    assert run.result() == trained.result()


def test_a_folder_that_is_used_says_how_a_run_is_resumed(
    refined: Run, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (refined, trained):
        answer = ask(capsys, *run.words, "--out", run.out)
        assert answer.code == 2
        assert "holds something already" in answer.err
        assert "--resume" in answer.err
