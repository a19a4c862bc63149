"""How the other writers of a run ended, read from the ends of their events segments."""

import os
from pathlib import Path

import orjson

from mlog.layout import parse_segment

__all__ = ["failed_writers"]

_TAIL = 65_536


def failed_writers(folder: Path, own: str) -> list[str]:
    """Return the names of the other writers that have ended as Failed."""
    failed = []
    for name in sorted(os.listdir(folder)):
        segment = parse_segment(name)
        if segment is None or segment.stream != "events" or segment.writer == own:
            continue
        if _last_status(folder / name) == "Failed":
            failed.append(segment.writer or "main writer")
    return failed


def _last_status(path: Path) -> str | None:
    """Return the status of the last `writer.end` near the end of a segment."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        if b'"writer.end"' not in line:
            continue
        try:
            return str(orjson.loads(line)["data"]["status"])
        except (ValueError, KeyError, TypeError):
            continue
    return None
