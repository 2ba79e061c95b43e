"""Writing the results of refining: labels.csv, segments.csv, stems/ by label set, audit.html, and
a summary on stdout."""

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfrefine.app.audit_page.data import Curve
from selfrefine.app.audit_page.page import (
    Audit,
    AuditedStem,
    decision_counts,
    refined_by_given,
    write_audit,
)
from selfrefine.app.labels_table import StemDecision, labels_text, listed_file
from selfrefine.app.segment_files import lay_out_segments, write_segments
from selfrefine.app.stem_links import lay_out_stems
from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.trimming import Key, TrimmedStem, TrimmedStems, place_in_file
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text
from selfrefine.files.layouts import SongFiles
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.progress import Note
from selfrefine.refining.decisions import Verdict, reliability
from selfrefine.refining.iterations import Iteration, deciding_iteration
from selfrefine.refining.probabilities import read_windows, window_centres
from selfrefine.refining.segments import Segment, find_segments
from selfrefine.settings import ClassifierSettings, Refining

PEAKS = 240
"""How many columns a stem's waveform has."""
PIECES = 4 * PEAKS
"""How many parts the trimmed audio is cut into: more than columns, so that each column with sound
gets one."""

RELIABILITY_COLUMNS = ("how sure", "stems", "mean", "right")
ACCURACY_COLUMNS = ("labels", "label set right", "F1", "precision", "recall", "kept")


@dataclass(frozen=True)
class Refined:
    """A folder's stems, the iterations in order, and the verdict on every usable stem."""

    source: Path
    songs: list[SongFiles]
    trimmed: TrimmedStems
    settings: ClassifierSettings
    refining: Refining
    iterations: list[Iteration]
    verdicts: dict[Key, Verdict]
    words: list[tuple[str, str]]
    """Pairs of a name and a value, which say how labels were decided."""


def write_report(
    out: Path, refined: Refined, truth: Labels | None, copy: bool, by_segment: bool, note: Note
) -> None:
    """Writes everything into `out` and prints the summary."""
    decisions = stem_decisions(refined)
    write_known_labels(out, labels_text(decisions.values()))
    views = stem_views(refined)
    segments = {key: view.segments for key, view in views.items()}
    write_segments(
        out / "segments.csv",
        {(decisions[key].song, decisions[key].file): found for key, found in segments.items()},
    )
    usable = [
        (song.name, file)
        for song in refined.songs
        for file in song.files
        if (song.name, file.name) in refined.trimmed.kept
    ]
    labelled = [(song, file, decisions[song, file.name].refined) for song, file in usable]
    paths = lay_out_stems(labelled, out / "stems", copy, note)
    if by_segment:
        stretches = [(song, file, segments[song, file.name]) for song, file in usable]
        lay_out_segments(stretches, out / "segments", copy, note)
    else:
        # An earlier run may have left it, under other labels.
        shutil.rmtree(out / "segments", ignore_errors=True)
    stems = [
        AuditedStem(decision, paths.get(key), view.curve, view.peaks, view.segments)
        if (view := views.get(key))
        else AuditedStem(decision, None, None)
        for key, decision in decisions.items()
    ]
    accuracies = accuracy_rows(refined, truth) if truth else []
    reliability = reliability_rows(refined, truth) if truth else []
    seconds = sum(stem.seconds for stem in refined.trimmed.kept.values())
    facts = [
        ("folder", str(refined.source)),
        ("songs", str(len(refined.songs))),
        ("stems", f"{len(decisions)}, {seconds / 3600:.2f} h"),
        ("trainings", str(refined.iterations[-1].number)),
        *refined.words,
    ]
    audit = Audit(
        f"Refined labels of {refined.source.absolute().name}",
        facts,
        refined.refining.threshold,
        stems,
        ACCURACY_COLUMNS,
        accuracies,
        reliability,
    )
    write_audit(out / "audit.html", audit)
    print_summary(out, stems, accuracies, reliability)


def stem_decisions(refined: Refined) -> dict[Key, StemDecision]:
    """The decision for every stem, in the order of the songs. Stems that could not be used are
    among them."""
    final = {(row.song, row.name): row for row in refined.iterations[-1].rows}
    decisions = {}
    for song in refined.songs:
        for file in song.files:
            if not file.label:
                continue
            key = (song.name, file.name)
            word = listed_file(refined.source, file)
            if key in refined.trimmed.skipped:
                reason = refined.trimmed.skipped[key].reason
                decisions[key] = StemDecision(
                    *key, word, file.label, None, (), (), None, reason, 0, None
                )
            else:
                verdict = refined.verdicts[key]
                decisions[key] = StemDecision(
                    *key,
                    word,
                    file.label,
                    final[key].probability,
                    verdict.proposed,
                    verdict.refined,
                    verdict.confidence,
                    verdict.reason,
                    deciding_iteration(key, refined.iterations),
                    refined.trimmed.kept[key].seconds,
                    verdict.most_probable,
                )
    return decisions


def write_known_labels(out: Path, text: str) -> None:
    """Writes labels.csv and its digest, which shows later whether someone edited the table. Until
    the new table is in place, the digest of the old one is kept too, so that a kill in between does
    not look like an edit."""
    path, digest = out / "labels.csv", out / "work" / "labels.sha256"
    new = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    before = digest.read_text() if digest.exists() else ""
    write_text(digest, f"{before}\n{new}\n")
    write_text(path, text)
    write_text(digest, new)


def refuse_edited_labels(out: Path) -> None:
    """Raises InputError where someone edited labels.csv since it was written."""
    path, digest = out / "labels.csv", out / "work" / "labels.sha256"
    if path.exists():
        written = digest.read_text().split() if digest.exists() else []
        if hashlib.sha256(path.read_bytes()).hexdigest() not in written:
            raise InputError(
                f"{path}: was edited since it was written; rename it to keep it (selfrefine "
                "train-separator --labels takes it under any name), then resume"
            )


@dataclass(frozen=True)
class StemView:
    """The data that audit.html draws for a stem, over the time of its file."""

    curve: Curve
    segments: tuple[Segment, ...]
    peaks: np.ndarray


def stem_views(refined: Refined) -> dict[Key, StemView]:
    """The views of all usable stems, from the last iteration's probabilities."""
    last = refined.iterations[-1]
    audio = refined.trimmed.stems
    per_segment = refined.refining.windows_per_segment
    clips = {(clip.song, clip.name): clip for clip in audio.clips}
    views = {}
    for row, windows in zip(last.rows, read_windows(last.folder), strict=True):
        key = (row.song, row.name)
        stem = refined.trimmed.kept[key]
        centres = window_centres(len(windows), refined.settings, per_segment)
        centres = centres.clip(max=row.seconds)
        curve = Curve(place_in_file(stem, centres), windows, stem.stretches)
        label = refined.verdicts[key].refined
        found = find_segments(windows, centres, stem, label) if label else ()
        views[key] = StemView(curve, found, file_peaks(audio.audio(clips[key]), stem))
    return views


def file_peaks(audio: np.ndarray, stem: TrimmedStem) -> np.ndarray:
    """The largest magnitude, 0 to 1, in each of `PEAKS` equal parts of a stem's file, `(part,)`.
    `audio` is the trimmed stem, `(channel, sample)`. Removed silence counts as 0."""
    peaks = np.zeros(PEAKS)
    magnitude = np.abs(audio).max(axis=0)
    parts = min(len(magnitude), PIECES)
    edges = np.linspace(0, len(magnitude), parts + 1).astype(int)
    pieces = np.maximum.reduceat(magnitude, edges[:-1])
    lengths = sum(end - start for start, end in stem.stretches)
    times = place_in_file(stem, (np.arange(parts) + 0.5) * lengths / parts)
    places = (times / stem.seconds * PEAKS).astype(int).clip(max=PEAKS - 1)
    np.maximum.at(peaks, places, pieces)
    return peaks.clip(max=1.0)


def accuracy_rows(refined: Refined, truth: Labels) -> list[tuple[str, ...]]:
    """The accuracy of the labels over the stems whose truth is known: as given, after each
    iteration, and as they stand if that differs from the last iteration."""
    labels = {"given": {(r.song, r.name): r.given for r in refined.iterations[0].rows}}
    for iteration in refined.iterations:
        words = f"iteration {iteration.number}" if iteration.number else "the start"
        labels[words] = iteration.labels
    rows = []
    if any(verdict.refined != verdict.proposed for verdict in refined.verdicts.values()):
        labels["what stands"] = {key: found.refined for key, found in refined.verdicts.items()}
    for words, of_stems in labels.items():
        known = {key: label for key, label in of_stems.items() if key in truth}
        score = label_accuracy(known, truth)
        values = (score.exact, score.f1, score.precision, score.recall, score.kept)
        rows.append((words, *(f"{value:.3f}" for value in values)))
    return rows


def reliability_rows(refined: Refined, truth: Labels) -> list[tuple[str, ...]]:
    """A row for each group of stems: its least confidence, how many stems it has, their mean
    confidence, and the share of them whose proposed label set is exactly right."""
    return [
        (
            f"{group.least:.0%} or more",
            str(group.stems),
            f"{group.confidence:.2f}",
            f"{group.right:.2f}",
        )
        for group in reliability(refined.verdicts, truth)
    ]


def print_summary(
    out: Path,
    stems: list[AuditedStem],
    accuracies: list[tuple[str, ...]],
    reliability: list[tuple[str, ...]],
) -> None:
    for words, count in decision_counts(stems):
        print(f"{count:6d} {words}")
    standing = Counter(
        stem.decision.reason
        for stem in stems
        if stem.decision.refined != stem.decision.proposed and stem.decision.reason
    )
    for reason, count in standing.items():
        print(f"{count:6d} of the given labels stand against another finding: {reason}")
    print(f"{'given / refined':18s}" + "".join(f"{n:>8s}" for n in (*CLASSES, "several", "none")))
    for label, cells in refined_by_given(stems):
        print(f"{label:18s}" + "".join(f"{cell:8d}" for cell in cells))
    if accuracies:
        print("".join(f"{word:>17s}" for word in ACCURACY_COLUMNS))
        for row in accuracies:
            print("".join(f"{cell:>17s}" for cell in row))
    if reliability:
        print("".join(f"{word:>17s}" for word in RELIABILITY_COLUMNS))
        for row in reliability:
            print("".join(f"{cell:>17s}" for cell in row))
    print(f"labels: {out / 'labels.csv'}; to listen and decide: {out / 'audit.html'}")
