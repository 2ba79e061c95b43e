"""The commit of the code that computes a result."""

import os
import subprocess
from pathlib import Path

VARIABLE = "SELFREFINE_COMMIT"


def commit_of_code() -> str:
    """What SELFREFINE_COMMIT says, since a machine may have only a copy of the files. Else the
    commit by git, with "+" appended if files differ from it; "unknown" without git."""
    if named := os.environ.get(VARIABLE):
        return named
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
        return "unknown"
    return head + ("+" if changes else "")
