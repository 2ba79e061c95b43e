"""`python -m reports TARGET…`: shows results as tables, figures, claims and one page; runs no
stage."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.data import CHOICES
from experiments.profiles import PROFILES, profile_named
from experiments.store import Store
from reports.checks import refuse_bad_results
from reports.exported import export, load_results
from reports.joined import joined_results
from reports.results import Results, collect, outdated
from selfrefine.app.heartbeat import heartbeat
from selfrefine.errors import InputError, printable, system_words
from selfrefine.optional import from_extra

ALONE = ("export", "wandb-dashboard")
"""Targets that must be given alone: the small result files, and the report at W&B."""


def parser(reports: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help=f"{', '.join(reports)}, all; or {' or '.join(ALONE)}",
    )
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--data", default="band", help=f"one of {', '.join(CHOICES)}")
    parser.add_argument(
        "--test",
        default="band",
        help="band: rows on the test songs of --data; folder: on the songs under $TEST_PATH",
    )
    parser.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
    parser.add_argument(
        "--results", type=Path, help="exported results, instead of a store, profile, data and test"
    )
    parser.add_argument(
        "--join", type=Path, help="exported results whose other seeds and rows stand beside these"
    )
    parser.add_argument("--output", type=Path, default=Path("reports/output"))
    parser.add_argument("--to", type=Path, help="where `export` puts the small result files")
    return parser


def main(words: list[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may not be UTF-8; what is printed of it can be pasted.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        with heartbeat("reports"):
            return report(words)
    except OSError as error:
        print(f"error: {printable(system_words(error))}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2


def report(words: list[str] | None) -> int:
    """Writes what the words of a command line name. Returns the exit code."""
    with from_extra("reports", needed_by="python -m reports"):
        from reports.writing import LISTENED, REPORTS, write_reports

    args = parser(REPORTS).parse_args(words)
    names = chosen(args.targets, REPORTS)
    results = found_results(args)
    if args.targets == ["export"]:
        if args.to is None:
            raise InputError("name a folder with --to, such as results/band-mini")
        if not results.stages:
            raise InputError(
                f"{args.store} holds no results of {results.name} to export; name another "
                "--store, --profile or --data"
            )
        export(results, args.to, LISTENED)
        print(f"{len(results.stages)} stages' results written to {args.to}")
        return 0
    if args.targets == ["wandb-dashboard"]:
        from reports.wandb_dashboard import update_dashboard

        print(f"the dashboard is at {update_dashboard(results, args.output / results.name)}")
        return 0
    folder = args.output / results.name
    try:
        write_reports(names, results, folder)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror or error}; name another folder with "
            "--output"
        ) from error
    return 0


def chosen(targets: list[str], reports: Sequence[str]) -> list[str]:
    """The reports that targets name. Raises InputError for an unknown name."""
    if len(targets) == 1 and targets[0] in ALONE:
        return []
    unknown = [name for name in targets if name not in (*reports, "all")]
    if unknown:
        raise InputError(
            f"no report called {unknown[0]!r}; choose from {', '.join(reports)} or all, "
            f"or one of {', '.join(ALONE)} alone"
        )
    return [name for name in reports if name in targets or "all" in targets]


def found_results(args: argparse.Namespace) -> Results:
    results = own_results(args)
    return results if args.join is None else joined_results(results, load_results(args.join))


def own_results(args: argparse.Namespace) -> Results:
    if args.results is None:
        store = Store(args.store)
        results = collect(store, profile_named(args.profile), args.data, args.test)

        def complaint(id: str, fault: str) -> InputError:
            folder = store.root / results.stages[id].kind / id
            return InputError(f"{folder}: damaged, {fault}; delete it and run again")

        refuse_bad_results(results, complaint)
        return results
    results = load_results(args.results)
    old = outdated(results)
    if old:
        print(
            f"note: {len(old)} rows of {args.results} are results of an earlier version of their "
            f"experiment, {old[0]} for one",
            file=sys.stderr,
        )
    return results


if __name__ == "__main__":
    sys.exit(main())
