"""Every benchmark runs, and the peers compute the same as our code. No measurement is judged."""

import importlib
import pkgutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import benchmarks
from benchmarks import __main__ as suite
from benchmarks import clock, training
from benchmarks.contests import Batch, Contest, Side, classifier_contest, separator_contest
from benchmarks.parts import BENCHMARKS, DONE, FAILED, Part, read_part, write_part
from benchmarks.plain_networks import PlainClassifier
from selfrefine.errors import InputError
from selfrefine.models.classifier import InstrumentClassifier
from selfrefine.scales import PAPER, SMOKE
from selfrefine.settings import ConvNeXt

ROOT = Path(__file__).parent.parent
ALONE = {
    "band_difficulty",
    "gpu_day",
    "labels",
    "segments",
    "separators_on_labels",
    "gpu_profile",
    "gpu_variants",
}
"""The benchmarks that do not measure speed."""

CPU = torch.device("cpu")


def test_make_bench_runs_every_benchmark_there_is() -> None:
    found = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)}
    timed = {
        name
        for name in found - {"__main__", "clock"} - ALONE
        if hasattr(importlib.import_module(f"benchmarks.{name}"), "main")
    }
    assert timed == set(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refining", ["--profile", "smoke"]),
        ("mixing", ["--profile", "smoke", "--examples", "32", "--steps", "1"]),
        ("training", ["--profile", "smoke", "--steps", "1"]),
        ("evaluation", ["--seconds", "2"]),
        ("check_data", ["--songs", "1", "--minutes", "0.1"]),
    ],
)
def test_a_benchmark_ends_in_a_table(name: str, words: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    rows = [line for line in ran.stdout.splitlines() if line.startswith("|")]
    assert len(rows) >= 3
    assert len({row.count("|") for row in rows[:3]}) == 1


@pytest.mark.parametrize(("name", "peer"), [("effects", "pedalboard"), ("loudness", "pyloudnorm")])
def test_a_missing_peer_is_one_line(
    name: str, peer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, peer, None)
    importlib.import_module(f"benchmarks.{name}").main()
    (line,) = capsys.readouterr().out.splitlines()
    assert peer in line


def test_without_museval_our_own_times_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "museval", None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "argv", ["evaluation", "--seconds", "1"])
    importlib.import_module("benchmarks.evaluation").main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| SDR")]
    assert len(rows) == 2
    assert all("no museval" in row for row in rows)


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any(fact.startswith("commit unknown, code ") for fact in clock.origin())


def test_the_codes_number_changes_with_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "ROOT", tmp_path)
    (tmp_path / "selfrefine").mkdir()
    (tmp_path / "selfrefine" / "one.py").write_text("a = 1\n")
    before = clock.code_digest()
    assert clock.code_digest() == before
    (tmp_path / "selfrefine" / "one.py").write_text("a = 2\n")
    assert clock.code_digest() != before


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.104.05  Release Build",
    ],
)
def test_the_drivers_version_is_found(text: str) -> None:
    assert clock.driver_version(text) == "535.104.05"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the benchmarks that `main` runs. They are only pretended, and one fails."""
    names: list[str] = []

    def pretended(command: list[str], limit_s: float | None) -> tuple[str, bool]:
        name = command[2].removeprefix("benchmarks.")
        names.append(name)
        return f"| of {name} |\n", name != "mixing"

    monkeypatch.setattr(suite, "output_of", pretended)
    return names


def test_parts_are_joined_in_the_benchmarks_order(ran: list[str], tmp_path: Path) -> None:
    assert suite.main(["--output", str(tmp_path), "--only", "training", "refining"]) == 0
    assert ran == ["refining", "training"]
    (path,) = tmp_path.glob("*.md")
    lines = path.read_text().splitlines()
    found = [line for line in lines if line.startswith(("##", "| of"))]
    assert found == ["## refining", "| of refining |", "## training", "| of training |"]
    assert any(line.startswith("- commit ") for line in lines)
    assert not any("From another run" in line for line in lines)


def test_resuming_passes_over_what_has_ended_well(ran: list[str], tmp_path: Path) -> None:
    words = ["--output", str(tmp_path), "--commit", "one"]
    assert suite.main([*words, "--only", "refining", "mixing"]) == 1
    ran.clear()
    assert suite.main([*words, "--resume"]) == 1
    assert set(ran) == set(BENCHMARKS) - {"refining"}, "a failed one is run again"
    (path,) = tmp_path.glob("*.md")
    assert all(f"| of {name} |" in path.read_text() for name in BENCHMARKS)


@pytest.mark.parametrize("change", ["commit", "code", "device"])
def test_resuming_runs_again_what_was_measured_elsewhere(
    change: str, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--output", str(tmp_path), "--resume", "--only", "refining"]
    suite.main([*words, "--commit", "one"])
    suite.main([*words, "--commit", "one"])
    assert ran == ["refining"]
    if change == "code":
        monkeypatch.setattr(clock, "code_digest", lambda: "0" * 12)
    if change == "device":
        for module in (clock, suite):
            monkeypatch.setattr(module, "device_name", lambda: "another")
    suite.main([*words, "--commit", "two" if change == "commit" else "one"])
    assert ran == ["refining", "refining"]


def test_a_part_of_another_run_says_so(ran: list[str], tmp_path: Path) -> None:
    suite.main(["--output", str(tmp_path), "--only", "refining", "--commit", "one"])
    suite.main(["--output", str(tmp_path), "--only", "training", "--commit", "two"])
    (path,) = tmp_path.glob("*.md")
    refining, training = path.read_text().split("## training")
    assert "- commit two" in refining
    assert "From another run: " in refining
    assert "commit one" in refining
    assert "commit" not in training


def test_a_result_never_loses_a_section(ran: list[str], tmp_path: Path) -> None:
    suite.main(["--output", str(tmp_path), "--only", "refining"])
    (path,) = tmp_path.glob("*.md")
    path.write_text(path.read_text() + "\n## training\n\n| kept |\n")
    before = path.read_text()
    suite.main(["--output", str(tmp_path), "--only", "refining", "--commit", "other"])
    assert path.read_text() == before


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    part = Part(FAILED, "device: one, 2 cores; commit x: y", "| a |\n\nstopped\n")
    write_part(tmp_path / "parts", "mixing", part)
    assert read_part(tmp_path / "parts", "mixing") == part
    (tmp_path / "parts" / "mixing.md").write_text("| a table of someone else's |\n")
    assert read_part(tmp_path / "parts", "mixing") is None


def test_a_benchmark_past_its_limit_is_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit is shorter than loading torch takes."""
    words = ["--only", "check_data", "--seconds", "0.05", "--output", str(tmp_path)]
    assert suite.main(words) == 1
    (path,) = tmp_path.glob("*.md")
    assert path.read_text().endswith("## check_data\n\nstopped after 0.05 s\n")
    part = read_part(path.with_suffix(".parts"), "check_data")
    assert part is not None
    assert part.ended == FAILED != DONE
    assert "failed: check_data" in capsys.readouterr().err


def test_what_a_stopped_benchmark_started_ends_with_it() -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    text, well = suite.output_of([sys.executable, "-c", script], 3.0)
    pid, last = text.splitlines()
    assert (last, well) == ("stopped after 3 s", False)
    deadline = time.monotonic() + 60
    while runs(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(int(pid))


def runs(pid: int) -> bool:
    """Whether a process runs. One that has ended may still be listed as a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(training, "in_bf16", lambda *of: False)
    monkeypatch.setattr(training, "set_precision", lambda plain, device: None)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


AS_THE_PAPERS = replace(
    SMOKE.classifier, network=ConvNeXt(depths=(1, 1, 2, 1), widths=(8, 16, 24, 32))
)


@pytest.mark.parametrize(
    "contest",
    [
        classifier_contest(SMOKE.classifier),
        classifier_contest(AS_THE_PAPERS),
        separator_contest("X-UMX", SMOKE.xumx, CPU),
        separator_contest("Demucs", SMOKE.hdemucs, CPU),
    ],
    ids=["small classifier", "classifier as the paper's", "X-UMX", "Demucs"],
)
def test_a_plain_peer_computes_what_ours_does(contest: Contest, in_float32: None) -> None:
    torch.manual_seed(1)
    batch = contest.draw(CPU)
    items = len(batch[0])
    (ours,) = contest.ours.values()
    own = training.take_turn(ours, batch, items, 1, CPU).first_loss
    plain = training.take_turn(contest.plain, batch, items, 1, CPU).first_loss
    assert plain == pytest.approx(own, rel=1e-5)
    # Other weights would show.
    other = Side(lambda: with_larger_weights(contest.plain.build()), contest.plain.loss)
    different = training.take_turn(other, batch, items, 1, CPU).first_loss
    assert different != pytest.approx(own, rel=1e-3)


@torch.no_grad()
def with_larger_weights(model: nn.Module) -> nn.Module:
    for weight in model.parameters():
        weight.mul_(1.5)
    return model


def test_the_papers_classifier_is_timms_convnext_tiny() -> None:
    with torch.device("meta"):
        network = PAPER.classifier.network
        plain = PlainClassifier(InstrumentClassifier(network, 1025), network).trunk
        found = timm.create_model("convnext_tiny", pretrained=False, in_chans=2, num_classes=4)
    assert str(plain) == str(found)


def linear_side(most: int, plain: bool = False) -> Side:
    """A side whose memory runs out with more than `most` items at once."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(5, 3)

    def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        if len(inputs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return (model(inputs) - targets).square().mean()

    return Side(build, loss, plain)


def linear_batch(device: torch.device) -> Batch:
    return torch.randn(9, 5, device=device), torch.randn(9, 3, device=device)


def test_items_at_once_are_halved_until_memory_lasts(in_float32: None) -> None:
    batch = linear_batch(CPU)
    whole = training.fitting_turn(linear_side(9), batch, 9, 2, CPU)
    parts = training.fitting_turn(linear_side(4), batch, 9, 2, CPU)
    assert (whole.items_at_once, parts.items_at_once) == (9, 3)
    assert parts.first_loss == pytest.approx(whole.first_loss, rel=1e-6)


def test_gradients_of_parts_add_up_to_the_batchs(in_float32: None) -> None:
    side, batch = linear_side(9), linear_batch(CPU)
    whole, parts = side.build(), side.build()
    training.gradients(side, whole, batch, 9, False, CPU)
    training.gradients(side, parts, batch, 4, False, CPU)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_each_side_has_as_many_items_at_once_as_fit_it(in_float32: None) -> None:
    contest = Contest(linear_batch, {"linear": linear_side(4)}, linear_side(8, plain=True))
    (row,) = training.rows(contest, 2, CPU, 1e9)
    assert row.split(" | ")[8:10] == ["3", "5"]


def test_memory_for_no_item_is_an_error(in_float32: None) -> None:
    with pytest.raises(InputError, match="one item"):
        training.fitting_turn(linear_side(0), linear_batch(CPU), 9, 2, CPU)
