"""Compares labels of whole stems with labels of segments, for label noise that lasts seconds.

    OMP_NUM_THREADS=1 python -m benchmarks.segments --classifier FILE [--songs 12] [--seconds 30]
        [--first 3100] [--domain b] [--rate 0.4] [--rounds 3]

Plays songs of the band and moves stretches of 3 to 8 s between their stems, so that about a third
of the stems hold one. There is no other label noise. Every stem is then classified as in refining.
Each round moves other stretches of the same songs. Prints

- the share of the sounding time with exactly the right label set, for the best possible whole-stem
  label, for the whole-stem label that refining finds, and for segments;
- the distance of a true change of classes from the nearest found change, if there is one within
  2 s;
- precision and recall of stretches of a second or more. A found stretch is a hit if its
  intersection with a true one is at least half of their union. The second line also asks for the
  right label set.

Choose songs on which the classifier was not trained. Expected cost on one core: 3 s per song, and
1 s more per round.
"""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from selfrefine.audio.silence import kept_samples
from selfrefine.band import DOMAINS, play_songs
from selfrefine.classes import CLASSES, LabelSet
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, by_song, open_audio_set
from selfrefine.clips.corruption import draw_parts, stem_pieces, sum_parts
from selfrefine.clips.trimming import TrimmedStem, sounding_stretches
from selfrefine.clips.truth import Piece
from selfrefine.models.model_file import ClassifierFile, load_classifier
from selfrefine.refining.labels import label_set
from selfrefine.refining.probabilities import stem_windows, window_centres
from selfrefine.refining.segments import Segment, find_segments
from selfrefine.settings import Corruption, Refining, SilenceRemoval

GRID_SECONDS = 0.02
NEAR_SECONDS = 2.0
SHORTEST_SECONDS = 1.0
OVERLAP = 0.5


@dataclass(frozen=True)
class Stem:
    """A corrupted stem without silence, and the true label sets of its pieces."""

    trimmed: TrimmedStem
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Timeline:
    """Label sets of a stem at the moments at which it sounds, GRID_SECONDS apart: the `true` ones,
    the one found for the `whole` stem, and those of its `found` segments."""

    true: list[LabelSet]
    whole: LabelSet
    found: list[LabelSet]


@dataclass(frozen=True)
class Run:
    """A run of moments of a timeline with the same label set, from `start` to before `end`."""

    start: int
    end: int
    label: LabelSet


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole-stem labels beside segments.")
    parser.add_argument("--classifier", type=Path, required=True, metavar="FILE")
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a song")
    parser.add_argument("--first", type=int, default=3100, help="index of the first song")
    parser.add_argument("--domain", default="b", choices=DOMAINS)
    parser.add_argument("--rate", type=float, default=0.4, help="chance of a misfiled stretch")
    parser.add_argument("--rounds", type=int, default=3, help="how often a song is corrupted")
    args = parser.parse_args()
    torch.set_num_threads(1)
    classifier = load_classifier(args.classifier, torch.device("cpu"))
    rate = classifier.settings.sample_rate
    with tempfile.TemporaryDirectory() as temporary:
        songs = Path(temporary) / "songs"
        indices = range(args.first, args.first + args.songs)
        write_songs(songs, args.domain, indices, args.seconds, rate)
        noise = Corruption(0.0, 0.0, 0.0, misfiled_stretches=args.rate)
        timelines = []
        for seed in range(args.rounds):
            corrupted = Path(temporary) / f"stems-{seed}"
            stems = corrupt(open_audio_set(songs), noise, seed, corrupted)
            timelines += classified(classifier, open_audio_set(corrupted), stems)
    print_shares(timelines)
    print_changes(timelines)
    print_stretches(timelines)


def write_songs(
    folder: Path, domain: str, indices: range, seconds: float, sample_rate: int
) -> None:
    """Writes songs of the band as a set of instrument tracks."""
    played = play_songs(domain, 0, indices, seconds, sample_rate, 1)
    with closing(played), AudioSetWriter(folder, sample_rate) as writer:
        for index, tracks in zip(indices, played, strict=True):
            for track in tracks:
                writer.add(f"{domain}{index:03d}", track.name, (track.stem,), track.audio)


def corrupt(tracks: AudioSet, noise: Corruption, seed: int, folder: Path) -> list[Stem]:
    """Writes the corrupted stems without silence as a set into `folder`, and returns them."""
    rate = tracks.sample_rate
    stems = []
    with AudioSetWriter(folder, rate) as writer:
        for number, (song, clips) in enumerate(by_song(tracks).items()):
            drawn = draw_parts(clips, noise, np.random.default_rng([seed, number]))
            for given, parts in drawn.items():
                audio = sum_parts(tracks, parts)
                kept = kept_samples(audio, rate, SilenceRemoval())
                if not kept.any():
                    continue
                writer.add(song, given, (given,), audio[:, kept])
                seconds = audio.shape[1] / rate
                trimmed = TrimmedStem(song, given, seconds, sounding_stretches(kept, rate))
                stems.append(Stem(trimmed, stem_pieces(tracks, song, given, parts)))
    return stems


def classified(classifier: ClassifierFile, audio: AudioSet, stems: list[Stem]) -> list[Timeline]:
    """Classifies the stems. Returns a timeline of each, with truth, whole-stem label and
    segments."""
    settings, refining = classifier.settings, Refining()
    thresholds = (classifier.threshold,) * len(CLASSES)
    per_segment = refining.windows_per_segment
    heard = stem_windows(classifier.model, audio, settings, per_segment, torch.device("cpu"))
    timelines = []
    for (row, windows), stem in zip(heard, stems, strict=True):
        whole = label_set(row.probability, thresholds, refining.most_probable)
        centres = window_centres(len(windows), settings, per_segment)
        segments = find_segments(windows.numpy(), centres, stem.trimmed, whole)
        timelines.append(timeline(stem, whole, segments))
    return timelines


def timeline(stem: Stem, whole: LabelSet, segments: Sequence[Segment]) -> Timeline:
    """The timeline of a stem, without moments whose true label set is empty: fades, and the quiet
    time between notes that silence removal keeps."""
    spans = [np.arange(start, end, GRID_SECONDS) for start, end in stem.trimmed.stretches]
    moments = np.concatenate(spans) + GRID_SECONDS / 2
    true = labels_at(moments, stem.pieces)
    found = labels_at(moments, segments)
    sounding = [place for place, label in enumerate(true) if label]
    return Timeline([true[i] for i in sounding], whole, [found[i] for i in sounding])


def labels_at(moments: np.ndarray, parts: Sequence[Piece] | Sequence[Segment]) -> list[LabelSet]:
    """The label sets at moments (s) of a file: those of the last part that has begun."""
    begun = np.searchsorted([part.start for part in parts], moments, side="right") - 1
    return [parts[place].label for place in begun.clip(min=0)]


def runs(labels: Sequence[LabelSet]) -> list[Run]:
    edges = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]
    bounds = zip([0, *edges], [*edges, len(labels)], strict=True)
    return [Run(start, end, labels[start]) for start, end in bounds if end > start]


def main_label(labels: Sequence[LabelSet]) -> LabelSet:
    """The label set that holds for most moments."""
    return max(dict.fromkeys(labels), key=labels.count)


def departures(labels: Sequence[LabelSet]) -> list[Run]:
    """The runs of a second or more whose label set is not the main one."""
    least = SHORTEST_SECONDS / GRID_SECONDS
    home = main_label(labels)
    return [run for run in runs(labels) if run.label != home and run.end - run.start >= least]


def overlap(one: Run, other: Run) -> float:
    """Intersection over union of two runs; 0 if they do not meet."""
    common = min(one.end, other.end) - max(one.start, other.start)
    return max(0, common) / (max(one.end, other.end) - min(one.start, other.start))


def print_shares(timelines: list[Timeline]) -> None:
    changing = [line for line in timelines if len(set(line.true)) > 1]
    steady = [line for line in timelines if len(set(line.true)) == 1]
    print(
        f"{len(timelines)} stems, of which {len(changing)} change; share of sounding time under "
        "the right label set\n"
    )
    print("| labels | all stems | that change | that do not |\n|---|---|---|---|")
    ways = {
        "one a stem, the true one held longest": lambda line: [main_label(line.true)],
        "one a stem, as refining finds it": lambda line: [line.whole],
        "segments": lambda line: line.found,
    }
    for words, way in ways.items():
        cells = []
        for group in (timelines, changing, steady):
            right = []
            for line in group:
                said = way(line)
                said = said * len(line.true) if len(said) == 1 else said
                right += [a == b for a, b in zip(said, line.true, strict=True)]
            cells.append(f"{np.mean(right):.3f}" if right else "")
        print(f"| {words} | " + " | ".join(cells) + " |")


def print_changes(timelines: list[Timeline]) -> None:
    distances: list[float] = []
    count = 0
    for line in timelines:
        found = np.array([run.start for run in runs(line.found)[1:]], dtype=float)
        for run in runs(line.true)[1:]:
            count += 1
            nearest = np.abs(found - run.start).min(initial=np.inf) * GRID_SECONDS
            if nearest <= NEAR_SECONDS:
                distances.append(float(nearest))
    print(f"\n{len(distances)} of {count} changes found within {NEAR_SECONDS:g} s", end="")
    if distances:
        worst = np.quantile(distances, 0.9)
        print(
            f"; they are {np.median(distances):.2f} s off in the median, "
            f"{np.mean(distances):.2f} s on average, {worst:.2f} s in the worst tenth",
            end="",
        )
    print("\n")


def print_stretches(timelines: list[Timeline]) -> None:
    true_count = found_count = placed = named = 0
    for line in timelines:
        true, found = departures(line.true), departures(line.found)
        true_count += len(true)
        found_count += len(found)
        for run in true:
            matching = [other for other in found if overlap(run, other) >= OVERLAP]
            placed += bool(matching)
            named += any(other.label == run.label for other in matching)
    print("| stretches | true | found | precision | recall |\n|---|---|---|---|---|")
    for words, hits in (("at the right time", placed), ("and under the right label set", named)):
        precision = f"{hits / found_count:.2f}" if found_count else ""
        recall = f"{hits / true_count:.2f}" if true_count else ""
        print(f"| {words} | {true_count} | {found_count} | {precision} | {recall} |")


if __name__ == "__main__":
    main()
