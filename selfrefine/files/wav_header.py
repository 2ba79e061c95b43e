"""The header of a WAV file (RIFF, RF64, BW64): the place and the length of its samples.

A header can state less than the file holds: sizes wrap at 4 GiB, and a recorder that is killed
leaves 0. Programs that write to a pipe state a size that they cannot know.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from selfrefine.errors import InputError
from selfrefine.files.splice import Splice, cut_words, truncated

PIPE_SIZES = (
    range(0x7F000000, 0x7F001000),
    range(0x7FFFF000, 0x80001000),
    range(0xFFFFF000, 0x100000000),
)
"""Sizes that programs write to a pipe: sox, arecord, and the largest number or a little less.
Others write 0."""

PLAIN_FORMATS = {1, 3, 6, 7, 0xFFFE}
"""Format tags whose samples have a fixed number of bytes: PCM, float, A-law, mu-law, and the tag of
an extended header."""

EXTENSIBLE = 0xFFFE

LATER_CHUNKS = (b"LIST", b"id3 ", b"ID3 ", b"_PMX", b"iXML", b"bext", b"JUNK")
"""Chunks that follow the samples in many files; a cut one costs no audio."""

PADDING = 1 << 20
"""So many zeros at most, in bytes, count as padding and not as audio."""

SLACK_S = 0.1
"""What follows the samples counts as audio from this length on, in s."""


@dataclass(frozen=True)
class WavHeader:
    """The samples begin at byte `begin`; the header states `stated` bytes of them, None for an
    unknown length. `format` is the content of the format chunk."""

    begin: int
    stated: int | None
    format: bytes

    @property
    def tag(self) -> int:
        return int.from_bytes(self.format[:2], "little")

    @property
    def channels(self) -> int:
        return int.from_bytes(self.format[2:4], "little")

    @property
    def frame(self) -> int:
        """Bytes of a sample of all channels."""
        return int.from_bytes(self.format[12:14], "little")

    @property
    def second(self) -> int:
        """Bytes of a second."""
        return int.from_bytes(self.format[4:8], "little") * self.frame

    @property
    def mask(self) -> int:
        """The bits of the loudspeakers; 0 where the header names none."""
        extended = self.tag == EXTENSIBLE and len(self.format) >= 24
        return int.from_bytes(self.format[20:24], "little") if extended else 0


def is_unknown(size: int) -> bool:
    """Whether a 32-bit size is one that programs write where they do not know it."""
    return size == 0 or any(size in known for known in PIPE_SIZES)


def wav_header(file: BinaryIO, start: int, size: int) -> WavHeader | None:
    """Reads the header of a file of `size` bytes whose WAV part begins at `start`. None where it
    has no samples' chunk."""
    position, found, long_size = start + 12, b"", None
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"data":
            known: int | None = None if is_unknown(length) else length
            if long_size is not None and length == 0xFFFFFFFF:
                known = long_size if 0 < long_size < 1 << 62 else None
            return WavHeader(position + 8, known, found)
        content = file.read(min(length, 64))
        if kind == b"fmt ":
            found = content
        elif kind == b"ds64" and len(content) >= 16:
            long_size = struct.unpack("<Q", content[8:16])[0]
        position += 8 + length + length % 2
    return None


def wav_splice(path: Path, file: BinaryIO, start: int, size: int) -> Splice | None:
    """How to read a WAV file whose header states less than it holds; None where the header is
    right. Raises InputError for a truncated file, and for compressed samples under a wrong
    length."""
    header = wav_header(file, start, size)
    if header is None:
        file.seek(start + 4)
        stated = start + 8 + int.from_bytes(file.read(4), "little")
        if size < stated < 0x7F000000:
            raise truncated(path, cut_words(f"{size} bytes", f"{stated}"))
        return None
    held = size - header.begin
    if header.stated is not None and header.stated > held:
        raise truncated(path, cut_words(f"{size} bytes", f"{header.begin + header.stated}"))
    stated_bytes = header.stated or 0
    if not header.second or is_tail(file, header.begin + stated_bytes, size, header):
        return None
    if header.stated is None and not reads_short(file, header):
        return None
    if header.tag not in PLAIN_FORMATS:
        raise InputError(
            f"{path}: its header states {stated_bytes} bytes of audio, it holds {held}; convert it "
            "to plain WAV"
        )
    held -= held % header.frame
    seconds = None if header.stated is None else header.stated / header.second
    pieces = (mended_header(header, held), (header.begin, header.begin + held))
    return Splice(pieces, seconds, held / header.second)


def reads_short(file: BinaryIO, header: WavHeader) -> bool:
    """Whether libsndfile reads less than the whole of a file of unknown length: it believes 0, and
    what is less than the file holds."""
    file.seek(header.begin - 4)
    size = int.from_bytes(file.read(4), "little")
    return size <= file.seek(0, 2) - header.begin


def is_tail(file: BinaryIO, begin: int, size: int, header: WavHeader) -> bool:
    """Whether the bytes from `begin` to the end of the file are other chunks, tags, padding, or too
    few to matter; else they are audio."""
    if size - begin <= SLACK_S * header.second and header.stated is not None:
        return True
    return size == begin or holds_chunk(file, begin, size, "<I")


def holds_chunk(file: BinaryIO, begin: int, size: int, form: str) -> bool:
    """Whether a chunk, a tag or mere padding begins at byte `begin` of a file of `size` bytes, or
    one byte later. `form` is how chunks' sizes are written, as `struct` names it."""
    file.seek(begin)
    head = file.read(9)
    for found in (head[:8], head[1:9]):
        if len(found) < 8:
            continue
        kind, length = found[:4], struct.unpack(form, found[4:])[0]
        if kind in LATER_CHUNKS or found[:3] in (b"TAG", b"ID3") or found == b"APETAGEX":
            return True
        named = kind.isascii() and kind.decode().isprintable()
        if named and length <= size - begin - 8:
            return True
    if size - begin > PADDING:
        return False
    file.seek(begin)
    return not any(file.read(size - begin))


def mended_header(header: WavHeader, held: int) -> bytes:
    """The header of an RF64 file, which can state any length, before `held` bytes of samples."""
    form = struct.pack("<4sI", b"fmt ", len(header.format)) + header.format
    sizes = struct.pack("<QQQI", held + 72 + len(form), held, held // header.frame, 0)
    chunks = struct.pack("<4sI", b"ds64", len(sizes)) + sizes + form
    return b"RF64\xff\xff\xff\xffWAVE" + chunks + b"data\xff\xff\xff\xff"
