"""`python -m reports TARGET…`: results in the store as tables; runs nothing."""

import argparse
import os
import sys
from pathlib import Path

from experiments.data import CHOICES
from experiments.profiles import PROFILES, Profile, profile_named
from experiments.registry import TABLES, Table
from experiments.store import Store
from reports.separation import readable, separation_frame, separation_report
from selfrefine.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=f"{', '.join(TABLES)} or all")
    parser.add_argument("--profile", default="mini", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--data", default="band", help=f"one of {', '.join(CHOICES)}")
    parser.add_argument("--store", type=Path, default=Path("runs"), help="folder of results")
    parser.add_argument("--output", type=Path, default=Path("reports/output"))
    args = parser.parse_args()
    try:
        profile = profile_named(args.profile)
        store = Store(args.store)
        folder = args.output / f"{args.data}-{profile.name}"
        for table in chosen_tables(args.targets):
            write_table(table, profile, args.data, store, folder)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def chosen_tables(names: list[str]) -> list[Table]:
    """Raises InputError for a name that is no table."""
    unknown = [name for name in names if name != "all" and name not in TABLES]
    if unknown:
        raise InputError(f"no report called {unknown[0]!r}; choose from {', '.join(TABLES)} or all")
    return [table for name, table in TABLES.items() if name in names or "all" in names]


def write_table(table: Table, profile: Profile, data: str, store: Store, folder: Path) -> None:
    """Writes the table's Markdown and CSV, and prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = separation_report(table, profile, data, store)
    write_text(folder / f"{table.name}.md", text)
    frame = separation_frame(table.rows, profile, data, store)
    write_text(folder / f"{table.name}.csv", frame.to_csv(index=False, float_format="%.4f"))
    print(f"\n{table.title}\n{profile.name}: {profile.scale.meaning}; ours (the paper's)\n")
    print(readable(frame).to_markdown(index=False, tablefmt="simple", disable_numparse=True))
    print(f"\nwritten to {folder / table.name}.md and .csv")


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
