"""How the other ranks of a run ended, read from their events segments."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mlog.folder import read_from
from mlog.layout import SegmentName, parse_segment
from mlog.run.identity import host_name

__all__ = ["end_in_container", "end_of_process", "failed_writers"]

_TAIL = 65_536


def failed_writers(folder: Path, own: str) -> list[str]:
    """Return the names of the other ranks that ended as Failed in the same attempt.

    Other processes that joined the run (data loaders, tools) may fail on their own.

    Args:
        folder: The run's. One that cannot be read tells of no failure.
        own: The name of the writer that asks.
    """
    attempt = _start(folder, own).get("attempt")
    failed = set()
    for name in _names(folder):
        segment = parse_segment(name)
        if segment is None or segment.stream != "events" or segment.writer == own:
            continue
        if _last_status(folder / name) != "Failed":
            continue
        start = _start(folder, segment.writer)
        if start.get("attempt") == attempt and start.get("rank") is not None:
            failed.add(segment.writer)
    return [writer or "main writer" for writer in sorted(failed)]


def end_of_process(folder: Path, pid: int) -> dict[str, Any]:
    """Return what the `writer.end` of a process of this host says; {} without one.

    Args:
        folder: The run's.
        pid: The process; where several had that id, the first that is found.
    """
    for name in _names(folder):
        segment = parse_segment(name)
        if segment is None or segment.stream != "events":
            continue
        start = _start(folder, segment.writer)
        if (start.get("pid"), start.get("host")) == (pid, host_name()):
            return next(_data(folder / name, "writer.end", from_end=True), {})
    return {}


def end_in_container(folder: Path, pid: int) -> dict[str, Any]:
    """Return what the `writer.end` of a script in a container says; {} without one.

    Host and id it has there are its own. It is the first process of its container that
    writes the run, so that no other one has a lower id.

    Args:
        folder: The run's.
        pid: The engine's client, which writes nothing.
    """
    found: dict[int, str] = {}
    for name in _names(folder):
        segment = parse_segment(name)
        if segment is None or segment.stream != "events":
            continue
        start = _start(folder, segment.writer)
        number, host = start.get("pid"), start.get("host")
        if isinstance(number, int) and (number, host) != (os.getpid(), host_name()):
            found.setdefault(number, name)
    if not found:
        return {}
    return next(_data(folder / found[min(found)], "writer.end", from_end=True), {})


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _start(folder: Path, writer: str) -> dict[str, Any]:
    """Return what a writer's `writer.start` says; {} where it cannot be read."""
    path = folder / SegmentName("events", writer).filename
    return next(_data(path, "writer.start", from_end=False), {})


def _last_status(path: Path) -> object:
    """Return the status of the last `writer.end` near the end of a segment."""
    return next(_data(path, "writer.end", from_end=True), {}).get("status")


def _data(path: Path, event: str, *, from_end: bool) -> Iterator[dict[str, Any]]:
    """Yield the data of events of one name in one end of a file, outermost first."""
    try:
        with read_from(path) as file:
            if from_end:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).split(b"\n")[:-1]
    except OSError:
        return
    for line in reversed(lines) if from_end else lines:
        try:
            entry = orjson.loads(line)
            if entry["event"] == event and isinstance(entry["data"], dict):
                yield entry["data"]
        except (ValueError, KeyError, TypeError):  # torn, or nothing of ours
            continue
