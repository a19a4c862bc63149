"""The last errors of a run's logs, found from the ends of the files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mlog.folder import read_from
from mlog.layout import parse_segment
from mlog.reader.fields import text_from
from mlog.reader.follow import parse_line

__all__ = ["MAX_LOG", "LogErrors", "read_errors"]

MAX_LOG = 64 << 20
"""Bytes of logs that are read."""

_LAST_ERRORS = 3
_BLOCK = 1 << 20
_ERRORS = (b'"level":"ERROR"', b'"level":"CRITICAL"')


@dataclass(frozen=True, slots=True)
class LogErrors:
    """The last errors of a run's logs.

    Attributes:
        entries: As they were written, the oldest first.
        is_part: Whether the logs were too long to be read to their beginnings.
    """

    entries: list[dict[str, Any]]
    is_part: bool


def read_errors(folder: Path) -> LogErrors:
    """Find the last errors, from the ends of the logs."""
    found: list[dict[str, Any]] = []
    left, is_part = MAX_LOG, False
    for path, size in _logs(folder):
        read = min(left, size)
        errors = list(islice(_errors_from_end(path, size, read), _LAST_ERRORS))
        found += reversed(errors)
        left -= read
        is_part |= read < size and len(errors) < _LAST_ERRORS
    found.sort(key=lambda entry: text_from(entry.get("ts")))
    return LogErrors(found[-_LAST_ERRORS:], is_part)


def _logs(folder: Path) -> list[tuple[Path, int]]:
    """Return the log files of a run and their sizes, the last changed first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            segment = parse_segment(entry.name)
            if segment is not None and segment.stream == "logs":
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime_ns, Path(entry.path), status.st_size))
    return [(path, size) for _, path, size in sorted(found, reverse=True)]


def _errors_from_end(path: Path, size: int, most: int) -> Iterator[dict[str, Any]]:
    """Yield the errors in the last bytes of a file, the newest first."""
    rest = b""  # the end of a line whose beginning lies in the block before
    end, first = size, size - most
    try:
        with read_from(path) as file:
            while end > first:
                start = max(first, end - _BLOCK)
                file.seek(start)
                block = file.read(end - start) + rest
                cut = (block.find(b"\n") + 1 or len(block)) if start else 0
                yield from _errors_in(block[cut:])
                rest, end = block[:cut], start
    except OSError:  # not for us to read, or removed just now
        return


def _errors_in(lines: bytes) -> Iterator[dict[str, Any]]:
    """Yield the errors among whole lines, the last first.

    The level is the third key of an entry; what looks the same farther behind is some
    field of the caller's.
    """
    places = chain.from_iterable(_places(lines, level) for level in _ERRORS)
    for place in sorted(places, reverse=True):
        begin = lines.rfind(b"\n", 0, place) + 1
        end = lines.find(b"\n", place)
        if end < 0 or lines.count(b'"', begin, place) != 6:  # ts, its value, seq
            continue
        entry = parse_line(lines[begin:end])
        if entry is not None:
            yield entry


def _places(content: bytes, word: bytes) -> Iterator[int]:
    place = content.find(word)
    while place >= 0:
        yield place
        place = content.find(word, place + 1)
