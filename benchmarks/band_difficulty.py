"""Compares the songs of the embedded band with real music.

    OMP_NUM_THREADS=1 python -m benchmarks.band_difficulty [--real DIR …] [--songs 48]
        [--seconds 14] [--separator [--test-dir DIR]] [--json FILE]

Prints statistics of songs, which `benchmarks.band_statistics` defines. There is one column for all
real songs together and one for each domain of the band; these are called sources here. The band's
columns should be close to the real one. In order:

- balanced accuracy of a linear classifier that tells the classes apart by simple features, with
  held-out songs of its own source, and trained on another source; chance is 0.25;
- number of songs with each class;
- properties of stems: centroid, width, flatness, level, and the share of time in which they sound;
- overlap of the classes' registers, and each class' share of the energy in the low registers;
- SDR of an ideal mask, and of the mixture itself;
- with --separator, SDR of X-UMX at mini, trained on uncorrupted stems of each source. The test is
  on every fifth real song, or on the songs of --test-dir.

A DIR holds songs as stems, <song>/<class>.<ext>, or as tracks, <song>/tracks/<class>__<instrument>;
or it holds such folders called train, validation and test. Expected cost on one core: 1 s per song
of the band, 2 s per real song of 40 s; with --separator, minutes per source.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.band_statistics import (
    FEATURE_SETS,
    MONO_DB,
    SAMPLE_RATE,
    WIDTH_WORDS,
    WINDOW,
    DecodedSong,
    FeatureTable,
    Summary,
    accuracy_across,
    activity,
    feature_table,
    levels,
    low_register_shares,
    own_accuracy,
    register_overlap,
    sdr_summary,
    separability,
    song_sdr,
    timbre,
)
from experiments.stages.own_songs import songs_of_root
from selfrefine.band import DOMAINS, play_songs
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json
from selfrefine.scales import MINI
from selfrefine.settings import SeparatorSettings, SilenceRemoval

if TYPE_CHECKING:
    import torch
    from torch import nn

REAL = "real"
TEST_EVERY = 5
"""Without a folder of test songs, one real song of this many is a test song."""

NAME_WIDTH, CELL_WIDTH = 28, 10

Statistics = dict[str, Summary]
"""The title of each group of rows, and the rows' values by name."""


@dataclass(frozen=True)
class Split:
    """Songs for training a separator, and songs for testing it."""

    train: Sequence[DecodedSong]
    test: Sequence[DecodedSong]


def song_of(name: str, signals: Sequence[tuple[str, np.ndarray]]) -> DecodedSong:
    """Makes a song from classes and signals `(channel=2, sample)`.

    Signals are padded to the longest, and those of a class are summed. Completely silent stems are
    left out.
    """
    length = max(audio.shape[1] for _, audio in signals)
    stems = {label: np.zeros((2, length), dtype=np.float32) for label in CLASSES}
    for label, audio in signals:
        stems[label][:, : audio.shape[1]] += audio
    return DecodedSong(name, {label: stem for label, stem in stems.items() if stem.any()})


def songs_of_folder(root: Path) -> list[DecodedSong]:
    """The songs of a folder, at `SAMPLE_RATE`. Prints which songs cannot be used.

    Raises InputError as `songs_of_root` does, and for a file that cannot be read.
    """
    from selfrefine.clips.song_set import read_stem

    songs = []
    for files in songs_of_root(root):
        stems = [file for file in files.files if file.label]
        audio = [read_stem(file, SAMPLE_RATE, lambda sentence: None) for file in stems]
        labels = [file.label[0] for file in stems]
        song = song_of(files.name, list(zip(labels, audio, strict=True)))
        if max(signal.shape[1] for signal in audio) < WINDOW:
            say(f"{root}/{files.name}: shorter than 3 s, left out")
        elif not song.stems:
            say(f"{root}/{files.name}: silent, left out")
        else:
            songs.append(song)
    return songs


def band_songs(
    domain: str, seed: int, count: int, seconds: float, processes: int
) -> Iterator[DecodedSong]:
    """Yields the first `count` songs of a domain of the band, each `seconds` s long."""
    with closing(play_songs(domain, seed, range(count), seconds, SAMPLE_RATE, processes)) as songs:
        for index, tracks in enumerate(songs):
            yield song_of(f"{domain}{index:03d}", [(track.stem, track.audio) for track in tracks])


def split_real(folders: Mapping[Path, Sequence[DecodedSong]], test_folder: Path | None) -> Split:
    """Splits real songs: the test songs are those of `test_folder`, or every fifth of all songs.

    Raises InputError if no song is left for training or for testing.
    """
    if test_folder is None:
        songs = [song for of_folder in folders.values() for song in of_folder]
        train = [song for n, song in enumerate(songs) if (n + 1) % TEST_EVERY]
        split = Split(train, songs[TEST_EVERY - 1 :: TEST_EVERY])
    else:
        if test_folder not in folders:
            raise InputError(f"--test-dir {test_folder}: name it after --real as well")
        train = [s for root, songs in folders.items() if root != test_folder for s in songs]
        split = Split(train, folders[test_folder])
    if not split.train or not split.test:
        raise InputError(
            f"{len(split.train)} real songs to train a separator on and {len(split.test)} to test "
            "it on; give more folders or songs"
        )
    return split


def classifier_accuracies(tables: Mapping[str, FeatureTable], tested: str) -> Statistics:
    """Balanced accuracies on the source `tested`, by feature set: of a classifier of its own, on
    held-out songs, and of a classifier trained on each other source."""
    others = {source: table for source, table in tables.items() if source != tested}
    return {
        f"balanced accuracy by {words}": {
            "own songs, held out": own_accuracy(tables[tested], columns)
        }
        | {
            f"trained on {source}": accuracy_across(table, tables[tested], columns)
            for source, table in others.items()
        }
        for words, columns in FEATURE_SETS.items()
    }


def statistics_of(songs: Sequence[DecodedSong], table: FeatureTable) -> Statistics:
    """All statistics of a source except those of classifiers and separators."""
    return {
        "songs with the class": {
            name: sum(name in song.stems for song in songs) for name in CLASSES
        },
        **timbre(table),
        **levels(songs),
        **activity(songs),
        "register overlap": register_overlap(songs),
        **low_register_shares(songs),
        **separability(songs),
    }


def separator_scores(
    splits: Mapping[str, Split], settings: SeparatorSettings, seed: int
) -> dict[str, Statistics]:
    """SDR (dB) of X-UMX trained on each source, on the test songs of every source. The result is by
    the source of the test songs."""
    import torch

    from selfrefine.models.separator import separate_song
    from selfrefine.training.device import prepare, training_device

    device = training_device()
    prepare(device)
    found: dict[str, Statistics] = {source: {} for source in splits}
    for trained, split in splits.items():
        say(f"training X-UMX on {len(split.train)} songs: {trained}")
        with tempfile.TemporaryDirectory() as temporary:
            model = trained_separator(split.train, settings, seed, Path(temporary), device)
        for tested, other in splits.items():
            scores = []
            for song in other.test:
                mixture = torch.from_numpy(song.mixture).to(device)
                estimates = separate_song(model, settings, mixture).cpu().numpy()
                scores.append(song_sdr(song, dict(zip(CLASSES, estimates, strict=True))))
            found[tested][f"X-UMX trained on {trained}, SDR (dB)"] = sdr_summary(scores)
    return found


def trained_separator(
    songs: Sequence[DecodedSong],
    settings: SeparatorSettings,
    seed: int,
    folder: Path,
    device: torch.device,
) -> nn.Module:
    """A separator that is trained as in the experiments, on the songs' stems without silence."""
    from selfrefine.audio.silence import remove_silence
    from selfrefine.clips.audio_set import AudioSetWriter, open_audio_set
    from selfrefine.models.separator import build_separator
    from selfrefine.models.weights import load_model
    from selfrefine.training.loop import Place
    from selfrefine.training.separator import train_separator

    with AudioSetWriter(folder / "stems", SAMPLE_RATE) as writer:
        for song in songs:
            for name, stem in song.stems.items():
                audio = remove_silence(stem, SAMPLE_RATE, SilenceRemoval())
                writer.add(song.name, name, (name,), audio)
    stems = open_audio_set(folder / "stems")
    train_separator(stems, settings, seed, Place(folder, device))
    return load_model(build_separator(settings), folder / "model.pt", device)


def compare(args: argparse.Namespace) -> dict[str, Statistics]:
    """All statistics by source. Raises InputError for folders and numbers that cannot be used."""
    if args.test_dir and not args.separator:
        raise InputError("--test-dir says what --separator is tested on; give --separator too")
    if args.seconds * SAMPLE_RATE < WINDOW:
        raise InputError(f"--seconds {args.seconds:g}: statistics need songs of at least 3 s")
    if args.songs < 2 or min(args.train_songs, args.test_songs) < 1:
        raise InputError("give at least 2 songs, and at least 1 to train on and 1 to test on")
    sources: dict[str, Sequence[DecodedSong]] = {}
    splits: dict[str, Split] = {}
    if args.real:
        folders = {root: songs_of_folder(root) for root in args.real}
        sources[REAL] = [song for songs in folders.values() for song in songs]
        if len(sources[REAL]) < 2:
            raise InputError("fewer than 2 real songs can be used; one has to be held out")
        if args.separator:
            split = split_real(folders, args.test_dir)
            splits[REAL] = replace(split, train=split.train[: args.train_songs])
    used = args.train_songs + args.test_songs
    count = max(args.songs, used) if args.separator else args.songs
    for domain in DOMAINS:
        say(f"playing {count} songs: band {domain}")
        songs = list(band_songs(domain, args.seed, count, args.seconds, args.processes))
        sources[f"band {domain}"] = songs[: args.songs]
        splits[f"band {domain}"] = Split(songs[: args.train_songs], songs[args.train_songs : used])
    tables = {source: feature_table(songs) for source, songs in sources.items()}
    found = {
        source: {**classifier_accuracies(tables, source), **statistics_of(songs, tables[source])}
        for source, songs in sources.items()
    }
    if args.separator:
        for source, scores in separator_scores(splits, MINI.xumx, args.seed).items():
            found[source] |= scores
    return found


def table_lines(found: Mapping[str, Statistics]) -> list[str]:
    """The table's lines: one column per source; a title per group, and then one line per value."""
    groups: dict[str, dict[str, None]] = {}
    for statistics in found.values():
        for group, values in statistics.items():
            groups.setdefault(group, {}).update(dict.fromkeys(values))
    lines = [padded("", found)]
    for group, names in groups.items():
        lines.append(group)
        for name in names:
            cells = [statistics.get(group, {}).get(name, math.nan) for statistics in found.values()]
            lines.append(padded(f"  {name}", [cell(group, value) for value in cells]))
    return lines


def padded(name: str, cells: Iterable[str]) -> str:
    return name.ljust(NAME_WIDTH) + "".join(cell.rjust(CELL_WIDTH) for cell in cells)


def cell(group: str, value: float) -> str:
    """A value with about three digits; "-" for NaN, and "mono" for the width of mono stems."""
    if math.isnan(value):
        return "-"
    if group == WIDTH_WORDS and value <= MONO_DB:
        return "mono"
    if value == round(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write_statistics(path: Path, found: Mapping[str, Statistics]) -> None:
    """Writes the values as JSON, by source, group and name, with null for NaN.

    The file is written completely or not at all. Raises InputError if it cannot be written.
    """
    values = {
        source: {
            group: {name: None if math.isnan(v) else v for name, v in of_group.items()}
            for group, of_group in statistics.items()
        }
        for source, statistics in found.items()
    }
    try:
        write_json(path, values)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); check the path") from error


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The embedded band beside real music.")
    add = parser.add_argument
    add("--real", type=Path, nargs="+", default=[], metavar="DIR", help="folders of real songs")
    add("--songs", type=int, default=48, help="songs of each domain to take statistics of")
    add("--seconds", type=float, default=14.0, help="length of a song of the band")
    add("--seed", type=int, default=0)
    add("--processes", type=int, default=1, help="songs of the band played at once")
    add("--separator", action="store_true", help="train X-UMX at mini on each source")
    add("--train-songs", type=int, default=48, help="most songs a separator is trained on")
    add("--test-songs", type=int, default=24, help="further songs of each domain to test it on")
    add("--test-dir", type=Path, metavar="DIR", help="which of the real folders to test it on")
    add("--json", type=Path, metavar="FILE", help="write the values there too")
    args = parser.parse_args()
    try:
        found = compare(args)
        print("\n".join(table_lines(found)))
        if args.json:
            write_statistics(args.json, found)
    except InputError as error:
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
