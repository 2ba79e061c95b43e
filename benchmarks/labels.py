"""Measures how refining changes the labels of real songs, and how often it makes them worse.

    python -m benchmarks.labels TRACKS --output labels.csv [--noise swapped moved none]
        [--songs 0 10 5] [--draws 3] [--start FILE] [--trainings N]

TRACKS is a folder of songs as instrument tracks under their true classes
(`<song>/tracks/<class>__<instrument>.<ext>`). For each label noise, number of songs (0: all) and
draw, the songs are corrupted as by `selfrefine corrupt --seed DRAW` and refined as by `selfrefine
refine --seed DRAW`. A line is then written with

- the share of stems whose label set is exactly right: as given, as found by the start and after
  each training, and as it stands at the end;
- the share of given labels that were changed;
- the seconds, including reading and silence removal.

Results in an existing file are not computed again. At the end medians, the worst draw, and the
share of right label sets by their certainty are printed. Without SELFREFINE_DEVICE the GPU is used
if there is one. Expected cost on 2 cores: 2 minutes for 29 songs of 40 s.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
import torch

from selfrefine.audio.silence import kept_samples
from selfrefine.classes import Labels
from selfrefine.clips.audio_set import AudioSet, AudioSetWriter, by_song, open_audio_set
from selfrefine.clips.corruption import draw_parts, stem_truth, sum_parts
from selfrefine.clips.song_set import read_songs
from selfrefine.clips.trimming import Key
from selfrefine.clips.truth import TRUTH_FLOOR_DB
from selfrefine.files.atomic import written_whole
from selfrefine.files.layouts import SongFiles, find_songs
from selfrefine.metrics.label_sets import label_accuracy
from selfrefine.models.model_file import ClassifierFile, load_classifier
from selfrefine.progress import Progress, ignore
from selfrefine.refining.decisions import SURENESS, Verdict, reliability, weighed_verdicts
from selfrefine.refining.evidence import weigh
from selfrefine.refining.iterations import Iteration, Refinement
from selfrefine.refining.started import refine_started
from selfrefine.refining.starting import shipped_classifier, training_on, usual_trainings
from selfrefine.settings import SURE, Corruption, Refining, SilenceRemoval
from selfrefine.training.device import prepare, training_device

NOISES = {
    "swapped": Corruption(swapped_songs=0.6, moved_tracks=0.12, bleeding_stems=0.0),
    "moved": Corruption(swapped_songs=0.0, moved_tracks=0.3, bleeding_stems=0.3),
    "none": Corruption(swapped_songs=0.0, moved_tracks=0.0, bleeding_stems=0.0),
}
SILENT = Progress(note=ignore)


@dataclass(frozen=True)
class DrawLine:
    """The result of one draw.

    `given`, `found` and `stands` are shares of stems whose label set is exactly right; `found` has
    those of the start and of each training, joined by spaces. `changed` is the share of changed
    labels, and `noise_found` the estimated share of wrong given labels. `sure_right` has a pair for
    each group of SURENESS: the number of stems, and of those that are right.
    """

    noise: str
    songs: int
    draw: int
    stems: int
    given: float
    found: str
    stands: float
    changed: float
    noise_found: float
    seconds: float
    sure_right: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Refining's labels on real songs.")
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--noise", nargs="+", choices=NOISES, default=[*NOISES])
    parser.add_argument("--songs", type=int, nargs="+", default=[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--start", type=Path, default=shipped_classifier(16000))
    parser.add_argument("--trainings", type=int)
    args = parser.parse_args()
    device = training_device()
    prepare(device)
    start = load_classifier(args.start, device)
    lines = read_lines(args.output)
    done = {(line.noise, line.songs, line.draw) for line in lines}
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        tracks = track_set(args.tracks, Path(temporary) / "tracks", start.settings.sample_rate)
        reading = (time.monotonic() - began) / len(by_song(tracks))
        for noise in args.noise:
            for songs in args.songs:
                for draw in range(args.draws):
                    if (noise, songs, draw) in done:
                        continue
                    folder = Path(tempfile.mkdtemp(dir=temporary))
                    line = refined_draw(
                        tracks, noise, songs, draw, start, args.trainings, folder, device, reading
                    )
                    lines.append(line)
                    write_lines(args.output, lines)
                    print(
                        f"{noise} {songs or 'all'} songs, draw {draw}: {line.given:.3f} given, "
                        f"{line.found} found, {line.stands:.3f} stands, {line.seconds:.0f} s",
                        flush=True,
                    )
    print(label_summary(lines))


def track_set(root: Path, folder: Path, sample_rate: int) -> AudioSet:
    """The songs' tracks as a song set."""
    return song_set(find_songs(root, tracks=True), folder, sample_rate)


def song_set(songs: list[SongFiles], folder: Path, sample_rate: int) -> AudioSet:
    read_songs(songs, folder, sample_rate, SILENT)
    return open_audio_set(folder)


def corrupted_stems(
    tracks: AudioSet, noise: Corruption, seed: int, chosen: set[str], folder: Path
) -> tuple[AudioSet, Labels]:
    """The stems of the chosen songs, corrupted as by `selfrefine corrupt` and without silence, and
    their true label sets. A song's corruption does not depend on the other chosen songs."""
    truth: Labels = {}
    with AudioSetWriter(folder, tracks.sample_rate) as writer:
        for number, (song, clips) in enumerate(by_song(tracks).items()):
            if song not in chosen:
                continue
            parts_of = draw_parts(clips, noise, np.random.default_rng([seed, number]))
            for given, parts in parts_of.items():
                audio = sum_parts(tracks, parts)
                sounding = kept_samples(audio, tracks.sample_rate, SilenceRemoval())
                if sounding.any():
                    writer.add(song, given, (given,), audio[:, sounding])
                    true = stem_truth(tracks, song, given, parts).label(TRUTH_FLOOR_DB)
                    truth[song, given] = true
    return open_audio_set(folder), truth


def chosen_songs(tracks: AudioSet, count: int, draw: int) -> set[str]:
    """The names of `count` random songs, or of all songs for 0."""
    names = sorted(by_song(tracks))
    if not count:
        return set(names)
    return set(np.random.default_rng([count, draw]).choice(names, count, replace=False).tolist())


def refined_draw(
    tracks: AudioSet,
    noise: str,
    songs: int,
    draw: int,
    start: ClassifierFile,
    trainings: int | None,
    folder: Path,
    device: torch.device,
    reading: float,
) -> DrawLine:
    """Corrupts and refines the songs of one draw. `reading` is the time (s) to read a song."""
    began = time.monotonic()
    chosen = chosen_songs(tracks, songs, draw)
    stems, truth = corrupted_stems(tracks, NOISES[noise], draw, chosen, folder / "stems")
    iterations = refined_set(stems, start, trainings, draw, folder, device)
    verdicts = weighed_verdicts(iterations, SURE)
    seconds = time.monotonic() - began + reading * len(chosen)
    given = {(clip.song, clip.name): clip.label for clip in stems.clips}
    stands = {key: verdict.refined for key, verdict in verdicts.items()}
    last = iterations[-1]
    assert last.weighing is not None
    return DrawLine(
        noise,
        songs,
        draw,
        len(given),
        label_accuracy(given, truth).exact,
        " ".join(f"{label_accuracy(each.labels, truth).exact:.3f}" for each in iterations),
        label_accuracy(stands, truth).exact,
        sum(stands[key] != label for key, label in given.items()) / len(given),
        weigh(last.rows, last.weighing).noise,
        seconds,
        " ".join(f"{count}/{right}" for count, right in sure_and_right(verdicts, truth)),
    )


def refined_set(
    stems: AudioSet,
    start: ClassifierFile,
    trainings: int | None,
    seed: int,
    folder: Path,
    device: torch.device,
) -> list[Iteration]:
    """Refines the stems as `selfrefine refine` does."""
    count = usual_trainings(len(stems.clips)) if trainings is None else trainings
    settings = training_on(start.settings, len(stems.clips))
    run = Refinement(stems, settings, Refining(), seed, folder, device, SILENT)
    return list(refine_started(run, start.model, count))


def sure_and_right(found: dict[Key, Verdict], truth: Labels) -> Iterator[tuple[int, int]]:
    """For each group of certainty, the number of stems, and of those whose found label set is
    right."""
    groups = {group.least: group for group in reliability(found, truth)}
    for least in SURENESS:
        group = groups.get(least)
        yield (group.stems, round(group.right * group.stems)) if group else (0, 0)


def label_summary(lines: list[DrawLine]) -> str:
    """Two Markdown tables: medians and worst values over draws for each noise and number of songs,
    and the share of right label sets by their certainty."""
    rows = [
        "| noise | songs | draws | given | stands | least gain | most changed | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for noise, songs in dict.fromkeys((line.noise, line.songs) for line in lines):
        group = [line for line in lines if (line.noise, line.songs) == (noise, songs)]
        rows.append(
            f"| {noise} | {songs or 'all'} | {len(group)} | {median(g.given for g in group):.3f} "
            f"| {median(g.stands for g in group):.3f} "
            f"| {min(g.stands - g.given for g in group):+.3f} "
            f"| {max(g.changed for g in group):.3f} | {median(g.seconds for g in group):.0f} |"
        )
    counts = np.array(
        [[pair.split("/") for pair in line.sure_right.split()] for line in lines], dtype=int
    ).sum(axis=0)
    rows += ["", "| certainty of what is found | stems | right |", "|---|---|---|"]
    for least, (count, right) in zip(SURENESS, counts.tolist(), strict=True):
        rows.append(f"| {least:.0%} or more | {count} | {right / max(1, count):.2f} |")
    return "\n".join(rows)


def read_lines(path: Path) -> list[DrawLine]:
    if not path.exists():
        return []
    kinds = {entry.name: entry.type for entry in fields(DrawLine)}
    with path.open(newline="") as file:
        return [
            DrawLine(**{name: kinds[name](value) for name, value in row.items()})  # type: ignore[operator]
            for row in csv.DictReader(file)
        ]


def write_lines(path: Path, lines: list[DrawLine]) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("w", newline="") as file:
        table = csv.DictWriter(
            file, [entry.name for entry in fields(DrawLine)], lineterminator="\n"
        )
        table.writeheader()
        for line in lines:
            row = asdict(line)
            rounded = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            table.writerow(rounded)


if __name__ == "__main__":
    main()
