"""What the system knows of the processes a script has started, and does for them.

Linux only where it says so; elsewhere nothing is known, and nothing is done.

Source: proc(5), /proc/pid/stat, fields 3 to 6; prctl(2).
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "PREPARES",
    "Process",
    "adopt_orphans",
    "die_with_parent",
    "living_below",
    "living_in_session",
    "living_of_run",
    "reap_below",
]

PREPARES = "_MLOG_PREPARES"
"""Variable with the folder of the run that a process prepares something for.

Unlike those with `MLOG_RUN` such a process does not write into the run.
"""

_IS_LINUX = sys.platform == "linux"
_SET_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_GONE = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as it was a moment ago.

    Attributes:
        pid, parent, group, session: Ids.
        name: Of its program, at most 15 characters.
        state: One letter; Z has ended and was not collected.
    """

    pid: int
    parent: int
    group: int
    session: int
    name: str
    state: str

    def __str__(self) -> str:
        """Return `name (pid)`."""
        return f"{self.name} ({self.pid})"


def adopt_orphans() -> None:
    """Let what descendants of this process leave behind become its children (Linux).

    So that `living_below` finds them; otherwise they would be those of the init process.
    """
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let this process get SIGTERM when its parent is gone, whatever killed it (Linux).

    Survives `exec`, and is not handed down to children.
    """
    _prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


def living_in_session(session: int) -> list[Process]:
    """Return the living processes of a session."""
    return [p for p in _all() if p.session == session and p.state not in _GONE]


def living_below(pid: int) -> list[Process]:
    """Return the living descendants of a process."""
    found = [p for p in _all() if p.state not in _GONE]
    below, known = [], {pid}
    while new := [p for p in found if p.parent in known and p.pid not in known]:
        below += new
        known |= {p.pid for p in new}
    return below


def living_of_run(folder: Path) -> list[Process]:
    """Return living processes that were started for a run, by their environment.

    Those of other users do not show, and this one is not meant.
    """
    signs = [
        b"\0%b=%b\0" % (name.encode(), os.fsencode(folder))
        for name in ("MLOG_RUN", PREPARES)
    ]
    own = os.getpid()
    found = [p for p in _all() if p.state not in _GONE and p.pid != own]
    return [p for p in found if _has_any(signs, b"\0" + _environment_of(p.pid))]


def reap_below(pid: int, *, but: int) -> None:
    """Collect ended children of this process that it has adopted.

    Args:
        pid: This process.
        but: A child that somebody else collects, as those of this session.
    """
    own = os.getsid(0)
    for process in _all():
        is_adopted = process.parent == pid and process.session != own
        if is_adopted and process.state == "Z" and process.pid != but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def _all() -> Iterator[Process]:
    for name in os.listdir("/proc") if _IS_LINUX else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):  # it has just ended
                yield _read(name)


def _read(name: str) -> Process:
    with open(f"/proc/{name}/stat", "rb") as file:
        text = file.read().decode("utf-8", "replace")
    head, _, rest = text.rpartition(")")  # a name may hold blanks and brackets
    state, parent, group, session, *_ = rest.split()
    program = head.partition("(")[2]
    ids = int(parent), int(group), int(session)
    return Process(int(name), *ids, program, state)


def _has_any(signs: list[bytes], text: bytes) -> bool:
    return any(sign in text for sign in signs)


def _environment_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:  # it has ended, or is not ours
        return b""


def _prctl(option: int, value: int) -> None:
    library = _library()
    if library is not None:
        library.prctl(option, value, 0, 0, 0)


@cache
def _library() -> Any:
    """Return the C library; None where there is none to call."""
    if not _IS_LINUX:
        return None
    try:
        import ctypes
    except ImportError:  # an interpreter built without it
        return None
    return ctypes.CDLL(None)
