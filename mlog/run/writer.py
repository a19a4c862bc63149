"""One process writing one run in one attempt: its three streams, and what it lost.

The writer's name is claimed by creating its events segment exclusively; the first
entry, `seq` 0, is `writer.start`. Numbers are taken without a lock and never given
back: a number that did not reach the disk is named by a `run.dropped` event.

Source of names, events and numbers: the README, "File format".
"""

import getpass
import itertools
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlog.entry import MAX_LINE, Redacts, encode, event_fields, halves, shrink
from mlog.errors import warn_once
from mlog.folder import Folder, OpenFile
from mlog.layout import SegmentName, lock_name, parse_segment, writer_name
from mlog.segments import Segment, Sync
from mlog.types import Stream

__all__ = ["FORMAT", "Place", "Writer", "WriterOptions"]

FORMAT = 1
"""Version of the file format."""

_LOW_BYTES = 1 << 30
_LOW_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """Which writer of a run this is.

    Attributes:
        main: It made the run and ends it.
        rank: Rank in a distributed job. None: not a rank.
        world_size: Number of ranks, 1 when alone.
        attempt: Number of the attempt, from 1. None: the first one that is free.
    """

    main: bool
    rank: int | None = None
    world_size: int = 1
    attempt: int | None = None

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield writer names to try, best first, each with its attempt; never ends."""
        shape = {"rank": self.rank, "host": socket.gethostname(), "pid": os.getpid()}
        ranked = self.main or self.rank is not None
        if self.attempt is None and ranked:
            for attempt in range(1, 1_000):
                name = writer_name(main=self.main, attempt=attempt, **shape)  # type: ignore[arg-type]
                yield name, attempt
        attempt = self.attempt or 1
        name = writer_name(main=self.main, attempt=attempt, **shape)  # type: ignore[arg-type]
        yield name, attempt
        while True:
            yield f"{name}-{secrets.token_hex(2)}".lstrip("-"), attempt


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How a writer treats its files; see `start_run` for each.

    Attributes:
        fsync_interval: Seconds, "always", or None for never.
        segment_bytes: Size of a logs segment after which the next begins.
        max_log_bytes: Bytes of logs segments of the run before the oldest go.
        heartbeat: Seconds between two `run.heartbeat` events.
    """

    fsync_interval: float | str | None = 1.0
    segment_bytes: int = 256 << 20
    max_log_bytes: int = 5 << 30
    heartbeat: float = 60.0

    @property
    def sync(self) -> Sync:
        """How the segments see `fsync_interval`."""
        if self.fsync_interval is None:
            return "never"
        return "always" if self.fsync_interval == "always" else "later"


@dataclass(slots=True)
class _Loss:
    count: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(slots=True)
class _Times:
    """When the regular work was done last, in monotonic seconds."""

    sync: float = 0.0
    beat: float = 0.0
    space: float = 0.0


@dataclass
class Writer:
    """Appends entries to a run. Safe from any thread; made anew in a forked child.

    Attributes:
        take: Gives the next `seq`; the first call starts the writer.
        logs, metrics, events: The streams.
        scarce: Whether the disk is so full that only metrics, events and WARNING and
            above are written.
        name: The claimed name; "" before the start, and for a run's first main writer.
        attempt: The claimed attempt.
    """

    folder: Folder
    place: Place
    run_id: str
    options: WriterOptions
    redactor: Redacts | None
    on_open: Callable[[], None]
    scarce: bool = False
    name: str = ""
    attempt: int = 1
    take: Callable[[], int] = field(init=False)
    started: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    last_seq: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        """Prepare; nothing is on the disk before the first entry."""
        self.take = self._start_and_take
        self._lock = threading.RLock()
        self._losses: dict[str, _Loss] = {}
        self._lock_file: OpenFile | None = None
        self._times = _Times()
        self._old_logs: list[str] = []
        self.logs = self._segment("logs", self.options.segment_bytes)
        self.metrics = self._segment("metrics", None)
        self.events = self._segment("events", None)
        self._streams: dict[Stream, Segment] = {
            "logs": self.logs,
            "metrics": self.metrics,
            "events": self.events,
        }

    # --- writing -------------------------------------------------------------------

    def start(self) -> None:
        """Claim the name and write `writer.start`; a second call does nothing.

        Raises:
            OSError: The folder cannot be written to.
        """
        with self._lock:
            if self.started:
                return
            self._claim()
            self.started = True
            self.take = itertools.count().__next__
            self._hold_lock()
        self.on_open()
        self.event("writer.start", self._facts())

    def write(self, stream: Stream, entry: dict[str, Any]) -> None:
        """Number an entry and append it; what is too long is split or cut.

        Never raises an OSError: an entry the disk refuses is counted as lost.
        """
        entry["seq"] = self.take()
        self._write_numbered(stream, entry)

    def _write_numbered(self, stream: Stream, entry: dict[str, Any]) -> None:
        """Append an entry that has its number; if it must be split, one half keeps it."""
        line = encode(entry)
        if len(line) <= MAX_LINE:
            self.append(stream, line, entry["seq"])
            return
        parts = list(halves(entry))
        if not parts:
            self.append(stream, encode(shrink(entry, len(line))), entry["seq"])
            return
        self._write_numbered(stream, parts[0])
        self.write(stream, parts[1])

    def append(self, stream: Stream, line: bytes, seq: int) -> None:
        """Append one encoded entry, or count it as lost."""
        try:
            self._streams[stream].append(line)
        except OSError as exc:
            self.lose(exc.strerror or str(exc), seq)

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Write an event that happens now."""
        self.write("events", event_fields(name, data, self.redactor))

    def lose(self, reason: str, first: int | None, last: int | None = None) -> None:
        """Count an entry that did not reach the disk; `seq` None if it got no number."""
        last = first if last is None else last
        with self._lock:
            loss = self._losses.setdefault(reason, _Loss())
            loss.count += 1
            if first is not None and last is not None:
                loss.first = first if loss.first is None else min(first, loss.first)
                loss.last = last if loss.last is None else max(last, loss.last)
        warn_once(f"lost:{reason}", f"entries of {self.folder.path} are lost: {reason}")

    @property
    def lost(self) -> int:
        """Entries lost and not yet told to the file."""
        return sum(loss.count for loss in list(self._losses.values()))

    # --- regular work, on the keeper's thread --------------------------------------

    def keep(self, now: float) -> None:
        """Do what is due: sync, tell losses, beat, watch the disk. May raise OSError.

        Args:
            now: Monotonic seconds.
        """
        if not self.started or self.ended:
            return
        self._find_again()
        self._tell_losses()
        times, interval = self._times, self.options.fsync_interval
        if isinstance(interval, int | float) and now - times.sync >= interval:
            times.sync = now
            self.sync()
        if now - times.space >= 5.0:
            times.space = now
            self.scarce = _is_low(self.folder.path)
        self._drop_old_logs()
        if now - times.beat >= self.options.heartbeat:
            if times.beat:
                self.event("run.heartbeat", {})
            times.beat = now

    def sync(self) -> None:
        """Put what was appended so far on the disk."""
        for segment in (self.events, self.metrics, self.logs):
            segment.sync()

    def park(self) -> None:
        """Make the next entry start the keeper again (after a fork in the parent)."""
        for segment in self._streams.values():
            segment.park()

    def end(self, status: str) -> None:
        """Write `writer.end`, put everything on the disk and release the lock.

        Later entries (of destructors, say) are still appended. A second call does
        nothing, nor does one on a writer that never started.
        """
        with self._lock:
            if not self.started or self.ended:
                return
            self.ended = True
        self._tell_losses()
        self.last_seq = seq = self.take()
        entry = event_fields("writer.end", {"last": seq, "status": status})
        entry["seq"] = seq
        self.append("events", encode(entry), seq)
        if self.options.sync != "never":
            try:
                self.sync()
            except OSError as exc:
                warn_once("sync", f"{self.folder.path} could not be synced: {exc}")
        self._release_lock()

    def close(self) -> None:
        """Let go of all files."""
        for segment in self._streams.values():
            segment.close()

    def forget_lock(self) -> None:
        """Close the parent's lock in a forked child, which must not keep it held."""
        self._lock_file = None

    # --- inside --------------------------------------------------------------------

    def _start_and_take(self) -> int:
        self.start()
        return self.take()

    def _segment(self, stream: Stream, max_bytes: int | None) -> Segment:
        def create(number: int) -> OpenFile:
            name = SegmentName(stream, self.name, number).filename
            file = self.folder.create(name)
            if stream == "logs":
                self._old_logs.append(name)
            return file

        return Segment(
            create,
            max_bytes=max_bytes,
            sync=self.options.sync,
            before_open=self.on_open,
        )

    def _claim(self) -> None:
        """Find a free writer name and make it this writer's by its events segment."""
        for name, attempt in self.place.names():
            try:
                file = self.folder.create(SegmentName("events", name).filename)
            except FileExistsError:
                continue
            self.name, self.attempt = name, attempt
            self.events.adopt(file)
            return

    def _facts(self) -> dict[str, Any]:
        facts = {
            "format": FORMAT,
            "run": self.run_id,
            "attempt": self.attempt,
            "rank": self.place.rank,
            "world_size": self.place.world_size,
            "user": _user(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "boot": boot_id(),
            "zone": time.strftime("%z"),
        }
        return {key: value for key, value in facts.items() if value is not None}

    def _hold_lock(self) -> None:
        try:
            file = self.folder.reopen(lock_name(self.name))
            if _try_lock(file.fd):
                self._lock_file = file
        except OSError:  # a file system without locks: the heartbeat is left
            return

    def _release_lock(self) -> None:
        if self._lock_file is None:
            return
        self._lock_file = None
        try:
            self.folder.remove(lock_name(self.name))
        except OSError:  # a stale lock file that nobody holds does no harm
            return

    def _tell_losses(self) -> None:
        """Write one `run.dropped` for each reason, once the disk takes entries again."""
        with self._lock:
            losses, self._losses = self._losses, {}
        for reason, loss in losses.items():
            data = {"count": loss.count, "reason": reason}
            if loss.first is not None and loss.last is not None:
                data |= {"first": loss.first, "last": loss.last}
            entry = event_fields("run.dropped", data, self.redactor)
            entry["seq"] = seq = self.take()
            try:
                self.events.append(encode(entry))
            except OSError:
                self._put_back(reason, loss, seq)

    def _put_back(self, reason: str, loss: _Loss, seq: int) -> None:
        """Keep a loss that could not be told, and the number its event had taken."""
        with self._lock:
            kept = self._losses.setdefault(reason, _Loss())
            kept.count += loss.count
            firsts = [n for n in (loss.first, kept.first, seq) if n is not None]
            lasts = [n for n in (loss.last, kept.last, seq) if n is not None]
            kept.first, kept.last = min(firsts), max(lasts)

    def _find_again(self) -> None:
        """Begin new segments when somebody removed the files of a running run."""
        if not (self.events.is_lost() or self.logs.is_lost() or self.metrics.is_lost()):
            return
        text = f"files of the running run {self.folder.path} were removed; going on in new ones"
        warn_once("removed", text)
        if not self.folder.exists():
            parent, name = self.folder.path.parent, self.folder.path.name
            parts = (parent.name, name)
            self.folder = Folder.open_below(parent.parent, parts, self.folder.access)
        for segment in self._streams.values():
            if segment.is_lost():
                segment.restart()
        self.lose("files were removed", 0, self.take())

    def _drop_old_logs(self) -> None:
        """Remove this writer's oldest logs segments while the run has too many bytes."""
        if len(self._old_logs) < 2:
            return
        sizes = self._log_sizes()
        while (
            sum(sizes.values()) > self.options.max_log_bytes and len(self._old_logs) > 1
        ):
            name = self._old_logs.pop(0)
            first, last, count = _numbers_in(self.folder.path / name)
            self.folder.remove(name)
            sizes.pop(name, None)
            data = {"count": count, "reason": "max_log_bytes", "segment": name}
            if count:
                data |= {"first": first, "last": last}
            self.event("run.dropped", data)

    def _log_sizes(self) -> dict[str, int]:
        names = [n for n in self.folder.names() if n.startswith("logs")]
        return {n: self.folder.size(n) for n in names if parse_segment(n)}


def _numbers_in(path: Path) -> tuple[int, int, int]:
    """Return first and last `seq` and the number of lines of a segment."""
    marker, first, last, count = b'"seq":', None, 0, 0
    with path.open("rb") as lines:
        for line in lines:
            at = line.find(marker, 0, 80) + len(marker)
            seq = int(line[at : line.find(b",", at)])
            first = seq if first is None else min(first, seq)
            last, count = max(last, seq), count + 1
    return first or 0, last, count


def _is_low(path: Path) -> bool:
    """Whether so little space is left that only what matters most is written."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return False
    return usage.free < min(_LOW_BYTES, usage.total * _LOW_SHARE)


def _try_lock(fd: int) -> bool:
    """Take an exclusive lock that dies with the process; False if another has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def boot_id() -> str | None:
    """Return what tells one boot of this host from another, where the system says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except Exception:  # a container's uid without a name; the kinds differ by version
        return str(os.getuid()) if hasattr(os, "getuid") else None
