"""`mlog ship --handed`: the shipper that a run has started for itself."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import MlogError
from mlog.reader.find import iter_runs
from mlog.reader.state import read_state
from mlog.run.remote import wants
from mlog.shipping.cursor import read_cursors
from mlog.shipping.shipper import Options, Shipper, host_name
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import Route, parse_route

__all__ = ["ship_handed"]

_GRACE = 25.0
"""Seconds for what is left after a SIGTERM; jobs are usually given 30."""

_GIVE_UP = 3600.0
"""Seconds without an answer of the sink, after the run's end, that are enough."""


def ship_handed() -> None:
    """Be the shipper that a run has started: what to do comes by standard input.

    One JSON line: `url`, `run`, `level`. The end of the input says that the run's
    process has ended its run, or has died.
    """
    given = orjson.loads(_first_line(0))
    route = parse_route(given["url"], env=os.environ, level=given.get("level"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer
    with contextlib.suppress(OSError):
        sys.stdout.write(route.target.name + "\n")
        sys.stdout.flush()
    _Handed(Path(given["run"]), given["url"], route).ship()


class _Handed:
    """Ships one run, and what earlier runs of its root have left for the same sink."""

    def __init__(self, path: Path, url: str, route: Route) -> None:
        self._path = path
        self._url = url
        self._stop, self._wake = threading.Event(), threading.Event()
        self._ended = threading.Event()
        options = Options(
            host=host_name(), follow=True, until=frozenset((path,)), rescan=None
        )
        signal.signal(signal.SIGTERM, self._on_term)
        sink = open_sink(route.target)
        self._shipper = Shipper(sink, route, options, wait=self._wait)

    def ship(self) -> None:
        shipper = self._shipper
        shipper.check()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            shipper.ship(self._runs)
        finally:
            shipper.sink.close()
        if self._path in shipper.troubles and self._path not in shipper.busy:
            raise MlogError(shipper.troubles[self._path])

    def _runs(self) -> Iterable[Path]:
        yield self._path
        for run in iter_runs(self._path.parent.parent):
            # One that goes on has a shipper of its own.
            if run != self._path and self._is_left(run) and not _goes_on(run):
                yield run

    def _is_left(self, run: Path) -> bool:
        """Whether an earlier run is for the same sink, and not all of it is there."""
        cursors = read_cursors(run, self._shipper.route.target.name)
        if not cursors:
            return wants(run, self._url)
        return any(not cursor.finished for cursor in cursors)

    def _wait(self, seconds: float) -> bool:
        if seconds > 0 and not self._stop.is_set():
            self._wake.wait(seconds)
        if self._ended.is_set() and not self._shipper.final:
            self._wake.clear()
            self._shipper.stop_waiting()
        return self._stop.is_set() or _is_hopeless(self._shipper)

    def _listen(self) -> None:
        while os.read(0, 4096):  # sys.stdin has a lock that a daemon must not hold
            pass
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self._wake.set()

    def _on_term(self, number: int, frame: Any) -> None:
        """Send what is there, in the time that a job's processes are usually given."""
        self._end()
        timer = threading.Timer(_GRACE, self._stop_now)
        timer.daemon = True
        timer.start()

    def _stop_now(self) -> None:
        self._stop.set()
        self._wake.set()


def _goes_on(run: Path) -> bool:
    """Whether somebody still makes a run."""
    try:
        return read_state(run).goes_on
    except (OSError, MlogError):
        return False


def _first_line(fd: int) -> bytes:
    """Read up to a newline; what follows stays unread only if it comes later."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(fd, 65536)):
        line += more
    return line


def _is_hopeless(shipper: Shipper) -> bool:
    """Whether nobody waits any more, and the sink has not answered for an hour."""
    now = time.monotonic()
    since = min((d.failing_since for d in shipper.active.values()), default=now)
    return shipper.final and now - since > _GIVE_UP
