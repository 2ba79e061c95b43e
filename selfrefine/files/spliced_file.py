"""Reading a file as if it held other bytes: a mended header, then stretches of the file."""

import io
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

FilePart = bytes | tuple[int, int]
"""Bytes as they are, or the start and end of a stretch of the file."""


class SplicedFile(io.RawIOBase):
    """`pieces` of a file, one after the other, as a file to read. Raises OSError for a file that
    cannot be opened."""

    def __init__(self, path: Path, pieces: tuple[FilePart, ...]) -> None:
        super().__init__()
        self.file = path.open("rb")
        self.pieces = pieces
        lengths = [len(p) if isinstance(p, bytes) else p[1] - p[0] for p in pieces]
        self.ends = list(accumulate(lengths))
        self.position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.ends[-1]}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills `buffer` over the ends of pieces. Returns the number of bytes, which is smaller at
        the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self.position < self.ends[-1]:
            index = bisect_right(self.ends, self.position)
            piece, left = self.pieces[index], self.ends[index] - self.position
            wanted = min(left, len(view) - filled)
            if isinstance(piece, bytes):
                part = piece[len(piece) - left :][:wanted]
            else:
                self.file.seek(piece[1] - left)
                part = self.file.read(wanted)
            if not part:
                break
            view[filled : filled + len(part)] = part
            filled += len(part)
            self.position += len(part)
        return filled

    def close(self) -> None:
        self.file.close()
        super().close()
