"""Whether somebody still writes a run: by a lock that dies with its holder, or by time.

A writer holds `.lock[-<writer>]` from before its `writer.start` until after its
`writer.end`, and the kernel lets go of it when the process dies. So the same kernel
tells a dead writer from a live one at once. On another host, or where the file system
has no locks, what counts is the last sign of life: a `run.heartbeat` comes every 60 s.

Invariants:

- Nothing is made or changed; the lock file is opened for reading, links are not
  followed.
- Only a writer of which an entry was read may be looked at. A look takes the lock for
  a moment, shared; a writer that is just beginning could not get it, and would go
  without.
"""

import os
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from mlog.folder import read_from
from mlog.layout import lock_name
from mlog.reader.follow import parse_line

__all__ = ["SILENCE", "is_alive", "is_gone", "is_time", "last_time", "seconds_of"]

SILENCE = 180.0
"""Seconds without a sign of life after which a writer elsewhere counts as dead."""

_Lock: TypeAlias = Literal["held", "free", "unknown"]

_TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
_TAILS = (1 << 13, 1 << 21)  # most last lines are short; the longest has 1 MiB
_MAX_TRIED = 50


def is_alive(
    folder: Path, writer: str, *, host: str, boot: str, seen: str, now: float
) -> bool:
    """Whether a writer that has not said goodbye is still there.

    Args:
        folder: The run's.
        writer: Its name; an entry of it must have been read.
        host, boot: Where it runs, as `writer.start` says; "" where it does not.
        seen: Time of its last entry, RFC 3339.
        now: Seconds since the epoch.
    """
    lock = _look_at(folder / lock_name(writer))
    if lock == "held":
        return True
    if lock == "free" and _is_here(host, boot):
        return False
    last = seconds_of(seen)
    return last is not None and now - last < SILENCE


def is_gone(folder: Path, writer: str, *, host: str, boot: str) -> bool:
    """Whether it is sure that a writer is no more: for what is not to be guessed.

    Args:
        folder, writer, host, boot: As for `is_alive`.
    """
    return _look_at(folder / lock_name(writer)) == "free" and _is_here(host, boot)


def last_time(path: Path) -> str:
    """Return the `ts` of a segment's last entry; "" where there is none to be read."""
    try:
        with read_from(path) as file:
            size = file.seek(0, os.SEEK_END)
            for tail in _TAILS:
                start = max(0, size - tail)
                file.seek(start)
                lines = file.read(size - start).split(b"\n")[bool(start) : -1]
                if found := _last_of(lines):
                    return found
                if start == 0:
                    return ""
    except OSError:
        return ""
    return ""


def is_time(text: object) -> bool:
    """Whether it is a text like `2026-11-23T18:27:00.123456Z`."""
    return isinstance(text, str) and _TS.fullmatch(text) is not None


def seconds_of(ts: str | None) -> float | None:
    """Return seconds since the epoch of an RFC 3339 text, None for any other."""
    if ts is None or not is_time(ts):
        return None
    try:
        return datetime.fromisoformat(ts).timestamp()
    except (ValueError, OverflowError):  # a 13th month; years before 1970 on Windows
        return None


def _last_of(lines: list[bytes]) -> str:
    for line in reversed(lines[-_MAX_TRIED:]):
        entry = parse_line(line)
        if entry is not None and is_time(entry["ts"]):
            return str(entry["ts"])
    return ""


def _look_at(path: Path) -> _Lock:
    """Say how it is with a lock; "unknown" where there is none or it cannot be told."""
    try:
        with read_from(path) as file:
            return _probe(file.fileno())
    except OSError:
        return "unknown"


def _probe(fd: int) -> _Lock:
    """Take a lock if nobody has it and release it at once; errors as of `flock`."""
    try:
        import fcntl  # only here: there is none on Windows
    except ImportError:
        return _probe_by_msvcrt(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    fcntl.flock(fd, fcntl.LOCK_UN)
    return "free"


def _probe_by_msvcrt(fd: int) -> _Lock:
    import msvcrt

    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return "held"
    msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    return "free"


def _is_here(host: str, boot: str) -> bool:
    """Whether what runs there runs on this kernel, which then knows of its locks.

    A boot tells more than a name: containers of one host have names of their own, and
    hosts may be called alike.
    """
    own = _boot()
    return boot == own if boot or own else host == _host()


@cache
def _boot() -> str:
    """Return what tells one boot of a host from another; "" where nothing does."""
    try:
        found = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return ""
    return found.decode("ascii", "replace").strip()


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "host")  # Windows
