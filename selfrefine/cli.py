"""The `selfrefine` command: the method on your own data.

Bad input gives one line on stderr and exit code 2. `selfrefine check-data` exits with 1 when it
finds problems in readable data. Ctrl-C gives exit code 130.
"""

import argparse
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
from selfrefine.errors import InputError, printable, system_words

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
        return fail(system_words(error))
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on" if hasattr(args, "resume") else ""
        print(f"\nstopped{again}", file=sys.stderr)
        return 130


def fail(message: str) -> int:
    print(f"error: {printable(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
