"""A file for each benchmark's output, and the one that they are joined into.

A part's first line says whether the benchmark ended well and what it has to be read with, so that a
later run knows which it need not do again.
"""

from dataclasses import dataclass
from pathlib import Path

from selfrefine.files.atomic import write_text

BENCHMARKS = ("evaluation", "refining", "effects", "loudness", "mixing", "training", "check_data")

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Part:
    """`origin` is on one line; `text` is Markdown."""

    ended: str
    origin: str
    text: str


def write_part(folder: Path, name: str, part: Part) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", f"<!-- {part.ended}: {part.origin} -->\n{part.text}")


def read_part(folder: Path, name: str) -> Part | None:
    """None where there is none, or a file that `write_part` did not write."""
    path = folder / f"{name}.md"
    if not path.exists():
        return None
    first, _, text = path.read_text().partition("\n")
    ended, colon, origin = first.removeprefix("<!-- ").removesuffix(" -->").partition(": ")
    return Part(ended, origin, text) if colon and ended in (DONE, FAILED) else None


def joined(parts: dict[str, Part], origin: str, head: str) -> str:
    """The parts under `head`, which is of `origin`; a part of another origin says so."""
    sections = [head]
    for name, part in parts.items():
        elsewhere = "" if part.origin == origin else f"From another run: {part.origin}.\n\n"
        sections.append(f"\n## {name}\n\n{elsewhere}{part.text}")
    return "".join(sections)


def lost_sections(path: Path, parts: dict[str, Part]) -> list[str]:
    """What the file at `path` tells of and `parts` do not."""
    lines = path.read_text().splitlines() if path.exists() else []
    told = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    return [name for name in told if name not in parts]
