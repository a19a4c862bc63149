"""Going to a place in a segment without reading what is in front of it.

Numbers (`seq`) and times rise through a segment, but for neighbours that threads have
swapped; so a place is found by halving. What is around it is read as far as a block
reaches. A time is found likewise; where a clock was set back, one of its times is.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from mlog.layout import SegmentName
from mlog.reader.blocks import (
    MAX_LINE,
    Read,
    blocks_before,
    open_segment,
    read_lines,
    reader_of,
)
from mlog.reader.follow import Found, parse_line
from mlog.reader.times import seconds_of

__all__ = ["entries_by_seq", "entries_by_time", "older_by_seq", "older_by_time"]

_Key: TypeAlias = Callable[[dict[str, Any]], float | None]

_SLACK = 1 << 15
"""How far entries may be from their place; threads swap neighbours."""

_PROBE = 1 << 13
_CHUNK = 1 << 16


def entries_by_seq(
    folder: Path, segments: Iterable[SegmentName], first: int, last: float
) -> list[Found]:
    """Return the entries of one writer's stream from a number to another, in order.

    Args:
        folder: The run's.
        segments: Of the stream.
        first, last: Both included; the last may be `math.inf`.
    """
    found = [one for s in segments for one in _between(folder, s, _seq, first, last)]
    found.sort(key=lambda one: _seq(one.entry))
    return found


def entries_by_time(
    folder: Path, segments: Iterable[SegmentName], begin: float, end: float
) -> list[Found]:
    """Return the entries of one writer's stream from a time to another, by number.

    Args:
        folder: The run's.
        segments: Of the stream.
        begin, end: Seconds since the epoch, by the writer's clock; both included.
    """
    found = [one for s in segments for one in _between(folder, s, _time, begin, end)]
    found.sort(key=lambda one: _seq(one.entry))
    return found


def older_by_seq(
    folder: Path, segments: Iterable[SegmentName], seq: int, *, limit: int
) -> Iterator[Found]:
    """Yield the entries of one writer's stream up to a number, the newest first.

    Args:
        folder: The run's.
        segments: Of the stream.
        seq: Included.
        limit: How many bytes to read about, in all.
    """
    return _older(folder, segments, _seq, seq, limit)


def older_by_time(
    folder: Path, segments: Iterable[SegmentName], time: float, *, limit: int
) -> Iterator[Found]:
    """Yield the entries of one writer's stream up to a time, the newest first."""
    return _older(folder, segments, _time, time, limit)


def _older(
    folder: Path, segments: Iterable[SegmentName], key: _Key, last: float, limit: int
) -> Iterator[Found]:
    for segment in sorted(segments, key=lambda s: s.number, reverse=True):
        file = open_segment(folder / segment.filename)
        if file is None:
            continue
        with file:
            read, size = reader_of(file)
            # What threads have swapped stands up to a block behind its place.
            end = min(_place_behind(read, size, key, last) + 2 * _SLACK, size)
            end = _line_before(read, end)
            for block in blocks_before(read, end):
                yield from _up_to(folder, segment, block, key, last)
                limit -= len(block)
                if limit < 0:
                    return


def _up_to(
    folder: Path, segment: SegmentName, block: bytes, key: _Key, last: float
) -> list[Found]:
    """Return the entries of some lines whose key is not behind a value, newest first."""
    found = []
    for line in block.split(b"\n"):
        entry = parse_line(line)
        own = key(entry) if entry is not None else None
        if entry is not None and own is not None and own <= last:
            found.append(Found(entry, line, segment, folder))
    return sorted(found, key=lambda one: -_seq(one.entry))


# --- halving -------------------------------------------------------------------------


def _between(
    folder: Path, segment: SegmentName, key: _Key, first: float, last: float
) -> Iterator[Found]:
    """Yield the entries of a segment whose key lies between two values."""
    file = open_segment(folder / segment.filename)
    if file is None:
        return
    with file:
        read, size = reader_of(file)
        begin = _place(read, size, key, first)
        begin = _line_before(read, max(0, begin - _SLACK))
        beyond = 0  # bytes since the last entry that was not behind the end
        for _, line in _lines(read, begin, size):
            entry = parse_line(line)
            own = key(entry) if entry is not None else None
            if entry is not None and own is not None and own <= last:
                beyond = 0
                if own >= first:
                    yield Found(entry, line, segment, folder)
                continue
            beyond += len(line) + 1
            if beyond > _SLACK and own is not None:
                return


def _place(read: Read, size: int, key: _Key, value: float) -> int:
    """Return where a line begins in front of which all keys are less than a value."""
    low, high = 0, size
    while high - low > _PROBE:
        middle = (low + high) // 2
        start, own = _first_key(read, middle, high, key)
        if own is None or own >= value:
            high = middle
        else:
            low = start
    return low


def _place_behind(read: Read, size: int, key: _Key, value: float) -> int:
    """Return where the first line begins whose key is greater than a value."""
    place = _place(read, size, key, value)
    for end, line in _lines(read, place, size):
        entry = parse_line(line)
        own = key(entry) if entry is not None else None
        if own is not None and own > value:
            return place
        place = end
    return size


def _first_key(read: Read, start: int, end: int, key: _Key) -> tuple[int, float | None]:
    """Return where the next line with a key begins, and the key; None: there is none."""
    length = _PROBE
    while True:
        block = read(start, min(length, end - start))
        place = block.find(b"\n") + 1
        while place and (stop := block.find(b"\n", place)) >= 0:
            entry = parse_line(block[place:stop])
            own = key(entry) if entry is not None else None
            if own is not None:
                return start + place, own
            place = stop + 1
        if len(block) < length or length > 2 * MAX_LINE:
            return start, None
        length *= 8


def _seq(entry: dict[str, Any]) -> int:
    seq: int = entry["seq"]
    return seq


def _time(entry: dict[str, Any]) -> float | None:
    return seconds_of(entry["ts"])


# --- lines ---------------------------------------------------------------------------


def _line_before(read: Read, offset: int) -> int:
    """Return where a line begins, at or behind an offset."""
    if offset == 0:
        return 0
    block = read(offset - 1, MAX_LINE + 1)
    return offset + block.find(b"\n") if b"\n" in block else offset


def _lines(read: Read, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a part of a file: where each ends, and its content."""
    for place, lines in read_lines(read, start, end, _CHUNK):
        for line in lines[:-1].split(b"\n"):
            place += len(line) + 1
            yield place, line
