"""The simulated schedule agrees with times that can be computed by hand."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from experiments.engine.slots import Machine, Needs, by_urgency, wall_seconds
from experiments.profiles import PROFILES
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.probabilities import Probabilities
from experiments.stages.recognition_outputs import RecognitionOutputs
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import Relabelled
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, inputs
from experiments.stages.trimmed import Trimmed
from experiments.targets import resolved_rows
from selfrefine.settings import PAPER_XUMX

BAND = BandSongs("clean", 0, 10, 14.0, 16000, 0)
STEMS = Trimmed(BAND)
PSI = Classifier(STEMS)
OUTPUTS = RecognitionOutputs(STEMS, PSI)
XUMX = Separator(STEMS, PAPER_XUMX)
SCORES = [RecognitionScore(OUTPUTS, (0.1 * place,) * 4) for place in range(7)]


def done_but(*stages: Stage) -> Callable[[Stage], bool]:
    return lambda stage: stage not in stages


def wall(
    seconds: Mapping[Stage, float],
    machine: Machine,
    needs: Needs | None = None,
    done: Callable[[Stage], bool] = lambda stage: False,
) -> float:
    return wall_seconds(list(seconds), seconds.__getitem__, done, machine, needs or Needs())


CPU2, GPU16 = Machine(2, gpu=False), Machine(16, gpu=True)


@pytest.mark.parametrize("machine", [CPU2, GPU16, Machine(1, gpu=True)])
def test_a_chain_takes_the_sum(machine: Machine) -> None:
    chain = {STEMS: 3.0, PSI: 80.0, OUTPUTS: 12.0, SCORES[0]: 0.5}
    assert wall(chain, machine) == 95.5


def test_independent_stages_take_turns_on_the_cores() -> None:
    equal = dict.fromkeys(SCORES, 10.0)
    assert wall(equal, Machine(1, gpu=False)) == 70
    assert wall(equal, CPU2) == 40
    assert wall(equal, replace(CPU2, workers=7)) == 10
    assert wall(equal, GPU16) == 10
    assert wall(equal, Machine(4, gpu=True)) == 40


def test_a_stage_that_ends_makes_room_at_once() -> None:
    # On two cores 8 runs beside 3, then 4, then 5.
    assert wall(dict(zip(SCORES, (8.0, 3.0, 4.0, 5.0), strict=False)), CPU2) == 12


def test_what_needs_no_gpu_runs_beside_what_does() -> None:
    beside = {PSI: 100.0, **dict.fromkeys(SCORES, 10.0)}
    assert wall(beside, GPU16) == 100
    assert wall(beside, Machine(4, gpu=True)) == 100
    # On two cores, one is the GPU stage's and the other stages take turns on the other.
    assert wall({**beside, PSI: 50.0}, Machine(2, gpu=True)) == 70


def test_trainings_run_side_by_side_where_their_memory_is_known_and_holds_them() -> None:
    trainings = {replace(XUMX, seed=seed): 60.0 for seed in range(4)}
    assert wall(trainings, GPU16) == 240
    assert wall(trainings, GPU16, Needs(100.0, {PAPER_XUMX: 40.0})) == 120
    assert wall(trainings, GPU16, Needs(100.0, {PAPER_XUMX: 10.0})) == 60
    assert wall(trainings, Machine(8, gpu=True), Needs(100.0, {PAPER_XUMX: 10.0})) == 120
    assert wall(trainings, replace(GPU16, workers=3)) == 120


def test_a_stage_of_many_cores_takes_its_share_of_the_seconds() -> None:
    assert wall({BAND: 140.0}, GPU16) == 10
    assert wall({BAND: 140.0}, Machine(16, gpu=False)) == 140
    # As much work each, and so seven cores each.
    two = {BAND: 140.0, replace(BAND, first=50): 140.0}
    assert wall(two, GPU16) == 20
    # With the band done on 14 cores, the stems are cut on one.
    assert wall({BAND: 140.0, STEMS: 3.0, PSI: 80.0}, GPU16) == 93


def test_what_is_done_takes_no_time() -> None:
    chain = {STEMS: 3.0, PSI: 80.0, OUTPUTS: 12.0}
    assert wall(chain, CPU2, done=done_but(PSI, OUTPUTS)) == 92
    assert wall(chain, CPU2, done=done_but()) == 0
    assert wall({}, GPU16) == 0


def test_an_input_that_is_not_asked_for_is_not_waited_for() -> None:
    assert wall({OUTPUTS: 12.0}, GPU16) == 12


@pytest.mark.parametrize("machine", [Machine(16, gpu=False), GPU16, Machine(2, gpu=True)])
def test_a_whole_table_takes_no_less_than_its_longest_chain_nor_more_than_its_sum(
    machine: Machine,
) -> None:
    rows = resolved_rows(["table1", "table2"], PROFILES["lite"], "band").values()
    stages = closure([stage for _, stage in rows])
    seconds = {stage: float(10 + len(closure([stage]))) for stage in stages}
    chains: dict[Stage, float] = {}
    for stage in stages:
        # As if a stage of many cores had all of them.
        own = seconds[stage] / (machine.cores if stage.many_cores else 1)
        chains[stage] = own + max((chains[needed] for needed in inputs(stage)), default=0.0)
    took = wall(seconds, machine)
    assert max(chains.values()) <= took <= sum(seconds.values())
    of_the_gpu = sum(time for stage, time in seconds.items() if stage.on_gpu)
    one_at_a_time = wall(seconds, replace(machine, workers=1))
    assert one_at_a_time >= (of_the_gpu if machine.gpu else sum(seconds.values()))


def test_those_that_most_others_wait_for_are_urgent() -> None:
    relabelled = Relabelled(Probabilities(STEMS, PSI))
    order = by_urgency([SCORES[0], relabelled, OUTPUTS, SCORES[1], PSI])
    assert order == [PSI, OUTPUTS, SCORES[0], relabelled, SCORES[1]]
