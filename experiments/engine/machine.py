"""What a command asks of the machine's settings before it starts a worker, so that a bad one is one
line of its own and not every stage's failure."""

from multiprocessing import get_context

from experiments.tracking.mode import patience
from selfrefine.machine_settings import chosen_device, refuse_bad_settings


def refuse_bad_machine() -> None:
    """Raises InputError for a machine setting that cannot be used, and for a GPU that was asked for
    and is not there."""
    refuse_bad_settings()
    patience()
    if (chosen_device() or "cpu") != "cpu":
        # Only torch knows, and a process that starts workers does without it.
        with get_context("spawn").Pool(1) as pool:
            pool.apply(look_for_device)


def look_for_device() -> None:
    from selfrefine.training.device import training_device

    training_device()
