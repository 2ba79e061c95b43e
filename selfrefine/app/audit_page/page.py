"""audit.html, on which a person listens to refined stems and decides their labels.

The page is one file and needs no server. Its players play the stems in the folder beside it, and it
gives the edited labels.csv as a download.
"""

import base64
import hashlib
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from selfrefine.app.audit_page.data import Curve, curve_record, packed_waveform, segment_rows
from selfrefine.app.labels_table import BY_HAND, StemDecision, labels_text
from selfrefine.classes import CLASSES, label_rank, label_words
from selfrefine.files.atomic import written_whole
from selfrefine.refining.segments import Segment

DOUBTFUL = 0.25
"""A stem counts as doubtful where its label set is wrong with this probability or more."""

PAGE = Path(__file__).with_name("page.html.jinja")
SCRIPTS = [Path(__file__).with_name(name) for name in ("table.js", "plots.js", "page.js")]
STYLE = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class AuditedStem:
    """A decision, the stem's audio file under the page's folder, and what the page draws for it.

    `peaks` `(column,)` are the largest magnitudes, 0 to 1, in equal parts of the file. `segments`
    are the stretches that hold the same classes. `audio` and `curve` are None for a stem that could
    not be used.
    """

    decision: StemDecision
    audio: Path | None
    curve: Curve | None
    peaks: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Audit:
    """The contents of the page.

    `stems` are in the order of labels.csv. `facts` are pairs of a name and a value. Where a truth
    is known, `accuracies` are rows of cells under `accuracy_columns`. Each row of `reliability` is
    about a group of stems: its confidence in words, how many stems it has, their mean confidence,
    and the share of them whose proposed label set is right.
    """

    title: str
    facts: list[tuple[str, str]]
    threshold: float
    stems: list[AuditedStem]
    accuracy_columns: tuple[str, ...]
    accuracies: list[tuple[str, ...]]
    reliability: list[tuple[str, ...]] = field(default_factory=list)


def write_audit(path: Path, audit: Audit) -> None:
    """Writes the page to `path`. Its players play files in the same folder."""
    page = audit_page(audit, path.parent)
    with written_whole(path) as partial:
        # A name that is not valid UTF-8 is shown with question marks.
        partial.write_bytes(page.encode("utf-8", errors="replace"))


def audit_page(audit: Audit, folder: Path) -> str:
    """The HTML of a page that is written into `folder`."""
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    style = STYLE.read_text(encoding="utf-8")
    template = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    ).from_string(PAGE.read_text(encoding="utf-8"))
    return template.render(
        title=audit.title,
        facts=audit.facts,
        threshold=audit.threshold,
        classes=CLASSES,
        decisions=decision_counts(audit.stems),
        confusion=refined_by_given(audit.stems),
        accuracy_columns=audit.accuracy_columns,
        accuracies=audit.accuracies,
        reliability=audit.reliability,
        unusable=[s.decision for s in audit.stems if s.decision.probability is None],
        out=shlex.quote(os.path.abspath(folder)),
        script=Markup(script),
        script_hash=policy_hash(script),
        style=Markup(style),
        style_hash=policy_hash(style),
        data=Markup(script_data(page_data(audit, folder))),
    )


def policy_hash(text: str) -> str:
    """The digest by which a Content-Security-Policy allows exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def script_data(value: object) -> str:
    """JSON for a script element. No file name in it can end the element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def page_data(audit: Audit, folder: Path) -> dict[str, object]:
    """The data for the page's script: labels.csv as it was written, and the usable stems, the most
    doubtful first."""
    labels = labels_text(stem.decision for stem in audit.stems)
    order = sorted(enumerate(audit.stems), key=lambda each: -each[1].decision.doubt)
    return {
        "labels": labels,
        # The browser stores decisions under this, so that they do not apply to other labels.
        "digest": hashlib.sha256(labels.encode(errors="surrogateescape")).hexdigest(),
        "classes": CLASSES,
        "byHand": BY_HAND,
        "doubtful": DOUBTFUL,
        "threshold": audit.threshold,
        "stems": [
            stem_record(row, stem, folder)
            for row, stem in order
            if stem.decision.probability is not None
        ],
    }


def stem_record(row: int, stem: AuditedStem, folder: Path) -> dict[str, object]:
    """A stem for the script, which reads the rest about it from row `row` of labels.csv."""
    source = ""
    if stem.audio is not None:
        # As bytes, so that names that are not valid UTF-8 can be played too.
        source = quote(os.fsencode(stem.audio.relative_to(folder).as_posix()))
    return {
        "row": row,
        "doubt": round(stem.decision.doubt, 3),
        "source": source,
        "peaks": None if stem.peaks is None else packed_waveform(stem.peaks),
        "segments": segment_rows(stem.segments),
        "curve": curve_record(stem.curve, stem.decision.seconds or 1.0) if stem.curve else None,
    }


def decision_counts(stems: list[AuditedStem]) -> list[tuple[str, int]]:
    """The number of stems with each decision. If some stems got the most probable class, their
    number is the last row."""
    meanings = {
        "keep": "keep: the given label stands",
        "relabel": "relabel: one other class",
        "multi": "multi: several classes",
        "drop": "drop: no class, or not usable",
    }
    counts = [
        (words, sum(stem.decision.decision == name for stem in stems))
        for name, words in meanings.items()
    ]
    most_probable = sum(stem.decision.most_probable for stem in stems)
    if most_probable:
        counts.append(
            ("of them by the most probable class: none passes the threshold", most_probable)
        )
    return counts


def refined_by_given(stems: list[AuditedStem]) -> list[tuple[str, list[int]]]:
    """For each given label, the number of stems that were refined to each class, to several and to
    none. A stem with several classes counts under each of them too."""
    usable = [stem.decision for stem in stems if stem.decision.probability is not None]
    rows: dict[str, list[int]] = {}
    for label in sorted({decision.given for decision in usable}, key=label_rank):
        of_label = [decision.refined for decision in usable if decision.given == label]
        cells = [sum(name in refined for refined in of_label) for name in CLASSES]
        cells.append(sum(len(refined) > 1 for refined in of_label))
        cells.append(sum(not refined for refined in of_label))
        rows[label_words(label)] = cells
    return list(rows.items())
