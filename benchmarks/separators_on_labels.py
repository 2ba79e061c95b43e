"""Measures how refined labels of real songs change a separator's SDR on test songs.

    python -m benchmarks.separators_on_labels TRACKS --test TEST --output sdr.csv
        [--noise swapped] [--draws 3] [--labels given stands true uncorrupted] [--profile mini]

TRACKS is a folder of songs as instrument tracks under their true classes. TEST is a folder of songs
in any form that `TEST_PATH` takes. For each draw, TRACKS gets label noise and is refined as in
`benchmarks.labels`. X-UMX is then trained, with the draw as its seed, on four kinds of data: stems
under the given labels, under the labels after refining ("stands"), and under the true labels, and
stems of the uncorrupted songs.

Prints the SDR on TEST (dB, medians over songs, averaged over classes) and the share of the gap
between given and uncorrupted that each kind closes. Each result is written to the output file at
once. Results in an existing file are not computed again. Expected cost at mini on 2 cores: 3
minutes per training.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.labels import (
    NOISES,
    chosen_songs,
    corrupted_stems,
    refined_set,
    song_set,
    track_set,
)
from experiments.stages.own_songs import songs_under
from experiments.stages.separation_score import song_scores
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet, by_song, with_labels
from selfrefine.clips.song_signals import references_and_mixture
from selfrefine.files.atomic import written_whole
from selfrefine.metrics.sdr import median_over_tracks
from selfrefine.models.model_file import load_classifier
from selfrefine.models.separator import build_separator, separate_song
from selfrefine.models.weights import load_model
from selfrefine.refining.decisions import weighed_verdicts
from selfrefine.refining.starting import shipped_classifier
from selfrefine.scales import SCALES, scale_named
from selfrefine.settings import SURE, SeparatorSettings
from selfrefine.training.device import prepare, training_device
from selfrefine.training.loop import Place
from selfrefine.training.separator import train_separator

LABELS = ("given", "stands", "true", "uncorrupted")
COLUMNS = ("noise", "draw", "labels", *CLASSES, "avg")


def main() -> None:
    parser = argparse.ArgumentParser(description="Refined labels' worth to a separator.")
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--noise", choices=NOISES, default="swapped")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=LABELS)
    parser.add_argument("--profile", default="mini", choices=SCALES)
    args = parser.parse_args()
    device = training_device()
    prepare(device)
    settings = scale_named(args.profile).xumx
    rows = read_rows(args.output)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tracks = track_set(args.tracks, folder / "tracks", settings.sample_rate)
        test = song_set(songs_under(str(args.test)), folder / "test", settings.sample_rate)
        for draw in range(args.draws):
            for labels in args.labels:
                if (args.noise, str(draw), labels) in rows:
                    continue
                place = Path(tempfile.mkdtemp(dir=folder))
                stems = labelled_stems(tracks, args.noise, draw, labels, place, device)
                sdr = trained_sdr(stems, settings, draw, test, place, device)
                values = [f"{value:.4f}" for value in (*sdr, sdr.mean())]
                rows[args.noise, str(draw), labels] = values
                write_rows(args.output, rows)
                print(args.noise, draw, labels, *values, flush=True)
    print(gain_summary(rows))


def labelled_stems(
    tracks: AudioSet, noise: str, draw: int, labels: str, folder: Path, device: torch.device
) -> AudioSet:
    """The training stems under one kind of labels."""
    songs = chosen_songs(tracks, 0, draw)
    kind = NOISES["none" if labels == "uncorrupted" else noise]
    stems, truth = corrupted_stems(tracks, kind, draw, songs, folder / "stems")
    match labels:
        case "true":
            return with_labels(stems, truth)
        case "stands":
            start = load_classifier(shipped_classifier(tracks.sample_rate), device)
            iterations = refined_set(stems, start, None, draw, folder / "refining", device)
            verdicts = weighed_verdicts(iterations, SURE)
            return with_labels(stems, {key: each.refined for key, each in verdicts.items()})
    return stems


def trained_sdr(
    stems: AudioSet,
    settings: SeparatorSettings,
    seed: int,
    test: AudioSet,
    folder: Path,
    device: torch.device,
) -> np.ndarray:
    """Trains a separator. Returns its median SDR (dB) over the test songs, `(class,)`."""
    train_separator(stems, settings, seed, Place(folder, device))
    model = load_model(build_separator(settings), folder / "model.pt", device)
    scores = []
    for clips in by_song(test).values():
        references, mixture = references_and_mixture(test, clips)
        estimates = separate_song(model, settings, torch.from_numpy(mixture).to(device))
        held = np.array([any(clip.label == (name,) for clip in clips) for name in CLASSES])
        scores.append(song_scores(references, estimates.cpu().numpy(), held, test.sample_rate))
    return median_over_tracks(np.array(scores))


def gain_summary(rows: dict[tuple[str, str, str], list[str]]) -> str:
    """A Markdown table of the median SDR over draws for each kind of labels, and its share of the
    gap."""
    lines = ["| noise | labels | draws | SDR avg, median | gap closed |", "|---|---|---|---|---|"]
    for noise in dict.fromkeys(key[0] for key in rows):
        averages = {
            labels: [float(rows[key][-1]) for key in rows if key[::2] == (noise, labels)]
            for labels in LABELS
        }
        middle = {labels: median(found) for labels, found in averages.items() if found}
        for labels, value in middle.items():
            share = ""
            if {"given", "uncorrupted"} <= middle.keys():
                gap = middle["uncorrupted"] - middle["given"]
                share = f"{(value - middle['given']) / gap:.0%}"
            draws = len(averages[labels])
            lines.append(f"| {noise} | {labels} | {draws} | {value:.2f} | {share} |")
    return "\n".join(lines)


def read_rows(path: Path) -> dict[tuple[str, str, str], list[str]]:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            (row["noise"], row["draw"], row["labels"]): [row[name] for name in (*CLASSES, "avg")]
            for row in csv.DictReader(file)
        }


def write_rows(path: Path, rows: dict[tuple[str, str, str], list[str]]) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([*key, *values] for key, values in rows.items())


if __name__ == "__main__":
    main()
