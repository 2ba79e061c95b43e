"""The packages and their subpackages (rooms): imports go one way, and each public name is given
once."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("selfrefine", "experiments", "sweeps", "reports", "benchmarks")

ROOMS = (
    (
        "selfrefine.classes",
        "selfrefine.errors",
        "selfrefine.machine_settings",
        "selfrefine.optional",
        "selfrefine.progress",
        "selfrefine.randomness",
        "selfrefine.scales",
        "selfrefine.settings",
        "selfrefine.threads",
    ),
    ("selfrefine.band", "selfrefine.audio"),
    ("selfrefine.files",),
    ("selfrefine.clips",),
    ("selfrefine.mixing",),
    ("selfrefine.models", "selfrefine.metrics"),
    ("selfrefine.training",),
    ("selfrefine.refining",),
    ("selfrefine.app",),
    ("selfrefine.commands",),
    ("selfrefine.cli",),
    ("experiments.stages.stage", "experiments.profiles"),
    ("experiments.integrity", "experiments.commit"),
    ("experiments.store", "experiments.trainings", "experiments.examples"),
    ("experiments.work", "experiments.arguments"),
    ("experiments.stages",),
    (
        "experiments.data",
        "experiments.method",
        "experiments.noise_rate",
        "experiments.printed",
        "experiments.registry",
        "experiments.robust",
        "experiments.rows",
    ),
    ("experiments.targets",),
    ("experiments.tracking",),
    ("experiments.engine",),
    ("experiments.commands",),
    ("experiments.shipping",),
    ("experiments.__main__",),
    ("sweeps", "reports"),
    ("benchmarks",),
)
"""The rooms from the lowest to the highest. A module may import from its own room and from those
below."""

ENTRANCES = {"main", "parser", "run", "add_arguments", "log"}
"""Names that every command, script or module has by convention."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(path.read_text())


def public_names(node: ast.AST) -> Iterator[str]:
    """The public name of the function, class or type that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Assign):
        assigned = [target.id for target in node.targets if isinstance(target, ast.Name)]
        names = [name for name in assigned if name[0].isupper() and not name.isupper()]
    else:
        names = []
    yield from (name for name in names if not name.startswith("_"))


def level(module: str) -> int:
    """The level of a module's room. The longest room name that the module's name begins with
    counts, since a base can be lower than its room."""
    found = [
        (len(room), place)
        for place, rooms in enumerate(ROOMS)
        for room in rooms
        if module == room or module.startswith(room + ".")
    ]
    assert found, f"{module} is in no room; give it a place in ROOMS"
    return max(found)[1]


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a module imports anywhere, except those for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from imported(node)


def test_no_import_runs_upwards() -> None:
    upward = [
        f"{name} imports {other}"
        for name, tree in modules()
        if name not in PACKAGES
        for other in imported(tree)
        if other.split(".")[0] in PACKAGES and "." in other and level(other) > level(name)
    ]
    assert not upward


def test_a_public_name_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, tree in modules():
        for node in ast.iter_child_nodes(tree):
            for found in public_names(node):
                places[found].append(name)
    twice = {
        name: where for name, where in places.items() if len(where) > 1 and name not in ENTRANCES
    }
    assert not twice


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long
