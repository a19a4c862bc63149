"""Why a run must not be removed: it is live, or not all of it is known to be sent."""

import os
from pathlib import Path
from typing import Any

import orjson

from mlog.folder import read_from
from mlog.layout import parse_segment
from mlog.reader.alive import SILENCE, is_alive
from mlog.reader.events import read_writers
from mlog.reader.state import RunState

__all__ = ["why_protected"]

_LIVE = frozenset(
    "NotStarted Queued Preparing Running CancelRequested Finalizing".split()
)
_MAX_CURSOR = 1 << 20


def why_protected(state: RunState) -> str:
    """Return why nobody should remove a run; "" where there is no reason."""
    return _why_live(state) or _why_unsent(state.folder)


def _why_live(state: RunState) -> str:
    """Return by what a run is seen to be live."""
    alive = [writer for writer in state.writers if writer.alive]
    if alive:
        writer = alive[0]
        where = f"process {writer.pid} on {writer.host}" if writer.pid else "a process"
        return f"{where} still writes it"
    goes_on = state.ended is None and state.status != "NotResponding"
    if goes_on or state.status in _LIVE:
        return f"it is {state.status}"
    known = {writer.name for writer in state.writers}
    for other in read_writers(state.folder):
        if other.name not in known and _may_live(state, other.name, other.seen):
            return "somebody may be writing it; try again in some minutes"
    return ""


def _may_live(state: RunState, writer: str, seen: str) -> bool:
    """Whether a writer may be alive of which no start can be read."""
    if seen:
        place = {"host": "", "boot": "", "seen": seen}
        return is_alive(state.folder, writer, now=state.read_at, **place)
    # One that is just beginning; a look at its lock could keep it from getting that.
    return state.read_at - _newest_change(state.folder) < SILENCE


def _newest_change(folder: Path) -> float:
    """Return when anything directly in a folder was changed last."""
    with os.scandir(folder) as found:
        times = [entry.stat(follow_symlinks=False).st_mtime for entry in found]
    return max(times, default=0.0)


def _why_unsent(folder: Path) -> str:
    """Return why a run is not known to be sent as a whole; "" where it need not be."""
    place = folder / ".ship"
    if place.is_symlink():
        return "nobody can tell whether it was sent: .ship is a link"
    try:
        names = sorted(os.listdir(place))
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f"nobody can tell whether it was sent: .ship: {exc.strerror}"
    for name in names:
        if name.endswith(".dead.jsonl") and (place / name).lstat().st_size:
            return f"entries of it were refused: see .ship/{name}"
    cursors = [name for name in names if name.endswith(".json")]
    if not cursors:
        return "nobody can tell whether it was sent: .ship has no cursor"
    sizes = _segment_sizes(folder)
    return next(filter(None, (_why_behind(place, name, sizes) for name in cursors)), "")


def _segment_sizes(folder: Path) -> dict[str, int]:
    names = [name for name in os.listdir(folder) if parse_segment(name) is not None]
    return {name: (folder / name).lstat().st_size for name in names}


def _why_behind(place: Path, name: str, sizes: dict[str, int]) -> str:
    """Return why a cursor does not say that all was sent.

    It says so only if it names every segment with its whole size: as
    `{"logs.jsonl": 120, …}` or `{"logs.jsonl": {"offset": 120}, …}`, on top or in
    `segments`. A half line behind the offset, that nobody will complete, is `torn`.
    """
    try:
        with read_from(place / name) as file:
            found = orjson.loads(file.read(_MAX_CURSOR))
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict) and isinstance(found.get("segments"), dict):
        found = found["segments"]
    offsets = _offsets(found) if isinstance(found, dict) else {}
    if not offsets:
        return f"nobody can tell whether it was sent: .ship/{name} is not understood"
    if offsets.items() >= sizes.items():
        return ""
    return f"not all of it was sent: .ship/{name}"


def _offsets(found: dict[str, Any]) -> dict[str, Any]:
    """Return the offset of each segment that a cursor names."""
    return {
        name: _offset(value) if isinstance(value, dict) else value
        for name, value in found.items()
        if parse_segment(name) is not None
    }


def _offset(position: dict[str, Any]) -> Any:
    offset, torn = position.get("offset"), position.get("torn", 0)
    whole = isinstance(offset, int) and isinstance(torn, int)
    return offset + torn if whole else offset
