"""How the other ranks of a run ended, read from their events segments."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mlog.folder import read_from
from mlog.layout import SegmentName, parse_segment
from mlog.run.identity import host_name

__all__ = ["end_in_container", "end_of_process", "fate_of_ranks"]

_TAIL = 65_536
_FATES = {
    "Failed": "failed",
    "Gone": "gone without an end",
    "Canceled": "canceled",
}


def fate_of_ranks(folder: Path, own: str) -> tuple[str, str]:
    """Return what a run ends as whose main process has completed, and why.

    That is Failed where another rank has failed or was killed, else Canceled where one
    was cancelled. Ranks that go on, or may do so on another host, have no say, nor have
    those of attempts that a launcher has started anew, nor other processes that joined
    the run (data loaders, tools).

    Args:
        folder: The run's. One that cannot be read tells of no failure.
        own: The name of the writer that asks.

    Returns:
        Status and reason: `("Failed", "failed: r1; gone without an end: r2")`;
        `("Completed", "")` where nothing is wrong.
    """
    found: dict[str, list[str]] = {fate: [] for fate in _FATES}
    for writer, names, start in _latest_ranks(folder, own):
        status = _end_status(folder, names)
        if status is None and _is_gone(folder, writer, start):
            status = _end_status(folder, names) or "Gone"  # it may just have ended
        if status in found:
            found[status].append(writer or "main writer")
    told = [f"{_FATES[k]}: {', '.join(sorted(v))}" for k, v in found.items() if v]
    if not told:
        return "Completed", ""
    return "Failed" if found["Failed"] or found["Gone"] else "Canceled", "; ".join(told)


def end_of_process(folder: Path, pid: int) -> dict[str, Any]:
    """Return what the `writer.end` of a process of this host says; {} without one.

    Args:
        folder: The run's.
        pid: The process; where several had that id, the first that is found.
    """
    for writer, names in _events_by_writer(folder).items():
        start = _start(folder, writer)
        if (start.get("pid"), start.get("host")) == (pid, host_name()):
            return _end(folder, names)
    return {}


def end_in_container(folder: Path, pid: int) -> dict[str, Any]:
    """Return what the `writer.end` of a script in a container says; {} without one.

    Host and id it has there are its own. It is the first process of its container that
    writes the run, so that no other one has a lower id.

    Args:
        folder: The run's.
        pid: The engine's client, which writes nothing.
    """
    found: dict[int, list[str]] = {}
    for writer, names in _events_by_writer(folder).items():
        start = _start(folder, writer)
        number, host = start.get("pid"), start.get("host")
        if isinstance(number, int) and (number, host) != (os.getpid(), host_name()):
            found.setdefault(number, names)
    return _end(folder, found[min(found)]) if found else {}


def _start(folder: Path, writer: str) -> dict[str, Any]:
    """Return what a writer's `writer.start` says; {} where it cannot be read."""
    path = folder / SegmentName("events", writer).filename
    return next(_data(path, "writer.start", from_end=False), {})


def _latest_ranks(
    folder: Path, own: str
) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Return the other ranks of the last attempt: name, segments, `writer.start`."""
    segments = _events_by_writer(folder)
    starts = {writer: _start(folder, writer) for writer in segments}
    attempts = {
        writer: _attempt(start)
        for writer, start in starts.items()
        if writer == own or start.get("rank") is not None
    }
    last = max(attempts.values(), default=1)
    return [
        (writer, segments[writer], starts[writer])
        for writer, attempt in attempts.items()
        if writer != own and attempt == last
    ]


def _attempt(start: dict[str, Any]) -> int:
    attempt = start.get("attempt")
    return attempt if isinstance(attempt, int) else 1


def _events_by_writer(folder: Path) -> dict[str, list[str]]:
    """Return the names of the segments with events of each writer."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    for name in names:
        segment = parse_segment(name)
        if segment is not None and segment.stream == "events":
            found.setdefault(segment.writer, []).append(name)
    return found


def _end(folder: Path, names: list[str]) -> dict[str, Any]:
    """Return what the last `writer.end` says in a writer's segments; {} without one."""
    for name in names:
        for end in _data(folder / name, "writer.end", from_end=True):
            return end
    return {}


def _end_status(folder: Path, names: list[str]) -> str | None:
    status = _end(folder, names).get("status")
    return status if isinstance(status, str) else None


def _is_gone(folder: Path, writer: str, start: dict[str, Any]) -> bool:
    """Whether a writer that has written no end is no more, for certain."""
    try:
        from mlog.reader.alive import is_gone  # seldom: a rank without an end
    except ImportError:  # the interpreter is being taken apart
        return False
    host, boot = str(start.get("host") or ""), str(start.get("boot") or "")
    return is_gone(folder, writer, host=host, boot=boot)


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
