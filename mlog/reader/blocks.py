"""Whole lines of a segment, some at a time: forwards, or backwards from the end.

Invariants:

- What stood in the file when it was looked at is read, up to its last newline; writers
  may go on meanwhile. Nothing is locked or written, and no link is followed.
- The beginning of a line that is too long for an entry is left out, so that the rest of
  it is none.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mlog.folder import read_from

__all__ = [
    "BLOCK",
    "MAX_LINE",
    "MayFit",
    "Read",
    "blocks_before",
    "cut_lines",
    "lines_in",
    "open_segment",
    "read_lines",
    "read_part",
    "read_parts",
    "reader_of",
]

Read: TypeAlias = Callable[[int, int], bytes]
"""Reads from an offset a number of bytes; fewer where there are not so many."""

MayFit: TypeAlias = Callable[[bytes], bool]
"""Says of some bytes whether a line that is looked for may be in them."""

BLOCK = 1 << 15
"""Bytes of lines that are looked at together. The dicts of one block stay below the 700
objects that wake the garbage collector of Python up to 3.13, and in the cache: twice as
fast as 64 KiB for short lines."""

MAX_LINE = 1 << 20
"""No entry is longer."""

_CHUNK = 1 << 19
_FIRST_BLOCK, _LAST_BLOCK = 1 << 15, 1 << 20

# Not there, a link, no regular file.
_NO_SEGMENT = (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO)

_TOO_LONG = b"?"
"""Stands for the end of a line that is too long for an entry; no JSON ends so."""


# --- files ---------------------------------------------------------------------------


def open_segment(path: Path) -> BinaryIO | None:
    """Open a segment; None where there is none, or where it is no regular file.

    Raises:
        OSError: It may not be read.
    """
    try:
        return read_from(path)
    except OSError as exc:
        if exc.errno in _NO_SEGMENT:
            return None
        raise


def reader_of(file: BinaryIO) -> tuple[Read, int]:
    """Return what reads parts of an open segment, and how long that is now."""

    def read(start: int, length: int) -> bytes:
        file.seek(start)
        return file.read(length)

    return read, os.fstat(file.fileno()).st_size


def read_part(path: Path, inode: int, start: int, length: int) -> bytes:
    """Read a part of a segment that is open meanwhile only: a run may have many.

    Args:
        path: Of the segment.
        inode: By which it is known; of another file of that name nothing is read.
        start: Offset.
        length: How many bytes; fewer where there are not so many.

    Raises:
        OSError: It may not be read.
    """
    file = open_segment(path)
    if file is None:
        return b""
    with file:
        if os.fstat(file.fileno()).st_ino != inode:
            return b""
        file.seek(start)
        return file.read(length)


# --- forwards ------------------------------------------------------------------------


def read_lines(
    read: Read, start: int, end: int, chunk: int = _CHUNK
) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, at least one at a time, and the offset at which they begin.

    The arguments are those of `read_parts`.

    Yields:
        Offset, and the lines with their newlines.
    """
    for offset, part, size in read_parts(read, start, end, chunk):
        yield offset, part if size == len(part) else part[:size]


def read_parts(
    read: Read, start: int, end: int, chunk: int = _CHUNK
) -> Iterator[tuple[int, bytes, int]]:
    """Yield parts of a segment that begin with whole lines, without a copy of these.

    Args:
        read: Reads a part of the segment.
        start: Offset at which a line begins.
        end: Offset up to which it is read.
        chunk: About how many bytes at a time.

    Yields:
        Offset of the part, the part, and the size of the whole lines in it.
    """
    length = chunk
    while start < end and (part := read(start, min(length, end - start))):
        whole = part.rfind(b"\n") + 1
        if whole:
            yield start, part, whole
            start, length = start + whole, chunk
        elif length < MAX_LINE:
            length = MAX_LINE
        else:
            start += len(part)


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


# --- backwards, and anywhere ---------------------------------------------------------


def blocks_before(
    read: Read,
    end: int,
    size: int = _FIRST_BLOCK,
    *,
    may_fit: MayFit | None = None,
) -> Iterator[bytes]:
    """Yield the lines in front of an offset, some at a time, the last first.

    Each time is without its last newline. In the place of a line that is too long for
    an entry stands something that is none.

    Args:
        read: Reads a part of the segment.
        end: Where a line begins, or the file ends.
        size: How much to read first; then twice as much each time.
        may_fit: Lines are left out where it says no to them, and to those beside them.
    """
    start, rest = end - 1, b""  # the last newline is left out
    while start > 0:
        stop, start = start, max(0, start - size)
        size = min(2 * size, _LAST_BLOCK)
        block = read(start, stop - start)
        if len(block) < stop - start:  # removed, or cut by somebody
            return
        begin = block.find(b"\n") + 1
        if begin and may_fit is not None and not may_fit(block):
            place = block.rfind(b"\n") + 1
            last = block[place:] + rest
            rest = block[: begin - 1]
            if may_fit(last):
                yield last
        else:
            rest, newline, lines = (block + rest).partition(b"\n")
            if newline:
                yield lines
        if len(rest) > MAX_LINE:
            rest = _TOO_LONG
    if end:
        yield rest


def lines_in(path: Path, start: int, size: int) -> bytes:
    """Return the whole lines of a part of a file; b"" where it cannot be read.

    Args:
        path: A segment; a link is not followed.
        start: Where to begin; unless that is 0, behind the next newline.
        size: How much to read.
    """
    try:
        with read_from(path) as file:
            file.seek(start)
            content = file.read(size)
    except OSError:
        return b""
    begin = content.find(b"\n") + 1 if start else 0
    return content[begin : content.rfind(b"\n") + 1]
