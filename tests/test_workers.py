"""What runs at once on a machine, with and without a GPU, and what a worker may use."""

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from multiprocessing import Pipe
from pathlib import Path
from pkgutil import walk_packages
from types import SimpleNamespace

import pytest
import torch

from experiments import stages
from experiments.engine import processes, runner, worker
from experiments.engine.messages import Counted, Finished, Measured, Order
from experiments.engine.runner import fork_server, listen, machine_here, workers_and_threads
from experiments.engine.slots import Grant, Machine, Needs, next_grant, with_measured
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.probabilities import Probabilities
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, expression
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from selfrefine import settings
from selfrefine.progress import StepReport
from selfrefine.settings import PAPER_HDEMUCS, PAPER_XUMX

CORES = len(os.sched_getaffinity(0))
GPU16 = Machine(16, gpu=True)
GB = 1e9


def band(number: int, songs: int = 10) -> BandSongs:
    return BandSongs("clean", 1000 * number, songs, 14.0, 16000, 0)


TRIMMED = [Trimmed(band(number)) for number in range(20)]
STEMS = TRIMMED[0]
PSI = Classifier(STEMS)
XUMX = Separator(STEMS, PAPER_XUMX)
DEMUCS = Separator(STEMS, PAPER_HDEMUCS)
RELABELLING = Probabilities(STEMS, PSI)
SCORES = [SeparationScore(replace(XUMX, seed=seed), band(0)) for seed in range(9)]


def started(
    ready: Sequence[Stage],
    machine: Machine,
    needs: Needs | None = None,
    running: Sequence[Grant] = (),
) -> list[Grant]:
    """The grants of those stages in `ready` that start before any of them ends."""
    left, together = list(ready), list(running)
    while grant := next_grant(left, together, machine, needs or Needs()):
        left.remove(grant.stage)
        together.append(grant)
    return together[len(running) :]


def names(grants: list[Grant]) -> list[Stage]:
    return [grant.stage for grant in grants]


def known(total: float, **trainings: float) -> Needs:
    """The measured needs of the trainings PSI, XUMX and DEMUCS, in GB."""
    stages = {"psi": PSI, "xumx": XUMX, "demucs": DEMUCS}
    needs = Needs()
    for name, memory in trainings.items():
        needs = with_measured(needs, stages[name], memory * GB, total * GB)
    return needs


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the machine's devices."""
    monkeypatch.setattr(processes, "DEVICES", tmp_path)
    for name in ("SELFREFINE_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# The machine


@pytest.mark.parametrize("device", ["nvidia3", "dxg"])  # a container's fourth; WSL2
def test_a_gpu_is_found_by_its_device(devices: Path, device: str) -> None:
    (devices / "nvidiactl").touch()  # the driver without a device
    assert machine_here(None) == Machine(CORES, gpu=False)
    (devices / device).touch()
    assert machine_here(None) == Machine(CORES, gpu=True)
    assert machine_here(3) == Machine(CORES, gpu=True, workers=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUDA_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "-1"), ("SELFREFINE_DEVICE", "cpu")],
)
@pytest.mark.parametrize("device", ["nvidia0", "dxg"])
def test_a_gpu_that_is_hidden_is_none(
    devices: Path, device: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (devices / device).touch()
    monkeypatch.setenv(name, value)
    assert machine_here(None) == Machine(CORES, gpu=False)


def test_a_study_has_a_trial_for_each_core_or_one_for_the_gpu(devices: Path) -> None:
    assert workers_and_threads(None) == (CORES, 1)
    (devices / "nvidia0").touch()
    assert workers_and_threads(None) == (1, 1)
    assert workers_and_threads(2) == (2, 1)


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [
        ("nvidia0", {}, "expandable_segments:True"),
        ("nvidia0", {"PYTORCH_ALLOC_CONF": "backend:native"}, "backend:native"),
        ("nvidia0", {"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, None),
        ("dxg", {}, None),
        ("none", {}, None),
    ],
)
def test_memory_of_the_gpu_grows_in_place_where_its_driver_can(
    devices: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    given: dict[str, str],
    expected: str | None,
) -> None:
    (devices / device).touch()
    monkeypatch.setattr(os, "environ", dict(given))
    fork_server(machine_here(None))
    assert os.environ.get("PYTORCH_ALLOC_CONF") == expected
    # Whatever a worker is granted, what it does not ask torch for keeps to one core.
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("machine", "ahead"),
    [
        (Machine(4, gpu=False), "0"),
        (Machine(4, gpu=False, workers=3), "1"),
        (Machine(4, gpu=False, workers=5), "0"),
        (Machine(4, gpu=True), None),
    ],
)
def test_batches_are_drawn_ahead_on_a_cpu_with_cores_to_spare(
    devices: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine, ahead: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {})
    fork_server(machine)
    assert os.environ.get("SELFREFINE_DRAW_AHEAD") == ahead


# What starts


def test_a_cpu_runs_a_stage_on_each_core_whatever_it_is() -> None:
    ready = [band(1), PSI, *TRIMMED, XUMX]
    assert started(ready, Machine(4, gpu=False)) == [Grant(stage, 1) for stage in ready[:4]]
    assert started(ready, Machine(4, gpu=False, workers=1)) == [Grant(band(1), 1)]
    assert names(started(ready, Machine(2, gpu=False, workers=5))) == ready[:5]


def test_beside_a_gpu_stage_the_other_cores_have_stages_without_gpu() -> None:
    grants = started([PSI, *TRIMMED], GPU16)
    assert grants == [Grant(PSI, 2), *(Grant(stage, 1) for stage in TRIMMED[:14])]


def test_a_gpu_stage_has_two_cores_waiting_for_it() -> None:
    first = started(TRIMMED, GPU16)
    assert first == [Grant(stage, 1) for stage in TRIMMED[:14]]
    assert started([PSI, *TRIMMED[14:]], GPU16, running=first) == [Grant(PSI, 2)]


def test_after_a_further_gpu_stage_others_wait_until_two_cores_are_free() -> None:
    machine = replace(GPU16, workers=2)
    running = [*started([PSI, *TRIMMED], machine), Grant(XUMX, 2)]
    for ended in range(3):
        left = [PSI, *TRIMMED[ended:14], XUMX]
        cores = [grant for grant in running if grant.stage in left]
        assert started(TRIMMED[14:], machine, running=cores) == []
    cores = [grant for grant in running if grant.stage not in TRIMMED[:3]]
    assert names(started(TRIMMED[14:], machine, running=cores)) == [TRIMMED[14]]


@pytest.mark.parametrize(
    ("cores", "of_the_gpu", "others"), [(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 2, 2), (5, 2, 3)]
)
def test_a_small_machine_shares_what_it_has(cores: int, of_the_gpu: int, others: int) -> None:
    grants = started([*TRIMMED, PSI, XUMX], Machine(cores, gpu=True))
    assert grants == [*(Grant(stage, 1) for stage in TRIMMED[:others]), Grant(PSI, of_the_gpu)]


def test_workers_of_a_gpu_machine_are_stages_of_the_gpu_and_not_questioned() -> None:
    ready = [PSI, XUMX, DEMUCS, RELABELLING, *SCORES, *TRIMMED]
    grants = started(ready, replace(GPU16, workers=6), known(80, psi=70, xumx=70, demucs=70))
    assert names(grants)[:6] == ready[:6]
    assert len(grants) == 6 + (16 - 2 * 6)
    assert names(started(ready, replace(GPU16, workers=1)))[:2] == [PSI, TRIMMED[0]]


@pytest.mark.parametrize(
    "machine", [Machine(cores, gpu) for cores in (1, 2, 3, 16) for gpu in (False, True)]
)
@pytest.mark.parametrize("stage", [PSI, RELABELLING, STEMS, band(1)])
def test_something_starts_where_nothing_runs(machine: Machine, stage: Stage) -> None:
    assert len(started([stage], machine)) == 1
    assert len(started([stage], machine, known(1, psi=3))) == 1
    assert started([], machine) == []


# The GPU's memory


def test_a_training_of_unknown_need_runs_beside_no_other() -> None:
    assert names(started([PSI, XUMX], GPU16)) == [PSI]
    # Known or not is the training's, not the machine's.
    assert names(started([PSI, XUMX], GPU16, known(80, psi=1))) == [PSI]
    assert names(started([PSI, XUMX], GPU16, known(80, xumx=1))) == [PSI]
    unknown_total = Needs(None, {PSI.settings: 1.0, XUMX.settings: 1.0})
    assert names(started([PSI, XUMX], GPU16, unknown_total)) == [PSI]


def test_trainings_of_known_needs_share_85_percent_of_the_memory() -> None:
    ready = [PSI, XUMX, DEMUCS]
    assert names(started(ready, GPU16, known(100, psi=30, xumx=30, demucs=24))) == ready
    assert names(started(ready, GPU16, known(100, psi=30, xumx=56, demucs=54))) == [PSI, DEMUCS]
    # Alone, it may need more.
    assert names(started(ready, GPU16, known(100, psi=90, xumx=10, demucs=10))) == [PSI]


def test_trainings_of_the_same_settings_have_the_same_need() -> None:
    seeds = [replace(XUMX, seed=seed) for seed in range(5)]
    assert len(started(seeds, GPU16, known(100, xumx=20))) == 4


def test_the_most_that_was_measured_of_the_same_settings_counts() -> None:
    needs = known(100, xumx=40)
    for memory in (50 * GB, 20 * GB):
        needs = with_measured(needs, replace(XUMX, seed=1), memory, 100 * GB)
    assert needs == Needs(100 * GB, {PAPER_XUMX: 50 * GB})


def test_inference_runs_beside_one_training_of_unknown_need() -> None:
    assert names(started([PSI, SCORES[0], XUMX, SCORES[1]], GPU16)) == [PSI, *SCORES[:2]]
    assert names(started([SCORES[0], PSI, XUMX], GPU16)) == [SCORES[0], PSI]


def test_inference_counts_as_a_tenth_of_the_memory() -> None:
    ready = [PSI, RELABELLING]
    assert names(started(ready, GPU16, known(100, psi=74))) == ready
    assert names(started(ready, GPU16, known(100, psi=76))) == [PSI]
    assert len(started(SCORES, Machine(64, gpu=True))) == 8


@pytest.mark.parametrize(("cores", "at_once"), [(3, 1), (4, 1), (7, 1), (8, 2), (16, 4)])
def test_a_gpu_has_one_stage_for_four_cores_at_most(cores: int, at_once: int) -> None:
    assert len(started(SCORES, Machine(cores, gpu=True))) == at_once


# Stages of many cores


def test_stages_of_many_cores_share_what_is_free_by_their_songs() -> None:
    sizes = (86, 203, 14, 50)
    grants = started([band(number, songs) for number, songs in enumerate(sizes)], GPU16)
    shares = [grant.cores for grant in grants]
    assert sum(shares) == 14
    for share, songs in zip(shares, sizes, strict=True):
        assert abs(share - 14 * songs / sum(sizes)) < 1


def test_a_stage_of_many_cores_alone_has_all_that_are_free() -> None:
    assert started([band(0)], GPU16) == [Grant(band(0), 14)]
    running = started([PSI, *TRIMMED[:4]], GPU16)
    assert started([band(1)], GPU16, running=running) == [Grant(band(1), 10)]


def test_every_ready_stage_has_a_core_before_one_of_many_cores_has_two() -> None:
    grants = started([band(1, 1000), band(2, 1), *TRIMMED[:5], RELABELLING], GPU16)
    assert {grant.stage: grant.cores for grant in grants} == {
        band(1, 1000): 8,
        band(2, 1): 1,
        **dict.fromkeys(TRIMMED[:5], 1),
        RELABELLING: 2,
    }
    full = [band(number) for number in range(20)]
    assert started(full, GPU16) == [Grant(stage, 1) for stage in full[:14]]


# Which stages


def is_kind(value: object) -> bool:
    """Whether a value is a kind of stage, and not a base class of several kinds."""
    bases = {"Stage", "Songs", "StemSet", "Training", "Relabelling"}
    return isinstance(value, type) and issubclass(value, Stage) and value.__name__ not in bases


def test_what_applies_or_trains_a_network_uses_the_gpu_and_only_the_band_many_cores() -> None:
    modules = [
        import_module(found.name) for found in walk_packages(stages.__path__, "experiments.stages.")
    ]
    every = {each for module in modules for each in vars(module).values() if is_kind(each)}
    on_gpu = {each.__name__ for each in every if each.on_gpu}
    networks = {
        *("Classifier", "Separator", "Probabilities", "RecognitionOutputs", "SeparationScore"),
        "SeparatorJudgement",
    }
    assert on_gpu == networks
    assert [each for each in every if each.many_cores] == [BandSongs]


def test_what_a_stage_uses_is_no_part_of_its_identity() -> None:
    for stage in (PSI, XUMX, SCORES[0], band(1), Corrupted(band(1), settings.Corruption())):
        assert not {"on_gpu", "many_cores"} & set(expression(stage))


# The worker


class Said:
    """The end of a pipe, which keeps the messages that are sent."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def send(self, message: object) -> None:
        self.messages.append(message)


def order_of(stage: Stage, root: Path) -> Order:
    return Order(stage, root, ["table1"], [], 1, stage.on_gpu)


REPORTS = [StepReport(step, 3, 1.0, 1e-3, 1.0, 0.1, 0.01) for step in (1, 2, 3)]


def test_a_training_on_a_gpu_says_once_what_it_takes_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter((7 * GB, 9 * GB, 11 * GB))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(worker, "training_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: next(taken))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 * GB, 80 * GB))
    monkeypatch.setattr(
        Classifier, "compute", lambda stage, work: {"x": [work.progress.step(r) for r in REPORTS]}
    )
    store, said = Store(tmp_path), Said()
    store.folder(PSI).mkdir(parents=True)
    worker.computed(order_of(PSI, tmp_path), store, store.folder(PSI), said)
    measured = [message for message in said.messages if isinstance(message, Measured)]
    assert measured == [Measured(7 * GB + worker.CONTEXT_BYTES, 80 * GB)]
    assert sum(isinstance(message, Counted) for message in said.messages) == 3
    assert store.record(PSI)["run"]["device"] == "a GPU"


def test_the_runner_learns_what_its_workers_measure() -> None:
    receiving, sending = Pipe(duplex=False)
    job = runner.Job(
        XUMX, 2, 0, SimpleNamespace(is_alive=lambda: True), receiving, SimpleNamespace(), 0.0, 0.0
    )
    sending.send(Measured(20 * GB, 100 * GB))
    sending.send(Finished(1.0, elsewhere=False))
    needs = listen(job, known(100, psi=30))
    assert needs == known(100, psi=30, xumx=20)
    assert job.outcome == Finished(1.0, elsewhere=False)
