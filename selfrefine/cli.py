"""The `selfrefine` command: the method on your own data.

Bad input gives one line on stderr and exit code 2. `selfrefine check-data` exits with 1 when it
finds problems in readable data. Ctrl-C gives exit code 130.
"""

import argparse
import errno
import io
import os
import sys
from types import ModuleType

from selfrefine.app.heartbeat import heartbeat
from selfrefine.commands import (
    apply,
    check_data,
    corrupt,
    evaluate,
    refine,
    separate,
    synthesize,
    train_separator,
)
from selfrefine.errors import InputError

COMMANDS: dict[str, ModuleType] = {
    "check-data": check_data,
    "refine": refine,
    "apply": apply,
    "train-separator": train_separator,
    "separate": separate,
    "evaluate": evaluate,
    "corrupt": corrupt,
    "synthesize": synthesize,
}

REMEDIES = {
    errno.ENOSPC: "the disk is full; free space, or choose a folder on another disk",
    errno.EDQUOT: "the quota is used up; free space, or choose a folder elsewhere",
    errno.EFBIG: "files of that size are not allowed here; choose a folder elsewhere",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; change the permissions, or choose another folder",
    errno.EPERM: "permission denied; change the permissions, or choose another folder",
    errno.EISDIR: "is a folder where a file is needed; move it away, or choose another folder",
    errno.ENOTDIR: "is below a file where a folder is needed; choose another folder",
    errno.EEXIST: "is a file where a folder is needed; move it away, or choose another folder",
    errno.ELOOP: "is a link that leads back to itself; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="selfrefine",
        description="Relabel dubious stems, train on them, separate and evaluate "
        "(Koo et al., ISMIR 2023).",
    )
    verbs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        verb = verbs.add_parser(name, help=module.SUMMARY, description=module.__doc__)
        verb.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(verb)
    return top


def main(words: list[str] | None = None) -> int:
    """Runs a command line and returns its exit code."""
    args = parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may not be valid Unicode.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with heartbeat(args.command):
            code: int = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return code
    except InputError as error:
        return fail(str(error))
    except BrokenPipeError:
        # The reader of our output is gone. Python would write to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = REMEDIES.get(error.errno or 0, error.strerror or str(error))
        return fail(f"{error.filename}: {what}" if error.filename else what)
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on" if hasattr(args, "resume") else ""
        print(f"\nstopped{again}", file=sys.stderr)
        return 130


def fail(message: str) -> int:
    # A path may hold line breaks, and what moves a terminal's cursor.
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    print(f"error: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
