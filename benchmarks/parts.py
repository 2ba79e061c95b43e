"""The file of each benchmark's output, called a part, and the file into which parts are joined.

A part's first line says whether the benchmark succeeded, and names its device, software and code. A
later run reads it to skip benchmarks that are done.
"""

from dataclasses import dataclass
from pathlib import Path

from selfrefine.files.atomic import write_text

BENCHMARKS = ("evaluation", "refining", "effects", "loudness", "mixing", "training", "check_data")

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Part:
    """The output of a benchmark. `ended` is `DONE` or `FAILED`, `origin` is one line with the facts
    of `benchmarks.clock.origin` and the profile, and `text` is Markdown."""

    ended: str
    origin: str
    text: str


def write_part(folder: Path, name: str, part: Part) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", f"<!-- {part.ended}: {part.origin} -->\n{part.text}")


def read_part(folder: Path, name: str) -> Part | None:
    """Reads a part. None if there is none, or for a file that `write_part` did not write."""
    path = folder / f"{name}.md"
    if not path.exists():
        return None
    first, _, text = path.read_text().partition("\n")
    ended, colon, origin = first.removeprefix("<!-- ").removesuffix(" -->").partition(": ")
    return Part(ended, origin, text) if colon and ended in (DONE, FAILED) else None


def joined(parts: dict[str, Part], origin: str, head: str) -> str:
    """Joins the parts under `head`, which describes `origin`. A part of another origin says so."""
    sections = [head]
    for name, part in parts.items():
        elsewhere = "" if part.origin == origin else f"From another run: {part.origin}.\n\n"
        sections.append(f"\n## {name}\n\n{elsewhere}{part.text}")
    return "".join(sections)


def lost_sections(path: Path, parts: dict[str, Part]) -> list[str]:
    """The sections of the file at `path` that `parts` lack."""
    lines = path.read_text().splitlines() if path.exists() else []
    told = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    return [name for name in told if name not in parts]
