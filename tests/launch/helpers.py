"""What the tests of script runs need: waiting with a deadline, looking at processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import entries

DEADLINE = 60.0
"""Seconds after which something that should happen counts as not happening."""

HANG = """
import os, pathlib, sys, time
path = pathlib.Path(sys.argv[1])
path.with_suffix(".tmp").write_text(str(os.getpid()))
path.with_suffix(".tmp").rename(path)
while True:
    time.sleep(0.05)
"""
"""A script: puts its process id where it is told, then goes on until it is ended."""


def wait_until(happened: Callable[[], Any], what: str) -> None:
    """Return as soon as `happened` is true; fail when it is not for long."""
    end = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie, with all of its threads.

    Its files and locks are let go of with the last thread, which may be after it is one.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X") or threads > 1


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the data of all events of one name, of all writers."""
    found = entries(folder, "events")
    return [entry["data"] for entry in found if entry["event"] == name]


def statuses(folder: Path) -> list[str]:
    """Return the status words of a run in order, that of its end last."""
    words = [data["status"] for data in events(folder, "run.status")]
    return words + [data["status"] for data in events(folder, "run.end")]


def printed(folder: Path, stream: str = "stdout") -> list[str]:
    """Return the lines of a stream of the script."""
    lines = [e for e in entries(folder, "logs") if e["logger"] == stream]
    return [entry.get("msg", "") for entry in lines]


def raw_log(folder: Path) -> bytes:
    """Return all that the script has printed."""
    return (folder / "artifacts/user_logs/std_log.txt").read_bytes()


def pid_in(path: Path) -> int:
    """Return the process id that a process has written into a file; 0 if not yet."""
    try:
        return int(os.fsdecode(path.read_bytes()) or 0)
    except FileNotFoundError:
        return 0
