"""What of a run has been delivered to a sink: cursor, plan, dead letters, lock.

    <run>/.ship/<sink>.<host>.json      cursor; or <state>/<experiment>/<run id>/…
    <run>/.ship/<sink>.<host>.lock      held by the one shipper of this host
    <run>/.ship/<sink>.dead.jsonl       entries and files that the sink refused

Invariants:

- A cursor is never ahead of the sink: it is written after the sink has said that it
  has everything before it. It is written whole (new file, fsync, rename, fsync of the
  folder), so that after a crash there is the old one or the new one.
- A dead letter is on the disk before the cursor passes it.
- Who ships a run from another host takes up the cursors of all hosts, and removes those
  it has taken up. A shipper whose own cursor is gone was taken over, and stops.
- A cursor that cannot be understood is an error, unless another one is there; nothing
  is guessed from it.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import MlogError
from mlog.folder import PRIVATE, Access, Folder, OpenFile
from mlog.layout import parse_segment, slug
from mlog.shipping.letter import DeadLetter

__all__ = [
    "SHIP",
    "SILENCE",
    "Cursor",
    "Place",
    "Position",
    "Stats",
    "TakenOverError",
    "open_place",
    "read_cursors",
]

SHIP = ".ship"
"""Folder in a run's folder for all that shippers keep of it."""

SILENCE = 180.0
"""Seconds without a write after which the shipper of another host counts as gone."""

FORMAT = 1
_MAX_CURSOR = 16 << 20
_MAX_DEAD = 256 << 20
_COUNTS = ("entries", "bytes", "files", "retries", "dead", "skipped")


class TakenOverError(MlogError):
    """Somebody else ships this run to this sink now."""


@dataclass(slots=True)
class Position:
    """How far one segment has been delivered.

    Attributes:
        offset: Bytes from the beginning; always the end of a line.
        seq: Number of the last entry delivered; -1 before the first.
        whole: Whether that is all of it, and nothing more is added: a later one exists.
        gone: Whether it was removed before it was delivered, and the sink was told.
        torn: Bytes of a half line behind `offset` when the run had ended: of a writer
            that was killed, most likely. If it is completed after all, it is sent.
    """

    offset: int = 0
    seq: int = -1
    whole: bool = False
    gone: bool = False
    torn: int = 0


@dataclass(slots=True)
class Stats:
    """What has been done so far; for people.

    Attributes:
        entries, bytes: Delivered, those left out by level not counted.
        files: Artifacts and segments delivered as files.
        retries: Requests that had to be made again.
        dead: Entries and files refused for good.
        skipped: Lines that were no entries.
        acked: When the last delivery was acknowledged, seconds since the epoch.
        rate: Entries per second while sending, of late.
    """

    entries: int = 0
    bytes: int = 0
    files: int = 0
    retries: int = 0
    dead: int = 0
    skipped: int = 0
    acked: float = 0.0
    rate: float = 0.0


@dataclass(slots=True)
class Cursor:
    """The state of one run and one sink.

    Attributes:
        sink: Name of the sink.
        url: Its address, without credentials.
        host: Where the shipper runs.
        segments: By file name.
        plan: Segment, start and end of the batch that is being sent, for sinks that
            need it again byte by byte; None: none.
        finished: Status and end that the sink was told of; "" while the run goes on.
        stats: For people.
        error: What went wrong last, "" when the last request went well.
        failures: How often in a row.
        seen: When the shipper last had anything to write, seconds since the epoch.
        open: Whether the shipper is at it: it has not stopped by itself.
    """

    sink: str
    url: str = ""
    host: str = ""
    segments: dict[str, Position] = field(default_factory=dict)
    plan: tuple[str, int, int] | None = None
    finished: str = ""
    stats: Stats = field(default_factory=Stats)
    error: str = ""
    failures: int = 0
    seen: float = 0.0
    open: bool = False

    def at(self, name: str) -> Position:
        """Return the position in a segment; at its beginning if it is new."""
        return self.segments.setdefault(name, Position())

    def take_up(self, other: "Cursor", *, counts: bool = True) -> None:
        """Go on where another shipper has come to.

        Args:
            other: Its cursor.
            counts: Whether what it did is counted here from now on.
        """
        for name, theirs in other.segments.items():
            own = self.at(name)
            if theirs.offset > own.offset:
                self.segments[name] = theirs
            own = self.segments[name]
            own.gone, own.whole = own.gone or theirs.gone, own.whole or theirs.whole
        for count in _COUNTS if counts else ():
            total = getattr(self.stats, count) + getattr(other.stats, count)
            setattr(self.stats, count, total)
        self.stats.acked = max(self.stats.acked, other.stats.acked)
        self.finished = self.finished or other.finished
        self.plan = self.plan or other.plan

    def dump(self) -> bytes:
        """Return the file's content."""
        plan = None
        if self.plan is not None:
            plan = dict(zip(("segment", "start", "end"), self.plan, strict=True))
        document = {
            "format": FORMAT,
            "sink": self.sink,
            "url": self.url,
            "host": self.host,
            "segments": self.segments,
            "plan": plan,
            "finished": self.finished,
            "stats": self.stats,
            "error": self.error,
            "failures": self.failures,
            "seen": self.seen,
            "open": self.open,
        }
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def load(cls, content: bytes) -> "Cursor":
        """Read a file's content.

        Raises:
            ValueError: It is no cursor; says what is wrong with it.
        """
        found = orjson.loads(content)
        if not isinstance(found, dict) or not isinstance(found.get("segments"), dict):
            raise ValueError("it is no object with segments")
        if found.get("format") != FORMAT:
            raise ValueError(f"its format is {found.get('format')!r}, not {FORMAT}")
        segments = {n: _position(n, p) for n, p in found["segments"].items()}
        return cls(
            sink=_text(found, "sink"),
            url=_text(found, "url"),
            host=_text(found, "host"),
            segments=segments,
            plan=_plan(found.get("plan"), segments),
            finished=_text(found, "finished"),
            stats=_stats(found.get("stats")),
            error=_text(found, "error"),
            failures=_count(found.get("failures")),
            seen=_seconds(found.get("seen")),
            open=found.get("open") is True,
        )


def _position(name: str, found: Any) -> Position:
    if parse_segment(name) is None or not isinstance(found, dict):
        raise ValueError(f"{name!r} is no segment with a position")
    offset, seq = found.get("offset"), found.get("seq", -1)
    if type(offset) is not int or offset < 0 or type(seq) is not int:
        raise ValueError(f"the position in {name} is no number of bytes")
    return Position(
        offset,
        seq,
        found.get("whole") is True,
        found.get("gone") is True,
        _count(found.get("torn")),
    )


def _plan(found: Any, segments: dict[str, Position]) -> tuple[str, int, int] | None:
    if found is None:
        return None
    try:
        name, start, end = found["segment"], found["start"], found["end"]
        if not (0 <= start < end) or type(start) is not int or type(end) is not int:
            raise ValueError("its plan is none")
    except (TypeError, KeyError) as exc:
        raise ValueError("its plan is none") from exc
    known = segments.get(name)
    return (name, start, end) if known and known.offset == start else None


def _stats(found: Any) -> Stats:
    found = found if isinstance(found, dict) else {}
    return Stats(
        **{n: _count(found.get(n)) for n in ("entries", "bytes", "files", "retries")},
        dead=_count(found.get("dead")),
        skipped=_count(found.get("skipped")),
        acked=_seconds(found.get("acked")),
        rate=_seconds(found.get("rate")),
    )


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0


def _seconds(value: Any) -> float:
    return float(value) if type(value) in (int, float) and value >= 0 else 0.0


class Place:
    """The folder with what a shipper keeps of one run; held by one shipper at a time.

    Attributes:
        folder: The folder.
        sink: Name of the sink.
        host: Name of this host, as it stands in file names.
    """

    def __init__(self, folder: Folder, sink: str, host: str) -> None:
        """Use `open_place`."""
        self.folder = folder
        self.sink = sink
        self.host = slug(host)
        self._lock: OpenFile | None = None
        self._written = False

    @property
    def name(self) -> str:
        """Name of this host's cursor."""
        return f"{self.sink}.{self.host}.json"

    @property
    def dead_name(self) -> str:
        """Name of the file with dead letters."""
        return f"{self.sink}.dead.jsonl"

    def lock(self) -> bool:
        """Become the one shipper of this host; False if there is one already."""
        if self._lock is None:
            file = self.folder.reopen(f"{self.sink}.{self.host}.lock")
            self._lock = file if _take(file.fd) else None
        return self._lock is not None

    def release(self) -> None:
        """Let another one be the shipper."""
        self._lock = None

    def cursors(self) -> dict[str, Cursor]:
        """Return the cursors of all hosts for this sink, by file name.

        Raises:
            MlogError: One cannot be understood.
            OSError: One cannot be read.
        """
        return dict(_cursors(self.folder, self.sink))

    def save(self, cursor: Cursor) -> None:
        """Put a cursor on the disk.

        Raises:
            TakenOverError: It was there and is not any more.
            OSError: The disk is full, …
        """
        if self._written and self.folder.status(self.name) is None:
            raise TakenOverError(f"{self.folder.path / self.name} was taken over")
        content = cursor.dump()
        self.folder.place(self.name, lambda file: file.write(content), sync=True)
        _sync(self.folder)
        self._written = True

    def forget(self, name: str) -> None:
        """Remove a cursor of another host that was taken up."""
        self.folder.remove(name)

    def bury(self, letters: list[DeadLetter]) -> None:
        """Add dead letters, on the disk when this returns."""
        file = self.folder.reopen(self.dead_name)
        end = os.lseek(file.fd, 0, os.SEEK_END)
        content = b"".join(letter.dump() for letter in letters)
        if end and os.pread(file.fd, 1, end - 1) != b"\n":  # a crash cut the last one
            content = b"\n" + content
        view = memoryview(content)
        while view:
            view = view[os.write(file.fd, view) :]
        os.fsync(file.fd)

    def dead(self) -> list[DeadLetter]:
        """Return all dead letters, each once; in the order they came."""
        try:
            with self.folder.open(self.dead_name) as file:
                content = file.read(_MAX_DEAD)
        except FileNotFoundError:
            return []
        found: dict[tuple[str, int, str], DeadLetter] = {}
        for line in content.split(b"\n"):
            letter = DeadLetter.load(line) if line else None
            if letter is not None:
                found[letter.segment, letter.offset, letter.file] = letter
        return list(found.values())

    def keep_dead(self, letters: list[DeadLetter]) -> None:
        """Let these be all dead letters."""
        content = b"".join(letter.dump() for letter in letters)
        if content:
            self.folder.place(
                self.dead_name, lambda file: file.write(content), sync=True
            )
        else:
            self.folder.remove(self.dead_name)
        _sync(self.folder)


def open_place(
    run: Path, sink: str, host: str, *, state: Path | None, access: Access = PRIVATE
) -> Place:
    """Open the folder of what is kept of a run, made where it is missing.

    Args:
        run: The run's folder.
        sink: Name of the sink.
        host: Name of this host.
        state: Folder for the cursors of all runs, where theirs may not be written.
        access: Mode of what is made.

    Raises:
        MlogError, OSError: It cannot be made.
    """
    if state is not None:
        parts = run.parts[-2:]
        return Place(Folder.open_below(state, parts, access), sink, host)
    root = run.parent.parent
    folder = Folder.open_below(root, run.parts[-2:], access, create=False)
    return Place(folder.child(SHIP), sink, host)


def read_cursors(
    run: Path, sink: str | None = None, *, state: Path | None = None
) -> list[Cursor]:
    """Return the cursors of a run; what is no cursor, or not for us, is left out.

    Args:
        run: The run's folder.
        sink: Only this sink's.
        state: Folder of cursors to look in. None: the run's own.
    """
    root, parts = state, run.parts[-2:]
    if root is None:
        root, parts = run.parent.parent, (*parts, SHIP)
    found: list[Cursor] = []
    with contextlib.suppress(OSError, MlogError):
        folder = Folder.open_below(root, parts, PRIVATE, create=False)
        for name in sorted(folder.names()):
            if name.endswith(".json") and (not sink or name.startswith(f"{sink}.")):
                with contextlib.suppress(OSError, MlogError, ValueError):
                    found.append(_load(folder, name))
    return [cursor for cursor in found if sink in (None, cursor.sink)]


def _cursors(folder: Folder, sink: str) -> Iterator[tuple[str, Cursor]]:
    for name in sorted(folder.names()):
        if not name.startswith(f"{sink}.") or not name.endswith(".json"):
            continue
        try:
            cursor = _load(folder, name)
        except ValueError as exc:
            raise MlogError(
                f"{folder.path / name} is no cursor: {exc}. Remove it to send the run "
                "again from the beginning"
            ) from exc
        if cursor.sink == sink:
            yield name, cursor


def _load(folder: Folder, name: str) -> Cursor:
    with folder.open(name) as file:
        return Cursor.load(file.read(_MAX_CURSOR))


def _take(fd: int) -> bool:
    """Take the lock of an open file; it is let go when that is closed, or at death."""
    try:
        import fcntl
    except ImportError:
        return _take_by_msvcrt(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: cursors of one host are all there is
        return True
    return True


def _take_by_msvcrt(fd: int) -> bool:
    import msvcrt

    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return False
    return True


def _sync(folder: Folder) -> None:
    """Put a folder's names on the disk, where that can be done."""
    with contextlib.suppress(OSError):
        fd = os.open(folder.path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
