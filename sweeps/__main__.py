"""`python -m sweeps list | run STUDY… | show STUDY… | freeze STUDY…`."""

import argparse
import io
import sys
from pathlib import Path

from experiments.arguments import positive
from experiments.data import CHOICES
from experiments.engine.machine import refuse_bad_machine
from experiments.profiles import PROFILES
from experiments.tracking.mode import tracked, wandb_mode
from selfrefine.errors import InputError, printable
from selfrefine.optional import from_extra


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(
        prog="python -m sweeps", description="Optuna studies over the registry's rows."
    )
    verbs = commands.add_subparsers(dest="command", required=True)
    verbs.add_parser("list", help="studies, parameters and objectives")
    for name, text in (
        ("run", "run trials until the study has enough; the same command resumes"),
        ("show", "write pictures and tables of a study, print its best trials"),
        ("freeze", "print the winner as a row of the registry"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("studies", nargs="+", metavar="STUDY")
        verb.add_argument(
            "--over", nargs="+", metavar="PARAMETER", help="vary these instead of the study's"
        )
        verb.add_argument("--objective", help="maximise this instead of the study's")
        verb.add_argument("--profile", default="mini", help=f"one of {', '.join(PROFILES)}")
        verb.add_argument("--data", default="band", help=f"one of {', '.join(CHOICES)}")
        verb.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
        verb.add_argument(
            "--storage",
            metavar="URL",
            help="an Optuna storage: sqlite:///FILE, postgresql://…, redis://…, or journal:FILE "
            "(default: sweeps.db in the store)",
        )
        if name == "run":
            verb.add_argument("--trials", type=positive, help="finished trials that are enough")
            verb.add_argument("--seed", type=sampler_seed, default=0, help="seed of the search")
            verb.add_argument(
                "--workers", type=positive, help="stages at once (default: what suits the device)"
            )
        if name == "show":
            verb.add_argument("--output", type=Path, default=Path("reports/output"))
    return commands


def sampler_seed(word: str) -> int:
    """A seed that Optuna's samplers take, as argparse's `type`."""
    number = int(word)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError("at least 0, less than 2^32")
    return number


def option_words(args: argparse.Namespace) -> tuple[str, ...]:
    """The options that all verbs except `list` share, as words of a command line."""
    words: list[str] = []
    for option in ("over", "objective", "profile", "data", "store", "storage"):
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option}", *(value if isinstance(value, list) else [str(value)])]
    return tuple(words)


def run_command(args: argparse.Namespace) -> int:
    from sweeps import commands

    if args.command == "list":
        return commands.list_studies()
    bounds = commands.bound_studies(
        args.studies, args.over, args.objective, args.profile, args.data
    )
    place = commands.StudyPlace(args.store, args.storage, option_words(args))
    match args.command:
        case "run":
            refuse_bad_machine()
            # Warns here, once, if W&B is missing: else each worker and study would warn.
            tracked(wandb_mode())
            return commands.run(bounds, place, args.trials, args.seed, args.workers)
        case "show":
            return commands.show_study(bounds, place, args.output)
    return commands.freeze(bounds, place)


def main(words: list[str] | None = None) -> int:
    args = parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may not be UTF-8; what is printed of it can be pasted.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        with from_extra("sweeps", needed_by="python -m sweeps"):
            return run_command(args)
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        what = f"{error.filename or 'a file'}: {error.strerror or error}"
        print(
            f"error: {printable(what)}; name another folder with --store or --output",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
