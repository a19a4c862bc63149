"""The last errors of a run, with the lines around them.

Lines around an error are those of the same process: what others wrote at that time is
seldom its cause, and would need clocks that agree. `mlog.reader.around` has those. Of long logs the ends are looked at,
as bytes: only lines that are shown are parsed.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mlog.errors import MlogError
from mlog.layout import SegmentName, parse_segment
from mlog.reader.around import Then, metrics_at
from mlog.reader.blocks import lines_in
from mlog.reader.follow import parse_line

__all__ = ["ErrorLines", "last_errors", "last_lines"]

_MAX_LOG = 32 << 20  # bytes of logs, from their ends
_TAIL = 1 << 18
_MAX_METRICS = 1 << 20  # bytes of metrics in front of an error
_LEVELS = ("ERROR", "CRITICAL")
_WORDS = tuple(f'"level":"{level}"'.encode() for level in _LEVELS)
_QUOTES = 6  # before the level: ts, its value, seq


@dataclass(slots=True)
class ErrorLines:
    """One or more errors near to each other, and what was logged around them.

    Attributes:
        writer: Name of the process that logged them; "" is the main one.
        entries: In the order of the file.
        places: Which of the entries are the errors, rising; at least one.
        then: What the metrics were when the last error was logged.
    """

    writer: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    then: dict[str, Then] = field(default_factory=dict)

    @property
    def last(self) -> dict[str, Any]:
        """The newest of the errors."""
        return self.entries[self.places[-1]]


def last_errors(folder: Path, *, most: int = 5, around: int = 5) -> list[ErrorLines]:
    """Return the last errors of a run, the newest first, with the lines around them.

    Looks at the last 32 MB of the logs, and first at the files that changed last.

    Args:
        folder: The run's.
        most: How many errors at most of each process, and how many groups of errors.
        around: How many entries before and after each.
    """
    found: list[ErrorLines] = []
    left = _MAX_LOG
    for segment, status in _logs(folder):
        size = min(left, status.st_size)
        left -= size
        path = folder / segment.filename
        content = lines_in(path, status.st_size - size, size)
        found += _groups(content, segment.writer, most, around)
    found.sort(key=lambda one: str(one.last["ts"]), reverse=True)
    for one in found[:most]:
        with suppress(OSError, MlogError):  # the run is being removed
            one.then = metrics_at(
                folder, one.last, writer=one.writer, limit=_MAX_METRICS
            )
    return found[:most]


def last_lines(folder: Path, *, count: int = 10) -> list[dict[str, Any]]:
    """Return the last entries of the log that was written last, in their order.

    Args:
        folder: The run's.
        count: How many at most.
    """
    for segment, status in _logs(folder):
        start = max(0, status.st_size - _TAIL)
        content = lines_in(folder / segment.filename, start, _TAIL)
        entries = map(parse_line, content.splitlines()[-count:])
        found = [entry for entry in entries if entry is not None]
        if found:
            return found
    return []


def _logs(folder: Path) -> list[tuple[SegmentName, os.stat_result]]:
    """Return the segments of the logs, the last changed first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            segment = parse_segment(entry.name)
            if segment is not None and segment.stream == "logs":
                found.append((segment, entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda one: one[1].st_mtime_ns, reverse=True)


# --- lines ---------------------------------------------------------------------------


def _groups(
    content: bytes, writer: str, most: int, around: int
) -> Iterator[ErrorLines]:
    """Yield the last errors in some lines; those whose surroundings meet are one."""
    lines: list[int] = []
    for begin in _error_places(content)[-most:]:
        near = [*_before(content, begin, around), begin]
        near += _after(content, begin, around)
        if lines and near[0] > lines[-1]:
            yield from _parsed(content, lines, writer)
            lines = []
        lines += [place for place in near if not lines or place > lines[-1]]
    yield from _parsed(content, lines, writer)


def _parsed(content: bytes, lines: list[int], writer: str) -> Iterator[ErrorLines]:
    """Yield the entries that begin at some places as a group, if there is an error."""
    found = ErrorLines(writer)
    for begin in lines:
        entry = parse_line(content[begin : content.find(b"\n", begin)])
        if entry is None:
            continue
        if entry.get("level") in _LEVELS:
            found.places.append(len(found.entries))
        found.entries.append(entry)
    if found.places:
        yield found


def _error_places(content: bytes) -> list[int]:
    """Return where the lines of errors begin, rising.

    What looks like a level farther behind in a line is some field of the caller's.
    """
    found = []
    for word in _WORDS:
        place = content.find(word)
        while place >= 0:
            begin = content.rfind(b"\n", 0, place) + 1
            if content.count(b'"', begin, place) == _QUOTES:
                found.append(begin)
            place = content.find(word, place + 1)
    return sorted(found)


def _before(content: bytes, begin: int, count: int) -> list[int]:
    """Return where the lines in front of a line begin, rising."""
    found: list[int] = []
    while begin > 0 and len(found) < count:
        begin = content.rfind(b"\n", 0, begin - 1) + 1
        found.append(begin)
    return found[::-1]


def _after(content: bytes, begin: int, count: int) -> Iterator[int]:
    """Return where the lines behind a line begin."""
    return islice(_line_begins(content, begin), count)


def _line_begins(content: bytes, begin: int) -> Iterator[int]:
    while (begin := content.find(b"\n", begin) + 1) < len(content):
        yield begin
