"""Whether runs go to a W&B server, into files, or nowhere."""

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
"""After a server was unreachable, runs go to files for so long."""

UNTRACKED = "SELFREFINE_UNTRACKED"
"""Set in the environment once it was said that W&B is not installed."""

log = logging.getLogger(__name__)


def patience() -> float:
    """SELFREFINE_WANDB_SECONDS: how long (s) a server may take to answer, and to take what is left
    at a run's end. Raises InputError for what is no number of seconds."""
    return seconds_of("SELFREFINE_WANDB_SECONDS", 10.0)


def wandb_mode() -> Mode:
    """What $WANDB_MODE says; else online with a key in the environment or in .netrc, else
    offline."""
    chosen = os.environ.get("WANDB_MODE")
    for mode in get_args(Mode):
        if chosen == mode:
            return cast(Mode, mode)
    if chosen:
        log.warning("WANDB_MODE=%s is none of W&B's modes; tracking offline", chosen)
        return "offline"
    return "online" if logged_in() else "offline"


def tracked(mode: Mode) -> bool:
    """Whether there are runs at all. Where only W&B is missing, says so, once for this process and
    those that it starts."""
    if mode == "disabled":
        return False
    found = find_spec("wandb")
    # A folder that is only called wandb, such as W&B makes, is found too.
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
    """Whether a key for W&B's server, or for the one in $WANDB_BASE_URL, is on this machine."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return server in netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def silence() -> None:
    """Before W&B is imported: no reports of its own errors, which it sends over the network in
    every mode and waits for at a process' end, and no chatter."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ.setdefault("WANDB_SILENT", "true")


def reachable(folder: Path) -> bool:
    """Whether no run of this store found the server unreachable a short while ago."""
    try:
        age = time.time() - (folder / "unreachable").stat().st_mtime
    except OSError:
        return True
    return age > RETRY_SECONDS


def note_unreachable(folder: Path) -> None:
    """Sends the next runs of this store to files, so that only one waits for a dead server."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unreachable").touch()
