"""The events of a run, by the writers that wrote them, and in one order.

Invariants:

- Whatever the files hold, reading does not fail: a line or a file that is not as it
  should be counts as not there.
- Nothing is written and no link below the run's folder is followed.
- Inside a writer the order is that of `seq`, between writers that of the running
  maximum of `ts`.

Source of the events: the README, "File format".
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from mlog.errors import RunNotFoundError
from mlog.folder import read_from
from mlog.layout import SegmentName, parse_segment
from mlog.reader.alive import is_time, last_time
from mlog.reader.fields import whole_from
from mlog.reader.follow import parse_line

__all__ = ["WriterEvents", "first_time", "in_order", "read_writers"]

_MAIN = re.compile(r"(a[1-9][0-9]*)?")
_BEAT = b'"event":"run.heartbeat","data":{}}'
_BLOCK = 1 << 20
_MAX_LINE = 1 << 20

_TOO_LONG = b"?"
"""Stands for the beginning of a line that is too long for an entry; no JSON does so."""


@dataclass(slots=True)
class WriterEvents:
    """What one writer says.

    Attributes:
        name: As in its file names.
        events: Its events by `seq`, without heartbeats.
        seen: Time of its last entry in any stream, or "".
        facts: What its `writer.start` says; {} where that cannot be read.
        end: Its `writer.end`; None while there is none.
        main: Whether it is one that begins and ends attempts.
    """

    name: str
    events: list[dict[str, Any]]
    seen: str
    facts: dict[str, Any] = field(init=False)
    end: dict[str, Any] | None = field(init=False)
    main: bool = field(init=False)

    def __post_init__(self) -> None:
        """Look up what the events say of the writer itself."""
        last = {event["event"]: event for event in self.events}
        start = last.get("writer.start")
        self.facts = start["data"] | {"ts": start["ts"]} if start else {}
        self.end = last.get("writer.end")
        # The name of a main writer has random digits where its own was taken.
        is_named = _MAIN.fullmatch(self.name) is not None
        self.main = is_named or "run.start" in last

    @property
    def attempt(self) -> int:
        """Which go at the run it belongs to."""
        return whole_from(self.facts.get("attempt")) or 1


def read_writers(folder: Path) -> list[WriterEvents]:
    """Read the events of all writers of a run, by their names.

    Raises:
        RunNotFoundError: There is no such folder, or no run in it.
        OSError: The folder may not be read.
    """
    found = sorted(_segments(folder).items())
    return [_read_writer(folder, name, segments) for name, segments in found]


def in_order(
    writers: list[WriterEvents],
) -> Iterator[tuple[WriterEvents, dict[str, Any]]]:
    """Yield all events, by `seq` in a writer, by the running maximum of `ts` between."""
    dated: list[tuple[str, WriterEvents, dict[str, Any]]] = []
    for writer in writers:
        so_far = ""
        for event in writer.events:
            so_far = max(so_far, event["ts"])
            dated.append((so_far, writer, event))
    dated.sort(key=itemgetter(0))
    return ((writer, event) for _, writer, event in dated)


def first_time(writers: list[WriterEvents]) -> str:
    """Return the time of the first event, or ""."""
    return min((e["ts"] for w in writers for e in w.events[:1]), default="")


# --- files ---------------------------------------------------------------------------


def _segments(folder: Path) -> dict[str, list[SegmentName]]:
    """Return the segments of each writer, and none for a run that has only `run.json`.

    Raises:
        RunNotFoundError: It is the folder of no run.
    """
    found: dict[str, list[SegmentName]] = {}
    is_run = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                segment = parse_segment(entry.name)
                if segment is None and entry.name != "run.json":
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                is_run = True
                if segment is not None:
                    found.setdefault(segment.writer, []).append(segment)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise RunNotFoundError(f"no run in {folder}: there is no such folder") from exc
    if not is_run:
        raise RunNotFoundError(
            f"no run in {folder}: it has neither a run.json nor a segment like "
            "events.jsonl; a run's folder is <root>/<experiment>/<run id>"
        )
    return found


def _read_writer(folder: Path, name: str, segments: list[SegmentName]) -> WriterEvents:
    """Read the events of one writer, and of its other streams only the last time."""
    segments = sorted(segments, key=lambda segment: segment.number)
    newest = {segment.stream: segment for segment in segments}
    seen = [
        last_time(folder / segment.filename)
        for stream, segment in newest.items()
        if stream != "events"
    ]
    events: list[dict[str, Any]] = []
    for segment in segments:
        if segment.stream == "events":
            more, last = _read_events(folder / segment.filename)
            events += more
            seen.append(last)
    events.sort(key=itemgetter("seq"))
    return WriterEvents(name, events, max(seen, default=""))


def _read_events(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the events of a segment without heartbeats, and the last time in it."""
    events: list[dict[str, Any]] = []
    beat = b""
    try:
        for line in _whole_lines(path):
            if line.endswith(_BEAT):  # most lines of a long run; only the last tells
                beat = line
            elif (event := _event(line)) is not None:
                events.append(event)
    except OSError:  # not for us to read, or a disk that fails
        pass
    last = _event(beat)
    return events, max((e["ts"] for e in (*events, last) if e is not None), default="")


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line, with `data` in any case; None where there is none."""
    entry = parse_line(line)
    if entry is None or not isinstance(entry.get("event"), str):
        return None
    if not isinstance(entry.get("data"), dict):
        entry["data"] = {}
    return entry if is_time(entry["ts"]) else None


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, without newlines; the last only if it has one."""
    rest = b""
    with read_from(path) as file:
        while block := file.read(_BLOCK):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > _MAX_LINE:
                rest = _TOO_LONG
            yield from lines
