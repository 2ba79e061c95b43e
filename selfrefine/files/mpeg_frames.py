"""The frames of an MPEG audio file (MP3, MP2), counted without decoding.

libsndfile believes the length that the first frame states, or estimates one from the first frames'
bit rate. The count is the truth: files without that statement, joined files and padded ones are
much longer or shorter than either.
"""

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from selfrefine.files.splice import Splice, cut_words, truncated
from selfrefine.files.spliced_file import FilePart

RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates in Hz by the version's bits: MPEG-1, 2 and 2.5."""

KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates in kbit/s by the version's and the layer's bits, the version 2 standing for 2.5 too;
layers II and III share those of version 2."""

LAYER_III = 1
LARGEST_RATE = 14
SURE_FRAMES = 3
"""So many frames in a row are needed where no frame came before."""


@dataclass(frozen=True)
class FrameKind:
    """What a frame's header says: its bytes, its samples per channel, and its version and layer's
    bits."""

    size: int
    samples: int
    rate: int
    version: int
    layer: int


@cache
def frame_kind(second: int, third: int) -> FrameKind | None:
    """The frame whose header has these second and third bytes. None where no frame has, and for a
    free bit rate, whose size is stated nowhere."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    index, rate_index, padded = third >> 4, third >> 2 & 3, third >> 1 & 1
    if second < 0xE0 or version == 1 or layer == 0 or index in (0, 15) or rate_index == 3:
        return None
    table = (min(3, version or 2), layer if version == 3 or layer == 3 else 1)
    bits, rate = KBITS[table][index - 1] * 1000, RATES[version][rate_index]
    if layer == 3:
        return FrameKind((12 * bits // rate + padded) * 4, 384, rate, version, layer)
    samples = 576 if version != 3 and layer == LAYER_III else 1152
    return FrameKind(samples // 8 * bits // rate + padded, samples, rate, version, layer)


@dataclass(frozen=True)
class MpegFrames:
    """The whole frames of a file: `runs` of bytes without a gap, and their `count`. `stated` is the
    count that the first frame states, None where it states none; that frame holds no audio, and is
    not in `runs`. `cut` says that the file ends within a frame."""

    runs: tuple[tuple[int, int], ...]
    count: int
    first: bytes
    kind: FrameKind
    stated: int | None
    cut: bool

    def seconds(self, frames: int) -> float:
        return frames * self.kind.samples / self.kind.rate


def mpeg_frames(data: bytes, start: int) -> MpegFrames | None:
    """Counts the frames from byte `start` on. None where there is no frame."""
    stop = len(data) - 128 if data[-128:-125] == b"TAG" else len(data)
    position = next_frame(data, start, stop, None)
    kind = frame_kind(data[position + 1], data[position + 2]) if position < stop else None
    if kind is None:
        return None
    first = data[position : position + 4]
    stated = stated_frames(data[position : position + kind.size])
    if stated is not None:
        position += kind.size
    runs: list[tuple[int, int]] = []
    count, begin, cut = 0, position, False
    while position + 4 <= stop:
        found = frame_kind(data[position + 1], data[position + 2])
        if data[position] != 0xFF or found is None or not alike(found, kind):
            runs.append((begin, position))
            position = begin = next_frame(data, position + 1, stop, kind)
        elif position + found.size > stop:
            cut = stop == len(data)
            break
        else:
            count += 1
            position += found.size
    runs.append((begin, min(position, stop)))
    kept = tuple(run for run in runs if run[1] > run[0])
    return MpegFrames(kept, count, first, kind, stated, cut)


def alike(one: FrameKind, other: FrameKind) -> bool:
    return (one.rate, one.version, one.layer) == (other.rate, other.version, other.layer)


def next_frame(data: bytes, position: int, stop: int, kind: FrameKind | None) -> int:
    """The first byte from `position` on where some frames (like `kind`) follow each other; `stop`
    where there are none. Frames that end the file need no follower."""
    while 0 <= (position := data.find(b"\xff", position, stop)) < stop - 3:
        place, number = position, 0
        first = kind
        while place < stop - 3 and number < SURE_FRAMES and data[place] == 0xFF:
            found = frame_kind(data[place + 1], data[place + 2])
            if found is None or (first is not None and not alike(found, first)):
                break
            first, place, number = found, place + found.size, number + 1
        if number == SURE_FRAMES or (number and place >= stop):
            return position
        position += 1
    return stop


def information_offset(header: bytes) -> int:
    """Where the Xing header stands in a frame with this `header` of four bytes."""
    mono, first_version = header[3] >> 6 == 3, header[1] >> 3 & 3 == 3
    return 4 + ((17 if mono else 32) if first_version else (9 if mono else 17))


def stated_frames(frame: bytes) -> int | None:
    """The number of frames that a first frame states: in Xing's form (`Info` where the bit rate is
    constant), or Fraunhofer's. 0 where it is such a frame but states no number; None for a frame of
    audio."""
    offset = information_offset(frame)
    if frame[offset : offset + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack(">II", frame[offset + 4 : offset + 12].ljust(8, b"\0"))
        return count if flags & 1 else 0
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


def mpeg_splice(path: Path, data: bytes, start: int, believed: int) -> Splice | None:
    """How to read a file of which libsndfile finds a wrong number of samples, `believed`. None
    where it is right. Raises InputError for a truncated file."""
    frames = mpeg_frames(data, start)
    if frames is None or not frames.count:
        return None
    held = frames.seconds(frames.count)
    if frames.stated:
        # Some encoders count the first frame too.
        if frames.count < frames.stated - (0 if frames.cut else 1):
            stated = frames.seconds(frames.stated)
            raise truncated(path, cut_words(f"{held:.2f} s", f"{stated:.2f} s"))
        if frames.count <= frames.stated + 1:
            return None
        stated = frames.seconds(frames.stated)
    else:
        if frames.cut:
            raise truncated(path, "its last frame is cut")
        if abs(frames.count * frames.kind.samples - believed) <= frames.kind.samples:
            return None
        stated = believed / frames.kind.rate
    if frames.kind.layer != LAYER_III:
        return Splice(frames.runs, stated, held)
    pieces: tuple[FilePart, ...] = (information_frame(frames.first, frames.count), *frames.runs)
    return Splice(pieces, stated, held)


def information_frame(header: bytes, count: int) -> bytes:
    """A first frame that states the number of frames, for frames with this `header`."""
    second, third = header[1] | 1, LARGEST_RATE << 4 | header[2] & 0x0C
    kind = frame_kind(second, third)
    assert kind is not None
    start = bytes((0xFF, second, third, header[3])).ljust(information_offset(header), b"\0")
    return (start + b"Xing" + struct.pack(">II", 1, count)).ljust(kind.size, b"\0")
