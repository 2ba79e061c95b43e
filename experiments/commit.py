"""The commit of the code that computes a result."""

import os
import subprocess
from pathlib import Path

VARIABLE = "SELFREFINE_COMMIT"


def commit_of_code() -> str:
    """The commit of the code, with "+" appended if files differ from it.

    Without git it is what SELFREFINE_COMMIT says, or "unknown": a machine may have only a copy of
    the files.
    """
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get(VARIABLE) or "unknown"
    return head + ("+" if changes else "")
