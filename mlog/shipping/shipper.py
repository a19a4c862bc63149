"""Many runs to one sink: which are there, whose turn it is, and when to wait.

A failure of the server holds up all runs, one of a single run only that run. At most
`_MAX_OPEN` runs are worked at together; a run that has ended and was delivered is not
looked at again before its folder changes.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlog.errors import MlogError
from mlog.folder import access_for
from mlog.shipping.cursor import (
    SILENCE,
    Cursor,
    Place,
    open_place,
    read_cursors,
)
from mlog.shipping.delivery import RunDelivery
from mlog.shipping.retry import Backoff
from mlog.shipping.sink import Sink
from mlog.shipping.source import Source
from mlog.shipping.target import Route
from mlog.shipping.world import World

__all__ = ["BusyError", "Options", "Shipper", "host_name", "open_delivery"]

_MAX_OPEN = 200
_STEPS = 16
_POLL = 0.25
_AGAIN = 0.5
_PATIENCE = 3600.0
"""Seconds that a run of its own is waited for which another process here sends."""


class BusyError(MlogError):
    """Another shipper is at this run and sink.

    Attributes:
        is_here: Whether it is on this host: then it will be told from its lock when it
            has gone.
    """

    def __init__(self, text: str, *, is_here: bool = False) -> None:
        """Keep what is told of it."""
        super().__init__(text)
        self.is_here = is_here


@dataclass(frozen=True, slots=True)
class Options:
    """How to ship.

    Attributes:
        host: Name of this host, for cursors.
        state: Folder for cursors, where runs may not be written. None: in the runs.
        take_over: Go on where another host's shipper is still at it.
        follow: Go on until the runs have ended; with `rescan`, for ever.
        until: With `follow`: only until these have ended; others need not.
        rescan: Seconds after which new runs are looked for. None: only at the start.
        max_age: Seconds that an entry waits for others to fill a batch.
        backoff: When to try again.
    """

    host: str
    state: Path | None = None
    take_over: bool = False
    follow: bool = False
    until: frozenset[Path] | None = None
    rescan: float | None = None
    max_age: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname() or "host"


def open_delivery(
    path: Path, sink: Sink, route: Route, options: Options, world: World
) -> RunDelivery:
    """Become the shipper of a run, from where the last one has come to.

    Raises:
        BusyError: Another one is at it.
        MlogError, OSError: The run cannot be read, or its cursor not be written.
    """
    name = route.target.name
    place = _open_place(path, name, options)
    if not place.lock():
        text = f"{path} is being sent to {name} by another process here"
        raise BusyError(text, is_here=True)
    try:
        cursor, others = _take_up(path, place, options, world)
        cursor.url, cursor.host, cursor.open = route.target.url, options.host, True
        cursor.seen = world.wall()
        place.save(cursor)
        for other in others:
            place.forget(other)
    except BaseException:
        place.release()
        raise
    return RunDelivery(
        Source(path),
        sink,
        route,
        place,
        cursor,
        world,
        options.backoff,
        options.max_age,
        final=not options.follow,
    )


def _open_place(path: Path, name: str, options: Options) -> Place:
    if options.state is not None:
        return open_place(path, name, options.host, state=options.state)
    try:
        access = access_for(path, "private")
        return open_place(path, name, options.host, state=None, access=access)
    except PermissionError as exc:
        raise MlogError(
            f"{path} may not be written by this user: name a folder for the cursors "
            "with --state"
        ) from exc
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
        raise MlogError(
            f"{path} is read-only: name a folder for the cursors with --state"
        ) from exc


def _take_up(
    path: Path, place: Place, options: Options, world: World
) -> tuple[Cursor, list[str]]:
    """Return the cursor to go on with, and the names of those taken up in it."""
    others = place.cursors()
    cursor = others.pop(place.name, None) or Cursor(place.sink)
    own = read_cursors(path, place.sink) if options.state is not None else []
    for other in [*others.values(), *own]:
        alive = other.open and world.wall() - other.seen < SILENCE
        if alive and not options.take_over:
            raise BusyError(
                f"{path} is being sent to {place.sink} from {other.host or 'elsewhere'}"
                "; --take-over sends it from here"
            )
    for other in others.values():
        cursor.take_up(other)
    for other in own:  # they stay there: what they count is not counted again
        cursor.take_up(other, counts=False)
    return cursor, list(others)


@dataclass(slots=True)
class Shipper:
    """Ships runs to one sink, until it is told to stop or there is nothing left.

    Attributes:
        sink: Where to; closed by whoever made it.
        route: What of each run.
        options: How.
        world: Clocks and chance.
        wait: Sleeps for some seconds, or until something happens; True: stop.
        tell: Called with a line for people about what goes wrong with a run.
        watch: Called after each round, for a progress bar.
        active: Runs that are being worked at.
        done: How many were delivered as a whole.
        entries, sent, files, dead: Entries, bytes and files delivered and dead letters
            made since this object was made.
        troubles: What is wrong, by run.
        busy: Those of them that another shipper is at.
    """

    sink: Sink
    route: Route
    options: Options
    wait: Callable[[float], bool]
    world: World = field(default_factory=World)
    tell: Callable[[str], None] = lambda text: None
    watch: Callable[["Shipper"], None] = lambda shipper: None
    active: dict[Path, RunDelivery] = field(default_factory=dict)
    done: int = 0
    entries: int = 0
    sent: int = 0
    files: int = 0
    dead: int = 0
    troubles: dict[Path, str] = field(default_factory=dict)
    busy: set[Path] = field(default_factory=set)
    final: bool = False
    _waiting: dict[Path, None] = field(default_factory=dict)
    _barred: dict[Path, float] = field(default_factory=dict)
    _finished: dict[Path, int] = field(default_factory=dict)
    _gate: float = -1e18
    _failures: int = 0
    _scanned: float = float("-inf")
    _ended: float = float("inf")

    def check(self) -> None:
        """Refuse what the sink cannot do, before anything is sent.

        Raises:
            MlogError: A level is asked for, but the sink gets whole files.
        """
        if self.sink.traits.segments == "growing" and self.route.level:
            raise MlogError(
                f"{self.route.target.name} gets the files as they are: "
                "level cannot be chosen"
            )

    def ship(self, find: Callable[[], Iterable[Path]]) -> None:
        """Ship what `find` finds; again and again where the options say so."""
        try:
            while True:
                self._scan(find)
                moved = self._round()
                self.watch(self)
                if not moved and self._is_done():
                    return
                if self.wait(0.0 if moved else self._pause()):
                    return
        finally:
            for path in list(self.active):
                self._close(path)

    def stop_waiting(self) -> None:
        """Send what is there at once: nothing more will come."""
        self.final = True
        self._ended = self.world.monotonic()
        for delivery in self.active.values():
            delivery.final = True

    @property
    def left(self) -> int:
        """Bytes that wait, of the runs that are being worked at."""
        return sum(delivery.behind for delivery in list(self.active.values()))

    # --- which runs ------------------------------------------------------------------

    def _scan(self, find: Callable[[], Iterable[Path]]) -> None:
        """Look for runs, and open as many as may be open together."""
        now = self.world.monotonic()
        every = self.options.rescan
        if now - self._scanned >= (every if every is not None else float("inf")):
            self._scanned = now
            for path in find():
                if path not in self.active and self._has_changed(path):
                    self._waiting.setdefault(path)
        for path in [p for p, when in self._barred.items() if now >= when]:
            del self._barred[path]
            self._waiting.setdefault(path)
        while self._waiting and len(self.active) < _MAX_OPEN:
            path = next(iter(self._waiting))
            del self._waiting[path]
            self._open(path)

    def _has_changed(self, path: Path) -> bool:
        return self._finished.get(path) != _changed(path)

    def _open(self, path: Path) -> None:
        try:
            delivery = open_delivery(
                path, self.sink, self.route, self.options, self.world
            )
        except BusyError as exc:
            self.busy.add(path)
            self._trouble(path, str(exc))
            # It may leave before all is there: a run of our own is looked at again.
            now = self.world.monotonic()
            if exc.is_here and path in (self.options.until or ()):
                if now - self._ended < _PATIENCE:
                    self._barred[path] = now + _AGAIN
            return
        except (MlogError, OSError) as exc:
            self._trouble(path, str(exc))
            return
        self.busy.discard(path)
        self.troubles.pop(path, None)
        delivery.final = delivery.final or self.final
        self.active[path] = delivery

    def _close(self, path: Path) -> None:
        delivery = self.active.pop(path)
        delivery.close()

    def _trouble(self, path: Path, text: str) -> None:
        if self.troubles.get(path) != text:
            self.troubles[path] = text
            self.tell(text)

    # --- whose turn ------------------------------------------------------------------

    def _round(self) -> bool:
        """Let each run take some steps; return whether anything was sent."""
        moved = False
        for path, delivery in list(self.active.items()):
            if self.world.monotonic() < self._gate:
                return moved
            moved = self._steps(path, delivery) or moved
            delivery.beat()
        return moved

    def _steps(self, path: Path, delivery: RunDelivery) -> bool:
        before = replace(delivery.cursor.stats)
        moved = False
        for _ in range(_STEPS):
            try:
                step = delivery.step()
            except (OSError, MlogError) as exc:
                if _may_pass(path, exc):
                    delivery.hold(f"{path}: {exc}")
                else:
                    self._trouble(path, f"{path}: {exc}")
                    self._close(path)
                break
            if step == "waits":
                self._note_failure(delivery)
            elif step == "done":
                self.done += 1
                self._close(path)
                self._finished[path] = _changed(path)
            elif step == "taken":
                self._trouble(path, f"{path} is now sent by somebody else")
                self._close(path)
            if step != "sent":
                break
            moved, self._failures = True, 0
            if self.wait(0.0):
                break
        after = delivery.cursor.stats
        self.entries += after.entries - before.entries
        self.sent += after.bytes - before.bytes
        self.files += after.files - before.files
        self.dead += after.dead - before.dead
        return moved

    def _note_failure(self, delivery: RunDelivery) -> None:
        """Hold up all runs where the server cannot be reached."""
        if not delivery.unreachable or self.world.monotonic() < self._gate:
            return
        self._failures += 1
        backoff, random = self.options.backoff, self.world.random
        wait = backoff.delay(self._failures, random)
        self._gate = self.world.monotonic() + wait
        delivery.next_try = min(delivery.next_try, self._gate)

    def _pause(self) -> float:
        """Return how long there will be nothing to do."""
        now = self.world.monotonic()
        times = [d.next_try - now for d in self.active.values() if d.next_try > now]
        if len(times) == len(self.active) and times:
            return max(0.01, min(max(min(times), self._gate - now), 5.0))
        return max(_POLL, min(self._gate - now, 5.0))

    def _is_done(self) -> bool:
        """Whether nothing is left to do but what others have to do first."""
        if self._waiting or self._barred:
            return False
        if self.options.follow and self.options.until is None:
            return self.options.rescan is None and not self.active
        until = self.options.until or ()
        if any(path in self.active for path in until):
            return False
        return all(d.last == "idle" for d in self.active.values())


def _may_pass(path: Path, error: Exception) -> bool:
    """Whether a run that cannot be read may be read later: a file server is away."""
    known = isinstance(error, OSError) and not isinstance(error, PermissionError)
    return known and path.is_dir()


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1
