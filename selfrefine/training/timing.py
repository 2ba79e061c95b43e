"""How long the steps of a training take between two of its reports."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from selfrefine.training.device import wait_for_device


class StepTimer:
    """Measures the seconds of steps, and those in which they wait for data, since `restart`.

    A GPU draws batches itself, so the time in which its steps wait for them cannot be measured.
    `draw_seconds` is the time that a draw alone takes; a step's data counts as at least this.
    """

    def __init__(self, device: torch.device, draw_seconds: float) -> None:
        self._device = device
        self._draw_seconds = draw_seconds
        self.restart()

    def restart(self) -> None:
        """Forgets all steps so far."""
        self._waited = 0.0
        self._began = time.monotonic()

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time of a block as time in which a step waits for data."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves the time of a block out of the steps' time."""
        # What the device has not finished yet belongs to the steps.
        wait_for_device(self._device)
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def means(self, steps: int) -> tuple[float, float]:
        """The mean seconds of the last `steps` steps, and their mean seconds for data."""
        seconds = (time.monotonic() - self._began) / steps
        return seconds, max(self._draw_seconds, self._waited / steps)
