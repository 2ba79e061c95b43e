"""Folders like those that refining makes, hostile file names, and the parts of an audit.html."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from selfrefine.app.audit_page.data import Curve
from selfrefine.app.audit_page.page import Audit, AuditedStem, write_audit
from selfrefine.app.labels_table import StemDecision, labels_text, listed_file
from selfrefine.app.stem_links import lay_out_stems
from selfrefine.classes import CLASSES
from selfrefine.files.atomic import write_text
from selfrefine.files.layouts import SongFiles, find_songs
from selfrefine.refining.segments import Segment
from tests.cli_songs import write_song

HOSTILE = (
    "Artist - <script>alert(1)<",
    "<img src=x onerror=alert(1)>",
    "\" onload='alert(1)' '",
    "..Dots.. & spaces  ",
    "%2e%2e #?; $(id) `id`",
    "Mötley 日本 \u202e\u0007",
    "line\nbreak,comma",
    "carriage\rreturn",
    "x" * 240,
    "=1+1",
    "'=quoted",
    os.fsdecode(b"latin \xe9\xff"),
)


@dataclass(frozen=True)
class Refined:
    """A refined folder `out`, the songs in its `source`, and what its audit.html shows."""

    source: Path
    out: Path
    songs: list[SongFiles]
    audit: Audit


def decision_of(song: str, name: str, file: str, number: int, seconds: float = 4.0) -> StemDecision:
    """A decision that keeps the label, relabels the stem or adds a class, by `number` in turn."""
    given = (name,)
    proposed = (
        given,
        (CLASSES[(CLASSES.index(name) + 1) % 4],),
        tuple(each for each in CLASSES if each in (name, "other", "bass"))[:2],
    )[number % 3]
    probability = tuple(0.9 if each in proposed else 0.05 for each in CLASSES)
    confidence = 1 - (number * 37 % 100) / 100
    return StemDecision(
        song, name, file, given, probability, proposed, proposed, confidence, "", 1, seconds
    )


def shown(decision: StemDecision, audio: Path | None) -> AuditedStem:
    """A decision with a waveform of 800 columns, 400 windows and four stretches."""
    seconds = decision.seconds or 1.0
    random = np.random.default_rng(0)
    times = np.linspace(0, seconds, 400)
    values = np.clip(random.random((400, 4)), 0, 1)
    stretches = ((0.0, seconds * 0.4), (seconds * 0.5, seconds))
    edges = np.linspace(0, seconds, 5)
    labels = (decision.refined, (), ("vocals", "bass", "drums", "other"), decision.given)
    segments = [Segment(*edges[i : i + 2].tolist(), labels[i], 0.91) for i in range(4)]
    curve = Curve(times, values, stretches)
    return AuditedStem(decision, audio, curve, random.random(800), tuple(segments))


def audit_of(stems: list[AuditedStem]) -> Audit:
    return Audit("Refined labels of <b>in</b>", [("songs", "3")], 0.5, stems, ("labels",), [])


def refined_folder(folder: Path, names: tuple[str, ...], seconds: float = 4.0) -> Refined:
    """Writes songs of four stems with these names, and the results of refining them. The last stem
    cannot be used."""
    source, out = folder / "in", folder / "out"
    for number, name in enumerate(names):
        write_song(source / name, number, seconds, rate=8000)
    songs = find_songs(source, tracks=False)
    files = [(song.name, file) for song in songs for file in song.files]
    decisions = [
        decision_of(song, file.name, listed_file(source, file), number, seconds)
        for number, (song, file) in enumerate(files)
    ]
    decisions[-1] = replace(
        decisions[-1],
        probability=None,
        proposed=(),
        refined=(),
        confidence=None,
        reason="silent throughout",
        seconds=None,
    )
    usable = [
        (song, file, decision.refined)
        for (song, file), decision in zip(files, decisions, strict=True)
        if decision.probability
    ]
    out.mkdir()
    paths = lay_out_stems(usable, out / "stems", False, print)
    write_text(out / "labels.csv", labels_text(decisions))
    stems = [shown(each, paths.get((each.song, each.name))) for each in decisions]
    audit = audit_of(stems)
    write_audit(out / "audit.html", audit)
    return Refined(source, out, songs, audit)


class PageParts(HTMLParser):
    """The tags and attributes of a page, its scripts by type, and what its policy allows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts: list[tuple[str | None, str]] = []
        self.policy = ""
        self.tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tag = tag
        self.tags.add(tag)
        self.attributes.update(values)
        if tag == "script":
            self.scripts.append((values.get("type"), ""))
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""

    def handle_data(self, data: str) -> None:
        if self.tag == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""

    def data(self) -> dict[str, Any]:
        """The data that the page's script reads."""
        found: dict[str, Any] = json.loads(self.scripts[0][1])
        return found


def assert_only_its_script_runs(page: PageParts) -> None:
    """Asserts that only one script of the page can run: the one whose digest its policy names."""
    assert not page.tags & {"img", "iframe", "object", "embed", "link", "base"}
    assert not [name for name in page.attributes if name.startswith("on")]
    (data, _), (kind, script) = page.scripts
    assert (data, kind) == ("application/json", None)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = [rule.split() for rule in page.policy.split(";")]
    assert ["default-src", "'none'"] in rules
    assert ["script-src", f"'sha256-{digest}'"] in rules
