"""`python -m experiments list | plan TARGET | run TARGET… | show ROW | pretrained`."""

import argparse
import sys
from pathlib import Path

from experiments.arguments import positive, seed_range
from experiments.commands import list_targets, plan, run, show
from experiments.data import CHOICES
from experiments.engine.known_gpus import KNOWN
from experiments.profiles import PROFILES
from selfrefine.app.heartbeat import heartbeat
from selfrefine.errors import InputError, printable


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(
        prog="python -m experiments", description="The paper's experiments, from one registry."
    )
    verbs = commands.add_subparsers(dest="command", required=True)
    listing = verbs.add_parser("list", help="every target: tables and their rows")
    add_data_and_test(listing)
    for name, text in (
        ("plan", "the stages that targets need, which exist, and the time the rest will take"),
        ("run", "compute what is missing"),
        ("show", "a row's whole expression and, once it ran, its result"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("targets", nargs="+", metavar="TARGET")
        verb.add_argument("--profile", default="mini", help=f"one of {', '.join(PROFILES)}")
        add_data_and_test(verb)
        verb.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
        verb.add_argument(
            "--seeds",
            type=seed_range,
            default=range(1),
            metavar="N|A-B",
            help="runs of each training, one per seed: N from seed 0, or those of seeds A to B",
        )
        if name == "plan":
            verb.add_argument(
                "--gpu", metavar="NAME", help=f"times of {' or '.join(KNOWN)}, not of this machine"
            )
        if name == "run":
            verb.add_argument(
                "--workers",
                type=positive,
                help="stages at once (default: one per core); on a GPU machine, stages on the GPU "
                "at once (default: as many as its memory holds); the others use the free cores",
            )
    shipped = verbs.add_parser(
        "pretrained", help="make the classifier that refining starts from, and ship it"
    )
    shipped.add_argument("--profile", default="mini", help=f"one of {', '.join(PROFILES)}")
    shipped.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
    shipped.add_argument("--workers", type=positive, help="as for run")
    shipped.add_argument("--to", type=Path, metavar="DIR", help="a folder other than the package's")
    return commands


def add_data_and_test(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--data", default="band", help=f"one of {', '.join(CHOICES)}")
    verb.add_argument(
        "--test",
        default="band",
        help="band: the test songs of --data; folder: also the songs under $TEST_PATH",
    )


def main() -> int:
    args = parser().parse_args()
    try:
        if args.command == "list":
            return list_targets(args.data, args.test)
        if args.command == "pretrained":
            from experiments.shipping import ship

            return ship(args.profile, args.store, args.workers, args.to)
        asked = (args.targets, args.profile, args.data, args.store, args.seeds)
        match args.command:
            case "plan":
                with heartbeat("plan"):
                    return plan(*asked, args.gpu, args.test)
            case "show":
                return show(*asked, args.test)
        return run(*asked, args.workers, args.test)
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the checkpoints", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
