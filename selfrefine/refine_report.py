"""What refining leaves for its user: labels.csv, stems/ by label set, audit.html, a summary."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from selfrefine.audio.files import Say
from selfrefine.audit import Audit, AuditedStem, Curve, confusion_rows, decision_counts, write_audit
from selfrefine.classes import CLASSES
from selfrefine.data.folder import SongFiles
from selfrefine.data.trimming import Key, TrimmedStems, place_in_file
from selfrefine.errors import InputError
from selfrefine.labels_table import StemDecision, file_word, labels_text, write_labels
from selfrefine.metrics.label_sets import Labels, label_accuracy
from selfrefine.self_refining import Iteration, deciding_iteration, read_windows, window_centres
from selfrefine.settings import Classifier, Refining
from selfrefine.stem_links import lay_out_stems

MOST_PROBABLE = "no class passes the threshold: the most probable one"

ACCURACY_COLUMNS = ("labels", "label set right", "F1", "precision", "recall", "kept")


@dataclass(frozen=True)
class Refined:
    """A folder's stems and what each iteration, in order, made of them."""

    source: Path
    songs: list[SongFiles]
    trimmed: TrimmedStems
    settings: Classifier
    refining: Refining
    iterations: list[Iteration]


def write_report(out: Path, refined: Refined, truth: Labels | None, copy: bool, say: Say) -> None:
    """Writes everything into `out` and prints the summary."""
    decisions = stem_decisions(refined)
    path = out / "labels.csv"
    write_labels(path, labels_text(decisions.values()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "work" / "labels.sha256").write_text(digest)
    usable = [
        (song.name, file, decisions[song.name, file.name].refined)
        for song in refined.songs
        for file in song.files
        if (song.name, file.name) in refined.trimmed.kept
    ]
    paths = lay_out_stems(usable, out / "stems", copy, say)
    curves = stem_curves(refined)
    stems = [
        AuditedStem(decision, paths.get(key), curves.get(key))
        for key, decision in decisions.items()
    ]
    accuracies = accuracy_rows(refined, truth) if truth else []
    seconds = sum(stem.seconds for stem in refined.trimmed.kept.values())
    facts = [
        ("folder", str(refined.source)),
        ("songs", str(len(refined.songs))),
        ("stems", f"{len(decisions)}, {seconds / 3600:.2f} h"),
        ("iterations", str(len(refined.iterations))),
        ("threshold", f"{refined.refining.threshold:g}"),
        (
            "where no class passes",
            "the most probable one" if refined.refining.most_probable else "the stem is dropped",
        ),
    ]
    audit = Audit(
        f"Refined labels of {refined.source.name}",
        facts,
        refined.refining.threshold,
        stems,
        ACCURACY_COLUMNS,
        accuracies,
    )
    write_audit(out / "audit.html", audit)
    print_summary(out, stems, accuracies)


def stem_decisions(refined: Refined) -> dict[Key, StemDecision]:
    """Of every stem, also of those that could not be used, in the order of the songs."""
    history = [iteration.labels for iteration in refined.iterations]
    final = {(row.song, row.name): row for row in refined.iterations[-1].rows}
    decisions = {}
    for song in refined.songs:
        for file in song.files:
            if not file.label:
                continue
            key = (song.name, file.name)
            word = file_word(refined.source, file)
            if key in refined.trimmed.skipped:
                reason = refined.trimmed.skipped[key].reason
                decisions[key] = StemDecision(
                    *key, word, file.label, None, (), (), None, reason, 0, None
                )
            else:
                probability, label = final[key].probability, history[-1][key]
                fallen_back = bool(label) and max(probability) < refined.refining.threshold
                decisions[key] = StemDecision(
                    *key,
                    word,
                    file.label,
                    probability,
                    label,
                    label,
                    max(probability),
                    MOST_PROBABLE if fallen_back else "",
                    deciding_iteration(key, history),
                    refined.trimmed.kept[key].seconds,
                    fallen_back,
                )
    return decisions


def refuse_edited_labels(out: Path) -> None:
    """Raises InputError where someone edited labels.csv since it was written."""
    path, digest = out / "labels.csv", out / "work" / "labels.sha256"
    if path.exists():
        written = digest.read_text() if digest.exists() else ""
        if hashlib.sha256(path.read_bytes()).hexdigest() != written:
            raise InputError(
                f"{path}: was edited since it was written; rename it to keep it (selfrefine "
                "train-separator --labels takes it under any name), then resume"
            )


def stem_curves(refined: Refined) -> dict[Key, Curve]:
    """The last iteration's probabilities, placed in the files' time."""
    last = refined.iterations[-1]
    curves = {}
    for row, windows in zip(last.rows, read_windows(last.folder), strict=True):
        stem = refined.trimmed.kept[row.song, row.name]
        centres = window_centres(len(windows), refined.settings, refined.refining)
        times = place_in_file(stem, centres.clip(max=row.seconds))
        curves[row.song, row.name] = Curve(times, windows, stem.stretches)
    return curves


def accuracy_rows(refined: Refined, truth: Labels) -> list[tuple[str, ...]]:
    """The labels as given and after each iteration, over the stems whose truth is known."""
    labels = {"given": {(r.song, r.name): r.given for r in refined.iterations[0].rows}}
    for iteration in refined.iterations:
        labels[f"iteration {iteration.number}"] = iteration.labels
    rows = []
    for words, of_stems in labels.items():
        known = {key: label for key, label in of_stems.items() if key in truth}
        score = label_accuracy(known, truth)
        values = (score.exact, score.f1, score.precision, score.recall, score.kept)
        rows.append((words, *(f"{value:.3f}" for value in values)))
    return rows


def print_summary(out: Path, stems: list[AuditedStem], accuracies: list[tuple[str, ...]]) -> None:
    for words, count in decision_counts(stems):
        print(f"{count:6d} {words}")
    print(f"{'given / refined':18s}" + "".join(f"{n:>8s}" for n in (*CLASSES, "several", "none")))
    for label, cells in confusion_rows(stems):
        print(f"{label:18s}" + "".join(f"{cell:8d}" for cell in cells))
    if accuracies:
        print("".join(f"{word:>17s}" for word in ACCURACY_COLUMNS))
        for row in accuracies:
            print("".join(f"{cell:>17s}" for cell in row))
    print(f"labels: {out / 'labels.csv'}; to listen: {out / 'audit.html'}")
