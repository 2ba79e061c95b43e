"""Checks the machine's settings before a command starts a worker. A bad setting then gives one
error, not one per stage."""

from multiprocessing import get_context

from experiments.tracking.mode import patience
from selfrefine.files.temporary_folder import use_own_temporary_folder
from selfrefine.machine_settings import chosen_device, refuse_bad_settings


def refuse_bad_machine() -> None:
    """Raises InputError for a machine setting that cannot be used, and for a requested GPU that
    does not exist."""
    refuse_bad_settings()
    patience()
    if (chosen_device() or "cpu") != "cpu":
        use_own_temporary_folder()
        # Only torch can tell, and the process that starts workers does not load torch.
        with get_context("spawn").Pool(1) as pool:
            pool.apply(look_for_device)


def look_for_device() -> None:
    from selfrefine.training.device import training_device

    training_device()
