"""Decides whether runs go to a W&B server, into files, or nowhere."""

import logging
import netrc
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from selfrefine.machine_settings import seconds_of

Mode = Literal["online", "offline", "disabled", "shared"]

RETRY_SECONDS = 600.0
"""After a server was unreachable, runs go to files for this many seconds."""

UNTRACKED = "SELFREFINE_UNTRACKED"
"""Environment variable that is set after the warning that W&B is not installed."""

log = logging.getLogger(__name__)


def patience() -> float:
    """SELFREFINE_WANDB_SECONDS: the time (s) that a server has to answer, and to receive the rest
    of the data at a run's end. Raises InputError for a value that is not a number of seconds."""
    return seconds_of("SELFREFINE_WANDB_SECONDS", 10.0)


def wandb_mode() -> Mode:
    """The mode in $WANDB_MODE. If it is not set: online with a key in the environment or in .netrc,
    else offline."""
    chosen = os.environ.get("WANDB_MODE")
    for mode in get_args(Mode):
        if chosen == mode:
            return cast(Mode, mode)
    if chosen:
        log.warning("WANDB_MODE=%s is none of W&B's modes; tracking offline", chosen)
        return "offline"
    return "online" if logged_in() else "offline"


def tracked(mode: Mode) -> bool:
    """Whether runs are recorded. If only the package W&B is missing, warns once for this process
    and those that it starts."""
    if mode == "disabled":
        return False
    found = find_spec("wandb")
    # A plain folder called wandb, such as W&B makes for its runs, is found too; it has no origin.
    if found is not None and found.origin is not None:
        return True
    if UNTRACKED not in os.environ:
        os.environ[UNTRACKED] = "1"
        log.warning(
            "W&B is not installed, so runs go untracked: pip install 'selfrefine[tracking]', or "
            "WANDB_MODE=disabled"
        )
    return False


def logged_in() -> bool:
    """Whether this machine has a key for W&B's server, or for the server in $WANDB_BASE_URL."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return server in netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def silence() -> None:
    """Silences W&B; call this before it is imported.

    W&B would send reports of its own errors over the network in every mode, and would wait for that
    at the end of the process.
    """
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ.setdefault("WANDB_SILENT", "true")


def reachable(folder: Path) -> bool:
    """Whether no run of this store found the server unreachable in the last `RETRY_SECONDS`."""
    try:
        age = time.time() - (folder / "unreachable").stat().st_mtime
    except OSError:
        return True
    return age > RETRY_SECONDS


def note_unreachable(folder: Path) -> None:
    """Lets the next runs of this store go to files, so that only one waits for a dead server."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unreachable").touch()
