"""The whole report as one HTML file that loads no other files."""

import base64
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from experiments.examples import MIXTURE, REFERENCE
from experiments.registry import TARGETS
from experiments.robust import ROBUST
from reports.audit import HEAD as AUDIT_HEAD
from reports.audit import Audited
from reports.claims import COMPARISON_HEAD, FAILS, HOLDS, HOW, NOT_RUN, Claim, comparison_rows
from reports.figures import FIGURES, TITLES
from reports.results import Record, Results
from reports.robust import HEAD as COMPARED_HEAD
from reports.robust import Compared
from reports.sheets import (
    Cell,
    Line,
    ShareCell,
    Sheet,
    caption,
    group,
    number,
    spread,
)
from reports.studies import shown_studies
from reports.writers import interval_head, interval_rows, interval_text, share_text
from selfrefine.app.audit_page.page import policy_hash
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.progress import duration

TEMPLATE = Path(__file__).with_name("page.html.jinja")
VERDICT_STYLES = {HOLDS: "holds", FAILS: "fails", NOT_RUN: "missing"}


@dataclass(frozen=True)
class Player:
    """An audio element: its caption, and its audio as a data URI."""

    caption: str
    source: str


@dataclass(frozen=True)
class HeardSong:
    """A test song's mixture, and per class its reference and every row's estimate."""

    name: str
    mixture: Player
    instruments: list[tuple[str, list[Player]]]


@dataclass(frozen=True)
class Origin:
    """The origin of a row's run: the stage that scored it, and the training that it tests.

    `seconds` are the training's, `chain_seconds` those of all stages that the run needed.
    """

    row: str
    anchor: str
    title: str
    seed: int
    stage: str
    trained: str
    commit: str
    device: str
    started: str
    seconds: float
    chain_seconds: float
    link: str


def page(
    results: Results,
    sheets: list[Sheet],
    compared: Compared | None,
    claims: list[Claim],
    captions: dict[str, str],
    audits: list[Audited],
    listened: list[str],
    folder: Path,
) -> str:
    """The HTML text of the page. The figures named in `captions` have SVG files in `folder`, which
    also holds the shown studies."""
    script, style = (
        TEMPLATE.with_name(name).read_text(encoding="utf-8") for name in ("page.js", "page.css")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["anchor"] = anchor
    environment.tests["is_web_address"] = is_web_address
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    figures = [
        (name, TITLES[name], data_uri(folder / f"{name}.svg", "image/svg+xml"), captions[name])
        for name in FIGURES
        if name in captions
    ]
    return template.render(
        results=results,
        facts=facts(results, claims),
        sheets=sheets,
        compared={ROBUST.name: compared} if compared else {},
        compared_head=COMPARED_HEAD,
        heading=heading,
        group=group,
        shown_cell=shown_cell,
        cell_title=cell_title,
        caption=caption,
        interval_head=interval_head,
        interval_rows=interval_rows,
        claims=claims,
        verdict_style=lambda verdict: VERDICT_STYLES.get(verdict, "open"),
        comparison_head=COMPARISON_HEAD,
        comparison_rows=comparison_rows,
        how=HOW,
        figures=figures,
        audits=audits,
        audit_head=AUDIT_HEAD,
        studies=shown_studies(folder),
        data_uri=data_uri,
        songs=heard_songs(results, listened),
        origins=origins(results),
        script=Markup(script),
        script_hash=policy_hash(script),
        style=Markup(style),
        style_hash=policy_hash(style),
    )


def is_web_address(text: str) -> bool:
    """Whether a browser may follow it. Results of others can hold any text as an address."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def facts(results: Results, claims: list[Claim]) -> list[tuple[str, str]]:
    """The numbers at the head of the page: each a value and a description."""
    kinds = [record.kind for record in results.stages.values()]
    runs = [len(ids) for ids in results.rows.values() if ids]
    seeds = (
        "–"
        if not runs
        else f"{min(runs)}"
        if min(runs) == max(runs)
        else (f"{min(runs)}–{max(runs)}")
    )
    held = sum(claim.verdict == HOLDS for claim in claims)
    return [
        (f"{held} of {len(claims)}", "claims hold here"),
        (str(kinds.count("classifier")), "classifiers trained"),
        (str(kinds.count("separator")), "separators trained"),
        (seeds, "runs a row"),
        (duration(results.wall_seconds), "of computing"),
    ]


def anchor(row: str) -> str:
    return "from-" + row.replace("/", "-")


def heading(name: str) -> str:
    """The heading of a sheet: "Table 2" for table2, "Options" for options."""
    return f"Table {name[-1]}" if name.startswith("table") else name.capitalize()


def shown_cell(cell: Cell | ShareCell, line: Line) -> Markup:
    """Our value, and below it the paper's value and the difference; or a share, and below it its
    interval."""
    if isinstance(cell, ShareCell):
        return share_markup(cell)
    if cell.ours is None:
        ours = Markup('<span class="missing">{}</span>').format(NOT_RUN)
    else:
        ours = Markup("<b>{}</b><i>{}</i>").format(
            number(cell.ours.value, line.decimals), spread(cell.ours, line.decimals)
        )
    if cell.paper is None:
        return ours
    below = Markup("{}").format(number(cell.paper, line.decimals))
    if cell.difference is not None:
        difference = number(cell.difference, line.decimals, signed=True)
        below += Markup("<span> · {}</span>").format(difference)
    return ours + Markup("<small>{}</small>").format(below)


def share_markup(cell: ShareCell) -> Markup:
    value, across = cell.share.value, cell.share.across_seeds
    if value is None:
        return Markup('<span class="missing">{}</span>').format(share_text(value))
    below = interval_text(across.low, across.high, 0) if across else ""
    return Markup("<b>{}</b><small>{}</small>").format(share_text(value), below)


def cell_title(cell: Cell | ShareCell, line: Line) -> str:
    """The intervals of a cell with their numbers of seeds and items, for its tooltip."""
    if isinstance(cell, ShareCell):
        share, unit, decimals = cell.share, "%", 0
        if share.over_items is None:
            return share.reason
        across, over, seeds, items = (
            share.across_seeds,
            share.over_items,
            share.seeds,
            share.items,
        )
    elif cell.ours is None:
        return ""
    else:
        unit, decimals = "", line.decimals
        across, over = cell.ours.across_seeds, cell.ours.over_items
        seeds, items = len(cell.ours.seeds), cell.ours.items
    told = (
        f"across {seeds} seeds (95%) {interval_text(across.low, across.high, decimals)}{unit}"
        if across
        else "one run, no interval across seeds"
    )
    return (
        f"{told}; over {items} {cell.noun} (95%) {interval_text(over.low, over.high, decimals)}"
        f"{unit}"
    )


def data_uri(path: Path, media_type: str) -> str:
    """A file as an address that needs no file. Raises InputError when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); export or make it again"
        ) from error
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def heard_songs(results: Results, listened: list[str]) -> list[HeardSong]:
    """The audio examples of the rows that were run. There are none for a user's own songs."""
    if results.on_folder:
        return []
    heard = [
        (label, results.examples[record.id])
        for label in listened
        if (record := results.first(label)) is not None and record.id in results.examples
    ]
    if not heard:
        return []
    shared = shared_examples(heard[0][1])
    names = [path.name.removesuffix(MIXTURE) for path in sorted(shared.glob(f"*{MIXTURE}"))]
    return [heard_song(name, shared, heard) for name in names]


def shared_examples(folder: Path) -> Path:
    """The folder of a row's mixtures and references: that of its estimates, or the folder above,
    where exported rows share them."""
    return folder if any(folder.glob(f"*{MIXTURE}")) else folder.parent


def heard_song(name: str, shared: Path, heard: list[tuple[str, Path]]) -> HeardSong:
    instruments = []
    for instrument in CLASSES:
        players = [player("reference", shared / f"{name}.{instrument}{REFERENCE}")]
        for label, folder in heard:
            players.append(player(row_title(label), folder / f"{name}.{instrument}.ogg"))
        instruments.append((instrument, players))
    return HeardSong(name, player("mixture", shared / f"{name}{MIXTURE}"), instruments)


def player(caption: str, path: Path) -> Player:
    return Player(caption, data_uri(path, "audio/ogg"))


def row_title(label: str) -> str:
    table, name = label.split("/")
    return ", ".join(TARGETS[table].row(name).labels)


def origins(results: Results) -> list[Origin]:
    """One origin per row and seed, in the order of the tables."""
    return [
        row_origin(label, record, results)
        for label in results.rows
        for record in results.runs(label)
    ]


def row_origin(label: str, record: Record, results: Results) -> Origin:
    behind = results.behind(record)
    trained = [each for each in behind if each.kind in ("classifier", "separator")]
    source = trained[-1] if trained else record
    return Origin(
        label,
        anchor(label),
        row_title(label),
        record.seed,
        record.id,
        source.id,
        source.run.get("commit", "unknown"),
        source.run.get("device", "unknown"),
        record.run.get("started", ""),
        source.run.get("seconds", 0.0),
        sum(each.run.get("seconds", 0.0) for each in behind),
        source.link or record.link,
    )
