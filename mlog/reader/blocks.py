"""Whole lines of a file, some at a time, and where in it they stand.

Invariants:

- What stood in the file when it was opened is read, up to its last newline; writers may
  go on meanwhile. Nothing is locked or written, and no link is followed.
- The beginning of a line that is too long for an entry is left out, so that the rest of
  it is none.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["BLOCK", "cut_lines", "read_lines", "read_parts"]

BLOCK = 1 << 15
"""Bytes of lines that are looked at together. The dicts of one block stay below the 700
objects that wake the garbage collector of Python up to 3.13, and in the cache."""

_CHUNK = 1 << 19
_MAX_LINE = 1 << 20


def read_lines(
    file: BinaryIO, start: int = 0, end: int | None = None, chunk: int = _CHUNK
) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, at least one at a time, and the offset at which they begin.

    The arguments are those of `read_parts`.

    Yields:
        Offset, and the lines with their newlines.
    """
    for offset, part, size in read_parts(file, start, end, chunk):
        yield offset, part if size == len(part) else part[:size]


def read_parts(
    file: BinaryIO, start: int = 0, end: int | None = None, chunk: int = _CHUNK
) -> Iterator[tuple[int, bytes, int]]:
    """Yield parts of a segment that begin with whole lines, without a copy of these.

    Args:
        file: Of a segment.
        start: Offset at which a line begins.
        end: Offset up to which it is read. None: all there is at the first look.
        chunk: About how many bytes at a time.

    Yields:
        Offset of the part, the part, and the size of the whole lines in it.
    """
    stop = os.fstat(file.fileno()).st_size if end is None else end
    length = chunk
    file.seek(start)
    while start < stop and (part := file.read(min(length, stop - start))):
        whole = part.rfind(b"\n") + 1
        if whole:
            yield start, part, whole
            start, length = start + whole, chunk
        elif length < _MAX_LINE:
            length = _MAX_LINE
        else:
            start += len(part)
        file.seek(start)


def cut_lines(lines: bytes, size: int = BLOCK) -> Iterator[bytes]:
    """Yield lines in pieces of about a size, each without its last newline.

    Args:
        lines: Whole ones, with their newlines.
    """
    start, end = 0, len(lines)
    while start < end:
        stop = lines.rfind(b"\n", start, start + size)
        if stop < 0:
            stop = lines.index(b"\n", start)
        yield lines[start:stop]
        start = stop + 1
