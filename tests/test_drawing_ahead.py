"""Batches that a separate thread draws, and how long drawing takes."""

import threading

import pytest
import torch

from selfrefine.errors import InputError
from selfrefine.randomness import generator_for
from selfrefine.training import drawing
from selfrefine.training.device import draws_ahead
from selfrefine.training.drawing import Draws, drawn_batches, seconds_of_a_draw

CPU = torch.device("cpu")


def test_the_next_batch_is_drawn_while_the_network_is_at_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", "1")
    drawn: dict[int, threading.Event] = {step: threading.Event() for step in range(3, 6)}

    def draw(step: int, generator: torch.Generator) -> int:
        drawn[step].set()
        return step

    with drawn_batches(Draws(draw, None, 0, CPU), range(3, 6)) as batches:
        assert next(batches) == 3
        assert drawn[4].wait(timeout=60)  # nobody has asked for it
        assert not drawn[5].is_set()
        assert [*batches] == [4, 5]


def test_what_fails_in_drawing_ends_the_training_with_its_own_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(step: int, generator: torch.Generator) -> int:
        raise InputError("song3/bass.wav: broken")

    for ahead in ("0", "1"):
        monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", ahead)
        with (
            pytest.raises(InputError, match=r"song3/bass\.wav"),
            drawn_batches(Draws(draw, None, 0, CPU), range(2)) as batches,
        ):
            next(batches)


def test_a_draw_is_timed_over_several_since_they_do_not_cost_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(drawing.time, "monotonic", lambda: now[0])
    seconds = {3: 0.25, 4: 0.5, 5: 0.25, 6: 0.0}
    seen: list[int] = []

    def draw(step: int, generator: torch.Generator) -> None:
        now[0] += seconds[step]
        seen.append(generator.initial_seed())

    assert seconds_of_a_draw(Draws(draw, None, 5, CPU), 3) == 0.25
    assert seen == [generator_for(5, step).initial_seed() for step in seconds]


def test_drawing_ahead_is_yes_or_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFREFINE_DRAW_AHEAD", "maybe")
    with pytest.raises(InputError, match="SELFREFINE_DRAW_AHEAD=maybe: give 0 or 1"):
        draws_ahead(CPU)
