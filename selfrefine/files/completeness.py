"""Whether a file holds all of the audio that its header states, from the sizes in its container.

libsndfile reads a file that was cut, as a broken download leaves it, as a shorter one, without an
error; and it believes a header that states less than there is. Nothing is decoded here.
"""

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

import soundfile

from selfrefine.errors import InputError
from selfrefine.files.mpeg_frames import mpeg_splice
from selfrefine.files.splice import Splice, cut_words, truncated
from selfrefine.files.wav_header import holds_chunk, is_unknown, wav_splice

MPEG_SUFFIXES = (".mp3", ".mp2")
LARGEST_PAGE = 65307
"""Bytes of an Ogg page."""
SMALLEST_FLAC_FRAME = 10
POINTERS = (b"version https://git-lfs", b"/annex/objects/")
"""How files begin that git-lfs and git-annex leave in the place of content."""


def refuse_absent(path: Path) -> None:
    """Raises InputError for what is no file that can be read: a link to nowhere, a pipe, a device,
    or a pointer to content elsewhere."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a regular file; take it out of the folder")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        if path.is_symlink() and isinstance(error, FileNotFoundError):
            raise InputError(
                f"{path}: points to {os.readlink(path)}, which is not there; fetch it (git annex "
                "get, dvc pull), lay it out again (selfrefine apply --source), or take it out of "
                "the folder"
            ) from None
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    if head.startswith(POINTERS):
        raise InputError(
            f"{path}: stands for content that is not there; fetch it (git lfs pull, git annex get) "
            "or take it out of the folder"
        )


def splice_of(path: Path) -> Splice | None:
    """How to read a file whose header states less than it holds; None where the file is read as it
    is. Raises InputError for a file that is not there, truncated, or whose length is uncertain."""
    refuse_absent(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = tag_bytes(file)
        file.seek(start)
        head = file.read(16)
        match head[:4]:
            case b"RIFF" | b"RF64" | b"BW64" if head[8:12] == b"WAVE":
                return wav_splice(path, file, start, size)
            case b"FORM" if head[8:11] == b"AIF":
                refuse_cut_aiff(path, file, start, size)
            case b"riff" | b"caff":
                refuse_cut_chunks(path, file, start, size, head[:4] == b"riff")
            case b".snd":
                begin, stated = struct.unpack(">II", head[4:12])
                if not is_unknown(stated) and start + begin + stated > size:
                    raise cut_to(path, size, start + begin + stated)
            case b"OggS":
                refuse_cut_ogg(path, file, size)
            case b"fLaC":
                refuse_impossible_flac(path, file, start, size)
            case _ if path.suffix.lower() in MPEG_SUFFIXES:
                file.seek(0)
                return mpeg_splice(path, file.read(), start, believed_samples(path))
    return None


def tag_bytes(file: BinaryIO) -> int:
    """The bytes of the ID3 tag that the file begins with; 0 without one."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    a, b, c, d = (byte & 127 for byte in head[6:])
    footer = 10 if head[5] & 16 else 0
    return 10 + (a << 21 | b << 14 | c << 7 | d) + footer


def cut_to(path: Path, size: int, stated: int) -> InputError:
    return truncated(path, cut_words(f"{size} bytes", str(stated)))


def refuse_cut_aiff(path: Path, file: BinaryIO, start: int, size: int) -> None:
    """Raises InputError for an AIFF file that is cut, or holds more than it states."""
    position = start + 12
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack(">4sI", file.read(8))
        end = position + 8 + length
        if kind == b"SSND":
            if is_unknown(length):
                return
            if end > size:
                raise cut_to(path, size, end)
            if end < size and not holds_chunk(file, end, size, ">I"):
                raise InputError(
                    f"{path}: its header states {length} bytes of audio, it holds "
                    f"{size - position - 8}; write it again as WAV"
                )
            return
        position = end + length % 2


def refuse_cut_chunks(path: Path, file: BinaryIO, start: int, size: int, is_w64: bool) -> None:
    """Raises InputError for a Wave64 or CAF file whose samples are cut."""
    position = start + (40 if is_w64 else 8)
    named, form = (16, "<Q") if is_w64 else (4, ">Q")
    while position + named + 8 <= size:
        file.seek(position)
        kind = file.read(named)
        length = struct.unpack(form, file.read(8))[0]
        if is_w64:
            length -= named + 8
        end = position + named + 8 + length
        if kind[:4] == b"data":
            # Without a length, samples go on to the end of the file.
            if 0 < length < 1 << 62 and end > size:
                raise cut_to(path, size, end)
            return
        if length < 0 or length >= 1 << 62:
            return
        position = -(-end // 8) * 8 if is_w64 else end


def refuse_cut_ogg(path: Path, file: BinaryIO, size: int) -> None:
    """Raises InputError for an Ogg file (Vorbis, Opus) that does not end with the last page of the
    stream that it begins with."""
    begin = max(0, size - 2 * LARGEST_PAGE)
    file.seek(begin)
    data = file.read()
    place = data.rfind(b"OggS\0")
    page = data[place:] if place >= 0 else b""
    segments = page[26] if len(page) > 26 else 0
    length = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < 27 or len(page) < length or not page[5] & 4:
        raise truncated(path, "it does not end with the last page of its stream")
    file.seek(0)
    if file.read(18)[14:] != page[14:18]:
        raise InputError(
            f"{path}: several Ogg streams, of which the first alone would be read; write it again "
            "(ffmpeg -i OLD NEW.wav) or take it out of the folder"
        )


def refuse_impossible_flac(path: Path, file: BinaryIO, start: int, size: int) -> None:
    """Raises InputError for a FLAC file that states no length, or more than its bytes can hold.
    Decoding shows where one is cut."""
    file.seek(start + 8)
    block = file.read(18)
    if len(block) < 18:
        raise truncated(path, f"{size} bytes")
    largest = int.from_bytes(block[2:4], "big")
    samples = int.from_bytes(block[10:18], "big") & (1 << 36) - 1
    if samples == 0:
        raise InputError(
            f"{path}: its header states no length, as of a file that was written to a pipe; write "
            "it again (ffmpeg -i OLD NEW.flac) or take it out of the folder"
        )
    if samples > (size // SMALLEST_FLAC_FRAME + 1) * max(largest, 1):
        raise truncated(path, f"{size} bytes cannot hold the {samples} samples its header states")


def believed_samples(path: Path) -> int:
    """The samples per channel that libsndfile finds in a file; 0 where it cannot read it."""
    try:
        return int(soundfile.info(os.fsencode(path)).frames)
    except (soundfile.LibsndfileError, OSError):
        return 0
