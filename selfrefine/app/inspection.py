"""The contents of a data set and its problems, for `selfrefine check-data`.

All headers are read first, then the audio of the readable files, several songs at once.
"""

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from selfrefine.app.signal_scan import SignalFacts, SongFacts, scan_song
from selfrefine.classes import CLASSES
from selfrefine.clips.audibility import INAUDIBLE_DB, loudness_words
from selfrefine.clips.song_set import MIXTURE_RESIDUAL_DB
from selfrefine.errors import InputError
from selfrefine.files.downmix import stereo_gains
from selfrefine.files.header import Header, read_header
from selfrefine.files.layouts import (
    TRACKS,
    Fault,
    SongFiles,
    split_folders,
    survey,
    unused_audio,
)
from selfrefine.progress import Count

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
CLIPPED_SHARE = 1e-4
"""Clipping is reported where more than this share of a file's samples is clipped."""
EQUAL_LENGTHS_S = 0.05
"""Files of a song whose lengths differ by this much at most count as equally long."""


@dataclass(frozen=True)
class Problem:
    """A problem of a data set. Where it is `fatal`, training would fail or a score would be
    worthless. Other problems are harmless, or reading mends them."""

    kind: str
    where: str
    what: str
    fatal: bool


@dataclass(frozen=True)
class Inspection:
    """The contents of a data set. `songs` are by split, under "" where there are no splits. `facts`
    are by split and song."""

    layout: str
    songs: dict[str, list[SongFiles]]
    facts: dict[tuple[str, str], SongFacts]
    problems: list[Problem]

    def seconds(self, split: str, name: str, kept: bool) -> float:
        """The length in s of a split's stems of one class: after silence removal if `kept`, else
        whole. Stems of several classes are not counted."""
        total = 0.0
        for song in self.songs[split]:
            facts = self.facts.get((split, song.name))
            for file in song.files:
                if facts and file.label == (name,) and file.name in facts.files:
                    of_file = facts.files[file.name]
                    total += of_file.kept_seconds if kept else of_file.seconds
        return total


def inspect(root: Path, count: Count) -> Inspection:
    """Reads everything under `root`; `count` takes bytes. Raises InputError where no song is
    found."""
    layout, songs, faults = find_splits(root)
    problems = [
        Problem(fault.kind, str(fault.where.relative_to(root)), fault.what, True)
        for fault in faults
    ]
    headers: dict[tuple[str, str], dict[str, Header]] = {}
    for split, of_split in songs.items():
        for song in of_split:
            headers[split, song.name] = readable_headers(song, problems)
    everything = [(split, song) for split, of_split in songs.items() for song in of_split]
    total = sum(song_bytes(song) for _, song in everything)
    facts: dict[tuple[str, str], SongFacts] = {}
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        scans = {
            pool.submit(scan_song, song, headers[split, song.name]): (split, song)
            for split, song in everything
        }
        for scan in as_completed(scans):
            split, song = scans[scan]
            facts[split, song.name] = scan.result()
            done += song_bytes(song)
            count(done, total)
    for split, song in everything:
        problems += song_problems(song, headers[split, song.name], facts[split, song.name])
    problems += set_problems(root, songs, headers)
    problems += [unplaced(root, path) for path in unused_audio(root, [s for _, s in everything])]
    problems += duplicates(songs, facts)
    return Inspection(layout, songs, facts, problems)


def find_splits(root: Path) -> tuple[str, dict[str, list[SongFiles]], list[Fault]]:
    """The layout in words, the songs of each split folder, or of `root` itself, and the faults of
    the folders."""
    splits = split_folders(root) if root.is_dir() else []
    if not splits:
        whole = survey(root, tracks=False)
        named_by_uuid = all(UUID.fullmatch(song.name) for song in whole.songs)
        layout = "SDXDB23_LabelNoise" if whole.songs and named_by_uuid else whole.layout
        return layout, {"": whole.songs}, whole.faults
    surveys = {folder.name: survey(folder, tracks=False) for folder in splits}
    found = {name: of_split.songs for name, of_split in surveys.items()}
    faults = [fault for of_split in surveys.values() for fault in of_split.faults]
    layouts = list(dict.fromkeys(of_split.layout for of_split in surveys.values()))
    mixtures = all(
        any(not file.label for file in song.files) for songs in found.values() for song in songs
    )
    if {name.lower() for name in found} >= {"train", "test"} and mixtures:
        names = {"<song>/<class>.<ext>": "MUSDB18-HQ", "<song>.stem.mp4": "MUSDB18"}
        if len(layouts) == 1 and layouts[0] in names:
            return names[layouts[0]], found, faults
    return " and ".join(layouts), found, faults


def unplaced(root: Path, path: Path) -> Problem:
    """A problem for an audio file of no song."""
    what = "is named by no class, or not where stems are looked for"
    if path.parent.name == TRACKS:
        return Problem(
            "instrument tracks", str(path.relative_to(root)), "is read by corrupt alone", False
        )
    return Problem("not recognised", str(path.relative_to(root)), what, False)


def song_bytes(song: SongFiles) -> int:
    return sum(path.stat().st_size for path in {file.path for file in song.files} if path.exists())


def readable_headers(song: SongFiles, problems: list[Problem]) -> dict[str, Header]:
    headers = {}
    for file in song.files:
        where = f"{song.name}/{file.name}"
        lengths: list[str] = []
        try:
            header = read_header(file, lengths.append)
            if header.channels > 2:
                stereo_gains(file.path, header.channels)
        except InputError as error:
            problems.append(Problem("unreadable", where, str(error), True))
            continue
        problems += [Problem("length", where, words, False) for words in lengths]
        if header.samples == 0:
            what = f"{file.path}: holds no samples"
            problems.append(Problem("empty", where, what, True))
            continue
        headers[file.name] = header
    return headers


def song_problems(song: SongFiles, headers: dict[str, Header], facts: SongFacts) -> list[Problem]:
    found = []
    for name, of_file in facts.files.items():
        where = f"{song.name}/{name}"
        if of_file.error:
            found.append(Problem("unreadable", where, of_file.error, True))
        elif of_file.peak == 0:
            found.append(Problem("silent", where, "is silent throughout: left out", False))
        elif of_file.loudest_db < INAUDIBLE_DB:
            what = f"{loudness_words(of_file.loudest_db)}: left out"
            found.append(Problem("inaudible", where, what, False))
        elif clips(of_file, headers[name]):
            what = f"{of_file.clipped} samples are clipped"
            found.append(Problem("clipped", where, what, False))
    lengths = {name: header.seconds for name, header in headers.items()}
    if lengths and max(lengths.values()) - min(lengths.values()) > EQUAL_LENGTHS_S:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths.values())
        what = f"{shortest} has {lengths[shortest]:.2f} s, the longest file {longest:.2f} s"
        found.append(Problem("unequal lengths", song.name, what, False))
    if facts.residual_db is not None and facts.residual_db > MIXTURE_RESIDUAL_DB:
        what = f"mixture minus stems is at {facts.residual_db:.0f} dB of the mixture"
        found.append(Problem("stems are not the mixture", song.name, what, False))
    return found


def clips(facts: SignalFacts, header: Header) -> bool:
    return facts.clipped > CLIPPED_SHARE * header.samples * header.channels


def set_problems(
    root: Path,
    songs: dict[str, list[SongFiles]],
    headers: dict[tuple[str, str], dict[str, Header]],
) -> list[Problem]:
    """The problems that show only in the whole data set."""
    found = []
    of_files = [
        (f"{song}/{name}", header)
        for (_, song), of_song in headers.items()
        for name, header in of_song.items()
    ]
    rates = Counter(header.sample_rate for _, header in of_files)
    usual_rate = max(rates, key=rates.__getitem__, default=0)
    for where, header in of_files:
        if header.sample_rate != usual_rate:
            what = f"{header.sample_rate} Hz, most files have {usual_rate} Hz: resampled"
            found.append(Problem("sample rate", where, what, False))
        if header.channels != 2:
            how = "folded down to stereo (BS.775)" if header.channels > 2 else "made stereo"
            what = f"{header.channels} channels: {how}"
            found.append(Problem("channels", where, what, False))
    for split, of_split in songs.items():
        held = {name for song in of_split for file in song.files for name in file.label}
        where = split or root.name
        found += [
            Problem("missing class", where, f"no song has {name}", True)
            for name in CLASSES
            if name not in held
        ]
        if len(of_split) == 1:
            found.append(Problem("few songs", where, "holds one song only", True))
    by_name: dict[str, list[str]] = {}
    for split, of_split in songs.items():
        for song in of_split:
            by_name.setdefault(song.name.strip().casefold(), []).append(f"{split}/{song.name}")
    found += [
        Problem("in two splits", places[0], f"is {places[1]} too", True)
        for places in by_name.values()
        if len(places) > 1
    ]
    return found


def duplicates(
    songs: dict[str, list[SongFiles]], facts: dict[tuple[str, str], SongFacts]
) -> list[Problem]:
    """A problem for each file with the same audio as an earlier one. Silent files are not
    compared."""
    seen: dict[str, tuple[str, str]] = {}
    found = []
    for split, of_split in songs.items():
        for song in of_split:
            for name, of_file in facts[split, song.name].files.items():
                if not of_file.digest or of_file.peak == 0:
                    continue
                where = "/".join(part for part in (split, song.name, name) if part)
                first_split, first = seen.setdefault(of_file.digest, (split, where))
                if first != where:
                    what = f"the same audio as {first}"
                    kind = "duplicate" if split == first_split else "in two splits"
                    found.append(Problem(kind, where, what, split != first_split))
    return found
