"""segments.csv, and laying stems out stretch by stretch, so that what is clean of a stem trains."""

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from selfrefine.app.output_folder import refuse_full_disk
from selfrefine.app.stem_links import lay_out_stems, link_name
from selfrefine.classes import label_set_of
from selfrefine.errors import InputError
from selfrefine.files.audio_file import decode, write_wav
from selfrefine.files.header import read_header
from selfrefine.files.layouts import StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.progress import Note
from selfrefine.refining.segments import SHORT_SILENCE, Segment

COLUMNS = ("song", "file", "start", "end", "classes", "confidence")

SHORTEST_STRETCH = 1.0
"""A stretch shorter than this, in s, is not laid out."""

CHANGE_MARGIN = 0.5
"""Sound this near to a change, in s, is not laid out: a change is found to half a second, so that
it is as often wrong as right. At a silence no margin is needed."""

SegmentedStem = tuple[str, StemFile, Sequence[Segment]]
"""A stem's song, file and segments."""


def write_segments(path: Path, rows: Mapping[tuple[str, str], Sequence[Segment]]) -> None:
    """Writes the segments by song and file. Whole or not at all; names that are not valid UTF-8
    keep their bytes."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        for (song, file), segments in rows.items():
            for one in segments:
                values = (f"{one.start:.3f}", f"{one.end:.3f}", "+".join(one.label))
                table.writerow([song, file, *values, f"{one.confidence:.3f}"])
    os.replace(partial, path)


def read_segments(path: Path) -> dict[tuple[str, str], tuple[Segment, ...]]:
    """The segments by song and file, in their order, from `write_segments`' table.

    Raises InputError for a file that is none, naming the line.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as text:
            rows = list(csv.DictReader(text))
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); check the path") from error
    found: dict[tuple[str, str], tuple[Segment, ...]] = {}
    for line, row in enumerate(rows, start=2):
        try:
            label = label_set_of(row["classes"]) if row["classes"] else ()
            if label is None:
                raise ValueError(f"{row['classes']!r} is no label set")
            one = Segment(float(row["start"]), float(row["end"]), label, float(row["confidence"]))
            key = (row["song"], row["file"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, line {line}: not a segment of a stem ({error})") from error
        found[key] = (*found.get(key, ()), one)
    return found


@dataclass(frozen=True)
class Stretch:
    """From `start` to `end`, in s of its file, one label set's sound, short margins left out."""

    start: float
    end: float
    label: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)


def label_stretches(segments: Sequence[Segment]) -> list[Stretch]:
    """Neighbours of the same classes as one, whatever silence is between them, without the margin
    where one label set goes over into another."""
    runs = [list(run) for _, run in groupby(segments, key=lambda one: one.label)]
    stretches = []
    for number, run in enumerate(runs):
        start, end = run[0].start, run[-1].end
        if number and start - runs[number - 1][-1].end < SHORT_SILENCE:
            start += CHANGE_MARGIN
        if number + 1 < len(runs) and runs[number + 1][0].start - end < SHORT_SILENCE:
            end -= CHANGE_MARGIN
        stretches.append(Stretch(start, end, run[0].label))
    return stretches


def lay_out_segments(
    stems: Sequence[SegmentedStem], folder: Path, copy: bool, note: Note
) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Makes `folder/<label set>/<song>__<name>~<n>.wav` of every stretch of a stem that changes
    its label set, and `<song>__<name>.<ext>` of a stem that does not, as `lay_out_stems` does;
    returns the paths by (song, name). A stem without a segment counts as dropped.

    `find_songs` reads the folder; each stretch is a song to it. Stretches that are short or hold no
    class are left out, and `note` hears how many. A folder from before is replaced once the new one
    is whole. Raises InputError where the disk has no room.
    """
    whole = [stem for stem in stems if len({one.label for one in stem[2]}) <= 1]
    changing = [stem for stem in stems if len({one.label for one in stem[2]}) > 1]
    refuse_full_disk(folder.parent, needed_bytes(whole, changing, copy), "the stretches of stems")
    building = folder.with_name(folder.name + ".building")
    labelled = [(song, file, found[0].label if found else ()) for song, file, found in whole]
    linked = lay_out_stems(labelled, building, copy, note)
    taken = {known_as(path) for path in linked.values()}
    paths: dict[tuple[str, str], tuple[Path, ...]] = {
        key: (folder / path.relative_to(building),) for key, path in linked.items()
    }
    left_out: list[Stretch] = []
    count = 0
    for song, file, segments in changing:
        stretches = label_stretches(segments)
        fit = [one for one in stretches if one.label and one.seconds >= SHORTEST_STRETCH]
        left_out += [one for one in stretches if one not in fit]
        written = write_stretches(song, file, fit, building, taken)
        paths[song, file.name] = tuple(folder / path.relative_to(building) for path in written)
        count += len(written)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(building, folder)
    if changing:
        note(
            f"{len(changing)} of {len(stems)} stems change: laid out as {count} stretches, without "
            f"{CHANGE_MARGIN:g} s on either side of a change"
        )
    reasons = {
        f"are shorter than {SHORTEST_STRETCH:g} s": [one for one in left_out if one.label],
        "hold no class": [one for one in left_out if not one.label],
    }
    for words, those in reasons.items():
        if those:
            seconds = sum(one.seconds for one in those)
            note(f"{len(those)} stretches, {seconds:.1f} s in all, {words} and are left out")
    return paths


def write_stretches(
    song: str, file: StemFile, stretches: list[Stretch], folder: Path, taken: set[tuple[str, str]]
) -> list[Path]:
    """Cuts the stretches out of a stem's file, at its own sample rate. A number whose name is
    `taken` is passed over."""
    if not stretches:
        return []
    own = file.stream
    audio, rate = decode(file.path) if own is None else decode_stream(file.path, own)
    stem = Path(link_name(song, file)).stem
    paths: list[Path] = []
    number = 0
    for stretch in stretches:
        label_folder = folder / "+".join(stretch.label)
        number += 1
        while known_as(path := label_folder / f"{stem}~{number}.wav") in taken:
            number += 1
        label_folder.mkdir(exist_ok=True)
        write_wav(path, audio[:, round(stretch.start * rate) : round(stretch.end * rate)], rate)
        paths.append(path)
    return paths


def known_as(path: Path) -> tuple[str, str]:
    """Song and stem that `songs_of_classes` takes a file in a label set's folder for."""
    song, _, name = path.stem.rpartition("__")
    if not song or label_set_of(name) is None:
        return path.stem, path.parent.name
    return song, name


def needed_bytes(
    whole: Sequence[SegmentedStem], changing: Sequence[SegmentedStem], copy: bool
) -> float:
    """What laying the stems out may take. A file whose samples are not integers may clip and so
    be written as floats."""
    needed = 0.0
    for _, file, segments in changing:
        header = read_header(file)
        width = 2 if header.subtype.startswith("PCM") else 4
        seconds = sum(one.seconds for one in label_stretches(segments))
        needed += seconds * header.sample_rate * header.channels * width
    for _, file, _ in whole:
        if file.stream is not None:
            header = read_header(file)
            needed += header.samples * header.channels * 4
        elif copy:
            needed += file.path.stat().st_size
    return needed
