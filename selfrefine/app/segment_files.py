"""segments.csv, and laying stems out by stretches of one label set, to train on the clean parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from selfrefine.app.output_folder import refuse_full_disk
from selfrefine.app.stem_links import link_name, link_stems
from selfrefine.classes import LabelSet, label_set_of, label_words
from selfrefine.errors import InputError
from selfrefine.files.atomic import folder_replaced
from selfrefine.files.audio_file import decode, write_wav
from selfrefine.files.header import read_header
from selfrefine.files.layouts import StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.files.table import number_in, numbered_rows, write_csv
from selfrefine.progress import Note
from selfrefine.refining.segments import SHORT_SILENCE, Segment

COLUMNS = ("song", "file", "start", "end", "classes", "confidence")

SHORTEST_STRETCH = 1.0
"""A stretch shorter than this, in s, is not laid out."""

CHANGE_MARGIN = 0.5
"""Sound this near to a change, in s, is not laid out, because the time of a change is known to half
a second only. No margin is needed at a silence."""

SegmentedStem = tuple[str, StemFile, Sequence[Segment]]
"""A stem's song, file and segments."""


def write_segments(path: Path, rows: Mapping[tuple[str, str], Sequence[Segment]]) -> None:
    """Writes the segments of each (song, file), a line per segment."""
    lines = (
        (
            song,
            file,
            f"{one.start:.3f}",
            f"{one.end:.3f}",
            label_words(one.label),
            f"{one.confidence:.3f}",
        )
        for (song, file), segments in rows.items()
        for one in segments
    )
    write_csv(path, COLUMNS, lines)


def read_segments(path: Path) -> dict[tuple[str, str], tuple[Segment, ...]]:
    """The segments of each (song, file), in order, from a table that `write_segments` wrote.

    Raises InputError, naming the line, for a file that is no such table.
    """
    found: dict[tuple[str, str], tuple[Segment, ...]] = {}
    for line, row in numbered_rows(path, COLUMNS):
        try:
            label = label_set_of(row["classes"].strip())
            if label is None:
                raise ValueError(f"{row['classes']!r} is no label set")
            start, end, confidence = (number_in(row[n]) for n in ("start", "end", "confidence"))
            one = Segment(start, end, label, confidence)
        except ValueError as error:
            raise InputError(f"{path}, line {line}: not a segment of a stem ({error})") from error
        key = (row["song"], row["file"])
        found[key] = (*found.get(key, ()), one)
    return found


@dataclass(frozen=True)
class Stretch:
    """A part of a stem with one label set, from `start` to `end`, in s of its file. Margins at
    changes are left out."""

    start: float
    end: float
    label: LabelSet

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)


def label_stretches(segments: Sequence[Segment]) -> list[Stretch]:
    """Joins neighbouring segments of the same classes, over silence of any length, and cuts a
    margin off where one label set changes into another."""
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
    """Makes `folder` anew. Returns the paths by (song, name).

    A stem whose label set changes is cut: each stretch becomes
    `<label set>/<song>__<name>~<n>.wav`. Any other stem is laid out whole, as by `link_stems`; one
    without a segment counts as dropped. `find_songs` can read the folder, and takes each stretch
    for a song. Stretches that are short or hold no class are left out, and their number is noted.
    Raises InputError where the disk has no room.
    """
    whole = [stem for stem in stems if len({one.label for one in stem[2]}) <= 1]
    changing = [stem for stem in stems if len({one.label for one in stem[2]}) > 1]
    refuse_full_disk(folder.parent, needed_bytes(whole, changing, copy), "the stretches of stems")
    labelled = [(song, file, found[0].label if found else ()) for song, file, found in whole]
    left_out: list[Stretch] = []
    count = 0
    with folder_replaced(folder) as building:
        linked = link_stems(labelled, building, copy, note)
        taken = {known_as(path) for path in linked.values()}
        written = {key: [path] for key, path in linked.items()}
        for song, file, segments in changing:
            stretches = label_stretches(segments)
            fit = [one for one in stretches if one.label and one.seconds >= SHORTEST_STRETCH]
            left_out += [one for one in stretches if one not in fit]
            written[song, file.name] = write_stretches(song, file, fit, building, taken)
            count += len(written[song, file.name])
    paths = {
        key: tuple(folder / path.relative_to(building) for path in of_stem)
        for key, of_stem in written.items()
    }
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
    """Cuts the stretches out of a stem's file, at its own sample rate, and returns their paths. A
    number is left out where its file name is `taken`."""
    if not stretches:
        return []
    own = file.stream
    audio, rate = decode(file.path) if own is None else decode_stream(file.path, own)
    stem = Path(link_name(song, file)).stem
    paths: list[Path] = []
    number = 0
    for stretch in stretches:
        label_folder = folder / label_words(stretch.label)
        number += 1
        while known_as(path := label_folder / f"{stem}~{number}.wav") in taken:
            number += 1
        label_folder.mkdir(exist_ok=True)
        write_wav(path, audio[:, round(stretch.start * rate) : round(stretch.end * rate)], rate)
        paths.append(path)
    return paths


def known_as(path: Path) -> tuple[str, str]:
    """The song and the stem's name that `songs_of_classes` reads from a file in a label set's
    folder."""
    song, _, name = path.stem.rpartition("__")
    if not song or not label_set_of(name):
        return path.stem, path.parent.name
    return song, name


def needed_bytes(
    whole: Sequence[SegmentedStem], changing: Sequence[SegmentedStem], copy: bool
) -> float:
    """The bytes that laying the stems out may take. A file whose samples are not integers may
    exceed full scale, and is then written as 32-bit floats."""
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
