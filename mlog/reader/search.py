"""Finding lines in a segment without parsing all of them.

The seam for whoever filters entries by text or time: `needle_of` says what bytes an
entry's line must hold, `candidate_lines` which lines hold them (the reader still parses
and judges these few), and `offset_of_time` where to begin. Memory is that of a block.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from mlog.reader.alive import is_time
from mlog.reader.blocks import open_segment, read_parts
from mlog.reader.follow import parse_line

__all__ = ["candidate_lines", "needle_of", "offset_of_time"]

_CHUNK = 1 << 18
_STAMP = b'{"ts":"'
_NEAR = 1 << 16
"""Bytes within which threads of a writer may have swapped entries."""

_MAX_LINE = 1 << 20


def needle_of(text: str) -> bytes | None:
    """Return the bytes that every line of mlog's has whose entry holds a text.

    None: there is no such thing (an empty text, or one that JSON cannot hold).
    """
    try:
        return orjson.dumps(text)[1:-1] or None
    except TypeError:  # half of a pair
        return None


def candidate_lines(
    path: Path,
    needle: bytes,
    start: int = 0,
    end: int | None = None,
    *,
    ignore_case: bool = False,
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a segment that hold some bytes, in order.

    Args:
        path: Of the segment; one that is not there has no lines.
        needle: Searched as it is, anywhere in a line; not empty, without a newline.
        start: Offset at which a line begins.
        end: Offset before which the last line ends. None: all there is.
        ignore_case: Whether capitals of ASCII count as small letters.

    Yields:
        Offset of the line, and the line without its newline.

    Raises:
        ValueError: The needle is empty or has a newline.
        OSError: The segment cannot be read.
    """
    if not needle or b"\n" in needle:
        raise ValueError(f"needle must be bytes without a newline, got {needle!r}")
    file = open_segment(path)
    if file is None:
        return
    wanted = needle.lower() if ignore_case else needle
    with file:
        for offset, part, size in read_parts(file, start, end, _CHUNK):
            searched = part.lower() if ignore_case else part
            at = searched.find(wanted, 0, size)
            while at >= 0:
                begin = part.rfind(b"\n", 0, at) + 1
                stop = part.index(b"\n", at)
                yield offset + begin, part[begin:stop]
                at = searched.find(wanted, stop + 1, size)


def offset_of_time(path: Path, ts: str) -> int:
    """Return where in a segment to begin for what was written from a time on.

    No entry of that time or later stands before, as far as the writer's clock went
    forward; some earlier ones may stand behind. Looks at a few lines only.

    Args:
        path: Of the segment; one that is not there begins at 0.
        ts: RFC 3339, UTC, with microseconds, as in the files.

    Raises:
        OSError: The segment cannot be read.
    """
    file = open_segment(path)
    if file is None:
        return 0
    with file:
        low, high = 0, os.fstat(file.fileno()).st_size
        while high - low > _NEAR:
            middle = (low + high) // 2
            found = _time_after(file, middle, high)
            if found is not None and found < ts:
                low = middle
            else:
                high = middle
        return _line_start(file, max(0, low - _NEAR))


def _time_after(file: BinaryIO, offset: int, end: int) -> str | None:
    """Return the time of the first entry that begins after an offset; None: none."""
    file.seek(offset)
    file.readline(_MAX_LINE)
    while file.tell() < end and (line := file.readline(_MAX_LINE)):
        if line.startswith(_STAMP):
            ts = line[len(_STAMP) : line.find(b'"', len(_STAMP))].decode(
                "ascii", "replace"
            )
            if is_time(ts):
                return ts
        entry = parse_line(line)
        if entry is not None and is_time(entry["ts"]):
            return str(entry["ts"])
    return None


def _line_start(file: BinaryIO, offset: int) -> int:
    """Return the beginning of the first line that begins at an offset or after."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    file.readline()
    return file.tell()
