"""Who wrote an entry: facts of a writer, from its first event, else from its name."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from mlog.folder import read_from
from mlog.layout import SegmentName
from mlog.reader.fields import text_from, whole_from
from mlog.reader.follow import parse_line

__all__ = ["Source", "read_source"]

_FIRST_LINE = 1 << 16
_RANK = re.compile(r"r(\d{1,9})(?:-a\d+)?(?:-[0-9a-f]{4})?", re.ASCII)
_ATTEMPT = re.compile(r"(?:.*-)?a(\d{1,9})(?:-[0-9a-f]{4})?", re.ASCII)


class Source(NamedTuple):
    """One process of a run in one attempt.

    Attributes:
        writer: As in its files; empty for the main process of the first attempt.
        attempt: From 1.
        rank: None for a process that is no rank.
        host: Name of its machine; "" where nothing says so.
        boot: Tells a machine from another of the same name; may be "".
        since: Time of its first event; "" without one.
    """

    writer: str = ""
    attempt: int = 1
    rank: int | None = None
    host: str = ""
    boot: str = ""
    since: str = ""


def read_source(folder: Path, writer: str) -> Source:
    """Return who a writer of a run is."""
    entry = _first_event(folder / SegmentName("events", writer).filename)
    facts = entry.get("data", {})
    attempt, rank = facts.get("attempt"), facts.get("rank")
    if type(attempt) is not int:
        match = _ATTEMPT.fullmatch(writer)
        attempt = int(match[1]) if match else 1
    if whole_from(rank) is None:
        match = _RANK.fullmatch(writer) if not facts else None
        rank = int(match[1]) if match else None
    host, boot = text_from(facts.get("host")), text_from(facts.get("boot"))
    return Source(writer, attempt, rank, host, boot, entry.get("ts", ""))


def _first_event(path: Path) -> dict[str, Any]:
    """Return a segment's `writer.start`; {} where there is none."""
    try:
        with read_from(path) as file:
            line, newline, _ = file.read(_FIRST_LINE).partition(b"\n")
    except OSError:
        return {}
    entry = parse_line(line) if newline else None
    if entry is None or entry.get("event") != "writer.start":
        return {}
    return entry if isinstance(entry.get("data"), dict) else {}
