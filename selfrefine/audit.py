"""audit.html: what refining found, to be listened to. One file without a script; the players play
the stems beside it."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment

from selfrefine.classes import CLASSES
from selfrefine.labels_table import StemDecision
from selfrefine.refining.segments import Segment

COLOURS = {"vocals": "#c2408b", "bass": "#3267c8", "drums": "#c8641e", "other": "#3a8a4d"}
PLOT_WIDTH, PLOT_HEIGHT = 480, 72
MOST_POINTS = 160
OPEN_PLAYERS = 60
"""Stems shown unfolded; the rest are under headings to unfold."""


@dataclass(frozen=True)
class Curve:
    """A stem's probability over time: `times` in s of the file `(window,)`, `probabilities`
    `(window, class)`, and the stretches that silence removal kept, in s."""

    times: np.ndarray
    probabilities: np.ndarray
    stretches: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AuditedStem:
    """A decision with what there is to hear and see of it; `audio` lies under the page's folder.

    `peaks` `(column,)` are the largest magnitudes of as many equal parts of the file, 0 to 1;
    `segments` are the stretches that hold the same classes.
    """

    decision: StemDecision
    audio: Path | None
    curve: Curve | None
    peaks: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Audit:
    """`facts` are pairs of what and how much; `accuracies` rows of words and cells where a truth
    is known, headed by `accuracy_columns`."""

    title: str
    facts: list[tuple[str, str]]
    threshold: float
    stems: list[AuditedStem]
    accuracy_columns: tuple[str, ...]
    accuracies: list[tuple[str, ...]]


def write_audit(path: Path, audit: Audit) -> None:
    """Whole or not at all."""
    order = sorted(audit.stems, key=lambda stem: -stem.decision.doubt)
    usable = [stem for stem in order if stem.decision.probability is not None]
    shown = [stem_context(stem, path.parent) for stem in usable]
    page = TEMPLATE.render(
        title=audit.title,
        facts=audit.facts,
        threshold=audit.threshold,
        classes=CLASSES,
        colours=COLOURS,
        decisions=decision_counts(audit.stems),
        confusion=confusion_rows(audit.stems),
        accuracy_columns=audit.accuracy_columns,
        accuracies=audit.accuracies,
        first=shown[:OPEN_PLAYERS],
        rest=shown[OPEN_PLAYERS:],
        unusable=[s.decision for s in order if s.decision.probability is None],
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
        threshold_y=plot_y(audit.threshold),
    )
    partial = path.with_name(path.name + ".partial")
    # A name that is not valid UTF-8 is shown with question marks.
    partial.write_bytes(page.encode("utf-8", errors="replace"))
    os.replace(partial, path)


def decision_counts(stems: list[AuditedStem]) -> list[tuple[str, int]]:
    """Stems by decision; last, where there are some, how many took the most probable class."""
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


def confusion_rows(stems: list[AuditedStem]) -> list[tuple[str, list[int]]]:
    """By given label: stems refined to each class (several classes count under each), to several,
    to none."""
    usable = [stem.decision for stem in stems if stem.decision.probability is not None]
    rows: dict[str, list[int]] = {}
    for label in sorted({decision.given for decision in usable}, key=label_rank):
        of_label = [decision.refined for decision in usable if decision.given == label]
        cells = [sum(name in refined for refined in of_label) for name in CLASSES]
        cells.append(sum(len(refined) > 1 for refined in of_label))
        cells.append(sum(not refined for refined in of_label))
        rows["+".join(label)] = cells
    return list(rows.items())


def label_rank(label: tuple[str, ...]) -> tuple[int, ...]:
    return (len(label), *(CLASSES.index(name) for name in label))


def stem_context(stem: AuditedStem, folder: Path) -> dict[str, object]:
    decision = stem.decision
    source = ""
    if stem.audio is not None:
        # As bytes, so that names that are not valid UTF-8 can be played too.
        source = quote(os.fsencode(stem.audio.relative_to(folder).as_posix()))
    return {
        "stem": decision,
        "given": "+".join(decision.given),
        "refined": "+".join(decision.refined) or "none",
        "values": list(zip(CLASSES, decision.probability or (), strict=False)),
        "source": source,
        "plot": plot_context(stem.curve, decision.seconds or 1.0) if stem.curve else None,
    }


def plot_context(curve: Curve, seconds: float) -> dict[str, object]:
    """Polylines and shaded stretches in the plot's units."""
    chosen = np.unique(np.linspace(0, len(curve.times) - 1, MOST_POINTS).round().astype(int))
    x = curve.times[chosen] / seconds * PLOT_WIDTH
    lines = [
        (name, " ".join(f"{a:.1f},{plot_y(float(b)):.1f}" for a, b in zip(x, values, strict=True)))
        for name, values in zip(CLASSES, curve.probabilities[chosen].T, strict=True)
    ]
    spans = [
        (f"{start / seconds * PLOT_WIDTH:.1f}", f"{(end - start) / seconds * PLOT_WIDTH:.1f}")
        for start, end in merged(curve.stretches, seconds / PLOT_WIDTH)
    ]
    return {"lines": lines, "spans": spans, "single": len(chosen) == 1}


def merged(stretches: tuple[tuple[float, float], ...], gap: float) -> list[tuple[float, float]]:
    """Stretches with gaps too short to see joined."""
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def plot_y(probability: float) -> float:
    return round(PLOT_HEIGHT - 4 - probability * (PLOT_HEIGHT - 8), 1)


TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'; object-src 'none'">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr { border-bottom: 1px solid #ddd; }
.stem { border-top: 1px solid #ddd; padding: .7rem 0; display: grid; gap: .2rem 1.2rem;
  grid-template-columns: 1fr {{ width }}px; }
.stem h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.stem p { margin: .1rem 0; } .small { color: #666; font-size: .85rem; }
audio { width: 100%; height: 2.2rem; } svg { background: #f6f6f6; }
.relabel, .multi, .drop { font-weight: 600; }
@media (max-width: 60rem) { .stem { grid-template-columns: 1fr; } }
</style></head><body>
{% macro show(item) %}
<section class="stem"><div>
<h3>{{ item.stem.song }}</h3>
<p class="small">{{ item.stem.file }}</p>
<p>given {{ item.given }}, refined
<span class="{{ item.stem.decision }}">{{ item.refined }}</span> ({{ item.stem.decision }},
iteration {{ item.stem.iteration }}){% if item.stem.reason %}: {{ item.stem.reason }}{% endif %}</p>
<p>{% for name, value in item['values'] %}<span style="color:{{ colours[name] }}">{{ name }}
{{ '%.2f'|format(value) }}</span> {% endfor %}</p></div><div>
{% if item.plot %}<svg width="{{ width }}" height="{{ height }}" role="img"
aria-label="probability over time">
{% for x, w in item.plot.spans %}<rect x="{{ x }}" y="0" width="{{ w }}" height="{{ height }}"
fill="#fff"/>{% endfor %}
<line x1="0" x2="{{ width }}" y1="{{ threshold_y }}" y2="{{ threshold_y }}" stroke="#aaa"
stroke-dasharray="3 3"/>
{% for name, points in item.plot.lines %}
{% if item.plot.single %}<circle cx="{{ points.split(',')[0] }}" cy="{{ points.split(',')[1] }}"
r="3" fill="{{ colours[name] }}"/>
{% else %}<polyline points="{{ points }}" fill="none" stroke="{{ colours[name] }}"
stroke-width="1.5"/>{% endif %}
{% endfor %}</svg>{% endif %}
{% if item.source %}<audio controls preload="none" src="{{ item.source }}"></audio>{% endif %}
</div></section>
{% endmacro %}
<h1>{{ title }}</h1>
<table>{% for what, much in facts %}<tr><td>{{ what }}</td><td>{{ much }}</td></tr>{% endfor %}
{% for what, count in decisions %}<tr><td>{{ what }}</td><td>{{ count }}</td></tr>{% endfor %}
</table>
{% if accuracies %}<h2>Against the known truth</h2>
<table><tr>{% for word in accuracy_columns %}<th>{{ word }}</th>{% endfor %}</tr>
{% for row in accuracies %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
<h2>Given against refined</h2>
<p class="small">Stems by given label (rows) and refined label (columns). A stem refined to several
classes counts under each of them, and once under several.</p>
<table><tr><th>given</th>{% for name in classes %}<th>{{ name }}</th>{% endfor %}
<th>several</th><th>none</th></tr>
{% for label, cells in confusion %}<tr><td>{{ label }}</td>{% for cell in cells %}
<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
<h2>Stems, the doubtful first</h2>
<p class="small">The plot is each class' probability over the file's time; white is what was looked
at, grey was removed as silence, the dashed line is the threshold {{ threshold }}. The decision goes
by the mean over time.</p>
{% for item in first %}{{ show(item) }}{% endfor %}
{% if rest %}<details><summary>{{ rest|length }} more, of less doubt</summary>
{% for item in rest %}{{ show(item) }}{% endfor %}</details>{% endif %}
{% if unusable %}<h2>Not usable</h2><table><tr><th>file</th><th>why</th></tr>
{% for stem in unusable %}<tr><td>{{ stem.file }}</td><td>{{ stem.reason }}</td></tr>{% endfor %}
</table>{% endif %}
</body></html>
"""
)
