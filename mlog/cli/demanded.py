"""What a run's state does not hold: read from its files when it is to be shown.

The step it is at, the curve of a metric, and how often something was wrong.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlog.folder import read_from
from mlog.layout import SegmentName, parse_segment
from mlog.reader.fields import whole_from
from mlog.reader.follow import parse_line
from mlog.reader.series import are_numbers, read_history
from mlog.reader.sparkline import sparkline
from mlog.reader.state import RunState

__all__ = ["CURVE_WIDTH", "count_trouble", "curve_of", "last_step"]

CURVE_WIDTH = 16
"""Columns that a curve takes at most."""

_TROUBLE = re.compile(
    rb'\n\{"ts":"[^"\n]*","seq":[0-9]+,"level":"(WARNING|ERROR|CRITICAL)"'
)
_TAIL = 1 << 13
_BLOCK = 1 << 20
_MAX_LINE = 1 << 20


def last_step(state: RunState) -> int | None:
    """Return the step in the end of the metrics that were written last, if any."""
    found = max(_segments(state.folder, "metrics"), default=None)
    if found is None:
        return None
    for line in reversed(_last_lines(found[1])):
        step = whole_from((parse_line(line) or {}).get("step"))
        if step is not None:
            return step
    return None


def _last_lines(path: Path) -> list[bytes]:
    """Return whole lines from the end of a file; none where it cannot be read."""
    try:
        with read_from(path) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL)
            file.seek(start)
            return file.read(size - start).split(b"\n")[bool(start) : -1]
    except OSError:
        return []


def curve_of(metric: str, state: RunState) -> str:
    """Draw the curve of a metric; "" where there is none."""
    values = read_history(state.folder, metric).values
    listed = values.tolist() if hasattr(values, "tolist") else values
    is_drawn = len(listed) > 1 and are_numbers(listed)
    return sparkline(listed, CURVE_WIDTH) if is_drawn else ""


def count_trouble(state: RunState) -> tuple[int, int]:
    """Count the lines of a run's logs that are warnings, and those that are errors.

    Raises:
        OSError: A log may not be read.
    """
    found: Counter[bytes] = Counter()
    for _, path in _segments(state.folder, "logs"):
        for block in _blocks(path):
            found.update(_TROUBLE.findall(block))
    return found[b"WARNING"], found[b"ERROR"] + found[b"CRITICAL"]


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file in blocks that begin with a newline and end before one."""
    rest = b"\n"
    try:
        with read_from(path) as file:
            while block := file.read(_BLOCK):
                whole, newline, torn = (rest + block).rpartition(b"\n")
                yield whole
                rest = newline + torn if len(torn) <= _MAX_LINE else b"\n"
    except FileNotFoundError:  # removed just now
        return


def _segments(folder: Path, stream: str) -> Iterator[tuple[int, Path]]:
    """Yield the segments of a stream, with the time of their last change in ns."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                segment = parse_segment(entry.name)
                if isinstance(segment, SegmentName) and segment.stream == stream:
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_mtime_ns, Path(entry.path)
    except OSError:  # removed just now
        return
