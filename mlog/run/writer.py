"""One process writing one run in one attempt: its three streams, and what it lost.

The writer's name is claimed by creating its events segment exclusively; the first
entry, `seq` 0, is `writer.start`. Numbers are taken without a lock and never given
back: a number that did not reach the disk is named by a `run.dropped` event.

Source of names, events and numbers: the README, "File format".
"""

import contextlib
import errno
import itertools
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlog.entry import (
    MAX_LINE,
    Redacts,
    encode,
    event_fields,
    halves,
    now_us,
    salvage,
    shrink,
)
from mlog.errors import warn_once
from mlog.folder import Folder, OpenFile, read_from
from mlog.layout import SegmentName, lock_name, parse_segment, writer_name
from mlog.run.identity import host_name
from mlog.segments import Segment, Sync
from mlog.types import Stream

__all__ = ["FORMAT", "Place", "Writer", "WriterOptions", "try_lock"]

FORMAT = 1
"""Version of the file format."""

_LOW_BYTES = 1 << 30
_LOW_SHARE = 0.02
_MAX_REASONS = 20
_MARGIN = 4 << 20
_ENTRY = b'{"ts":"'
_SEQ = re.compile(rb'\{"ts":"[^"]*","seq":(\d+),')


class Place(NamedTuple):
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
        shape = {"rank": self.rank, "host": host_name(), "pid": os.getpid()}
        ranked = self.main or self.rank is not None
        if self.attempt is None and ranked:
            for attempt in range(1, 1_000):
                name = writer_name(main=self.main, attempt=attempt, **shape)  # type: ignore[arg-type]
                yield name, attempt
        attempt = self.attempt or 1
        name = writer_name(main=self.main, attempt=attempt, **shape)  # type: ignore[arg-type]
        yield name, attempt
        while True:
            yield f"{name}-{os.urandom(2).hex()}".lstrip("-"), attempt


class WriterOptions(NamedTuple):
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
    """Entries that did not reach the disk for one reason, and not yet told."""

    count: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, count: int, first: int | None, last: int | None) -> None:
        """Add entries with numbers between `first` and `last`, or without numbers."""
        self.count += count
        if first is not None and last is not None:
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)

    def data(self, reason: str) -> dict[str, Any]:
        """Return what `run.dropped` says of them."""
        numbers = {} if self.first is None else {"first": self.first, "last": self.last}
        return {"count": self.count, "reason": reason, **numbers}


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
        made: File names of the segments made for each stream, oldest first.
        scarce: Whether the disk is so full that only metrics, events and WARNING and
            above are written.
        name: The claimed name; "" before the start, and for a run's first main writer.
        attempt: The claimed attempt.
        clock: Gives the time of the events of `start`, `event` and `end`, in
            microseconds since 1970: what is imported keeps the times it had.
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
    clock: Callable[[], int] = now_us
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
        self._starting = False
        self._cut_off: dict[Stream, tuple[str, int]] | None = None
        self._named = -1
        self._has_dropped = False
        self.made: dict[Stream, list[str]] = {"logs": [], "metrics": [], "events": []}
        share = self.options.max_log_bytes // (4 * self.place.world_size)
        self.logs = self._segment(
            "logs", max(1, min(share, self.options.segment_bytes))
        )
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
            if self._starting:
                raise BlockingIOError(errno.EAGAIN, "logged amid the start by a signal")
            self._starting = True
            try:
                self._claim()
                self._hold_lock()
                start = event_fields("writer.start", self._facts(), at=self.clock())
                self._write_as(0, "events", start)
                self.take = itertools.count(1).__next__
                self.started = True
            finally:
                self._starting = False
        self.on_open()

    def write(self, stream: Stream, entry: dict[str, Any]) -> None:
        """Number an entry and append it; what is too long is split or cut.

        An entry that cannot be encoded or written is counted as lost.

        Raises:
            OSError: The writer could not start.
        """
        self._write_as(self.take(), stream, entry)

    def _write_as(self, seq: int, stream: Stream, entry: dict[str, Any]) -> bool:
        """Append an entry under a number; parts that are split off get their own.

        Returns:
            Whether it, or its first part, was written.
        """
        parts: list[dict[str, Any]] = []
        try:
            entry["seq"] = seq
            line = encode(entry)
            while len(line) > MAX_LINE:
                two = list(halves(entry))
                if not two:
                    line = encode(shrink(entry, len(line)))
                    break
                entry, rest = two
                parts.append(rest)
                line = encode(entry)
            self._streams[stream].append(line)
            is_written = True
        except Exception as exc:  # the number is taken and has to be accounted for
            is_written = False
            self.lose(_reason(exc), seq)
        for part in reversed(parts):
            self.write(stream, part)
        return is_written

    def event(self, name: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write an event that happens now, and return its entry; errors as for `write`."""
        entry = event_fields(name, data, self.redactor, at=self.clock())
        self.write("events", entry)
        return entry

    def lose(
        self, reason: str, first: int | None, last: int | None = None, count: int = 1
    ) -> None:
        """Count entries that did not reach the disk, to be told by `run.dropped`.

        Args:
            reason: Why, in a few words that are the same for the same cause.
            first: Their lowest `seq`. None: they got no numbers.
            last: Their highest one. None: `first`.
            count: How many they are.
        """
        with self._lock:
            if len(self._losses) >= _MAX_REASONS and reason not in self._losses:
                reason = "other"
            loss = self._losses.setdefault(reason, _Loss())
            loss.add(count, first, first if last is None else last)
        warn_once(f"lost:{reason}", f"entries of {self.folder.path} are lost: {reason}")

    def cut_off(self) -> None:
        """Note that an exception from outside (Ctrl-C) has cut a call off.

        Whether the call had taken a number is then found out from the files.
        """
        if self._cut_off is None:
            self._cut_off = {
                stream: (self.made[stream][-1] if self.made[stream] else "", seg.size)
                for stream, seg in self._streams.items()
            }

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
        failed: OSError | None = None
        for work in (
            self._find_again,
            self._tell_losses,
            self._sync_when_due,
            self._watch_space,
            self._beat,
        ):
            try:
                work(now)
            except OSError as exc:  # one disk trouble must not keep the rest waiting
                failed = failed or exc
        if failed is not None:
            raise failed

    def sync(self) -> None:
        """Put what was appended so far on the disk.

        Raises:
            OSError: The disk refused some of it.
        """
        failed: OSError | None = None
        for segment in (self.events, self.metrics, self.logs):
            try:
                segment.sync()
            except OSError as exc:
                failed = failed or exc
        if failed is not None:
            raise failed

    def park(self) -> None:
        """Make the next entry start the keeper again (after a fork in the parent)."""
        if self.options.sync == "later":  # the next entry may be long in coming
            with contextlib.suppress(OSError):
                self.sync()
        for segment in self._streams.values():
            segment.park()

    def find_again(self) -> None:
        """Go on in new files where somebody removed them, as far as the disk lets us."""
        if self.started and not self.ended:
            with contextlib.suppress(OSError):
                self._find_again(0.0)

    def end(
        self,
        status: str,
        error: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `writer.end`, put everything on the disk and release the lock.

        Later entries (of destructors, say) are still appended. A second call does
        nothing, nor does one on a writer that never started.

        Args:
            status: How this process's part of the run ended.
            error: Why, where the run's own end does not tell.
            metrics: Summary of this writer's own, likewise.
        """
        with self._lock:
            if not self.started or self.ended:
                return
            self.ended = True
        with contextlib.suppress(OSError):
            self._tell_losses()
        self.last_seq = seq = self.take()
        data: dict[str, Any] = {"last": seq, "status": status}
        if error is not None:
            data["error"] = dict(error)
        if metrics:
            data["metrics"] = metrics
        if self.redactor is not None and self.redactor.count:
            data["redacted"] = self.redactor.count
        end = event_fields("writer.end", data, at=self.clock())
        is_written = self._write_as(seq, "events", end)
        if self.options.sync != "never":
            try:
                self.sync()
            except OSError as exc:
                warn_once("sync", f"{self.folder.path} could not be synced: {exc}")
        self._release_lock(remove=is_written)

    def close(self) -> None:
        """Let go of all files and of the folder: an ended run holds nothing open."""
        for segment in self._streams.values():
            segment.close()
        self.folder = self.folder.let_go()

    def forget_lock(self) -> None:
        """Close the parent's lock in a forked child, which must not keep it held."""
        self._lock_file = None

    # --- inside --------------------------------------------------------------------

    def _start_and_take(self) -> int:
        self.start()
        return self.take()

    def _segment(self, stream: Stream, max_bytes: int | None) -> Segment:
        me = weakref.ref(self)  # no circle: a writer nobody uses closes its files

        def create(number: int) -> OpenFile:
            writer = me()
            if writer is None:
                raise OSError(errno.EBADF, "the run has ended")
            name = SegmentName(stream, writer.name, number).filename
            file = writer.folder.create(name)
            writer.made[stream].append(name)
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
            filename = SegmentName("events", name).filename
            try:
                file = self.folder.create(filename)
            except FileExistsError:
                continue
            self.name, self.attempt = name, attempt
            self.made["events"].append(filename)
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
            "host": host_name(),
            "pid": os.getpid(),
            "boot": boot_id(),
            "zone": time.strftime("%z"),
        }
        return {key: value for key, value in facts.items() if value is not None}

    def _hold_lock(self) -> None:
        try:
            file = self.folder.reopen(lock_name(self.name))
            if try_lock(file.fd):
                self._lock_file = file
        except OSError:  # a file system without locks: the heartbeat is left
            return

    def _release_lock(self, *, remove: bool) -> None:
        """Let go of the lock.

        Args:
            remove: Whether its file goes, too. A lock that nobody holds tells readers
                that a writer is gone which could not write its end.
        """
        if self._lock_file is None:
            return
        self._lock_file = None
        if not remove:
            return
        try:
            self.folder.remove(lock_name(self.name))
        except OSError:  # a stale lock file that nobody holds does no harm
            return

    def _tell_losses(self, _: float = 0.0) -> None:
        """Write one `run.dropped` for each reason, once the disk takes entries again."""
        places, self._cut_off = self._cut_off, None
        if places is not None:
            self._find_cut_off(places)
        with self._lock:
            losses, self._losses = self._losses, {}
        for reason, loss in losses.items():
            self._named = max(self._named, loss.last or 0)
            entry = event_fields("run.dropped", loss.data(reason), self.redactor)
            entry["seq"] = seq = self.take()
            try:
                self.events.append(encode(entry))
            except OSError:  # told in a later round, the number of this event too
                loss.add(0, seq, seq)
                with self._lock:
                    kept = self._losses.setdefault(reason, _Loss())
                    kept.add(loss.count, loss.first, loss.last)

    def _find_cut_off(self, places: dict[Stream, tuple[str, int]]) -> None:
        """Count the numbers that are in no file since a call was cut off as lost.

        Some of other threads may be among them that are just being written: a number
        that is named and there is no contradiction.

        Args:
            places: Active segment of each stream, and its size, when it happened.
        """
        seq = self.take()
        self._write_as(seq, "events", event_fields("run.heartbeat", {}))
        found, since = {seq}, self._named + 1
        for stream, (name, size) in places.items():
            numbers, are_all = self._numbers_since(self.made[stream], name, size)
            found |= numbers
            if not are_all:
                since = max(since, min(numbers, default=seq))
        missing = sorted(set(range(since, seq)) - found)
        if missing:
            self.lose("interrupted", missing[0], missing[-1], len(missing))

    def _numbers_since(
        self, names: list[str], name: str, size: int
    ) -> tuple[set[int], bool]:
        """Return the numbers from somewhat before a place on, and if these are all."""
        found: set[int] = set()
        at, offset = names.index(name) if name in names else 0, size - _MARGIN
        while at > 0 and offset < 0:
            at -= 1
            offset += self.folder.size(names[at])
        are_all = at == 0 and offset <= 0 and not self._has_dropped
        for later in names[at:]:
            try:
                found.update(_numbers_in(self.folder.path / later, offset))
            except OSError:  # somebody removed it
                are_all = False
            offset = 0
        return found, are_all

    def _sync_when_due(self, now: float) -> None:
        interval = self.options.fsync_interval
        if isinstance(interval, int | float) and now - self._times.sync >= interval:
            self._times.sync = now
            self.sync()

    def _beat(self, now: float) -> None:
        if now - self._times.beat >= self.options.heartbeat:
            if self._times.beat:
                self.event("run.heartbeat", {})
            self._times.beat = now

    def _watch_space(self, now: float) -> None:
        if now - self._times.space >= 5.0:
            self._times.space = now
            self.scarce = _is_low(self.folder.path)
        self._drop_old_logs()

    def _find_again(self, _: float) -> None:
        """Begin new segments when somebody removed the files of a running run."""
        gone = [segment for segment in self._streams.values() if segment.is_lost()]
        if not gone:
            return
        text = f"files of the running run {self.folder.path} were removed; going on in new ones"
        warn_once("removed", text)
        if not self.folder.exists():
            parent, name = self.folder.path.parent, self.folder.path.name
            parts = (parent.name, name)
            self.folder = Folder.open_below(parent.parent, parts, self.folder.access)
        for segment in gone:
            segment.restart()
        self._hold_lock()
        # Taken after the restart: whoever still wrote to the old files has a lower one.
        seq = self.take()
        self._write_as(seq, "events", event_fields("writer.start", self._facts()))
        self.lose("files were removed", 0, seq - 1, count=seq)

    def _drop_old_logs(self) -> None:
        """Remove this writer's oldest logs segments while the run has too many bytes."""
        old = self.made["logs"]
        if len(old) < 2:
            return
        sizes = self._log_sizes()
        while sum(sizes.values()) > self.options.max_log_bytes and len(old) > 1:
            name = old.pop(0)
            self._has_dropped = True
            sizes.pop(name, None)
            gone = _Loss()
            try:
                for seq in _numbers_in(self.folder.path / name):
                    gone.add(1, seq, seq)
            except FileNotFoundError:  # somebody was faster
                continue
            self.folder.remove(name)
            data = gone.data("max_log_bytes") | {"segment": name}
            self.event("run.dropped", data)

    def _log_sizes(self) -> dict[str, int]:
        names = [n for n in self.folder.names() if n.startswith("logs")]
        return {n: self.folder.size(n) for n in names if parse_segment(n)}


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return str(text)[:200]


def _numbers_in(path: Path, start: int = 0) -> Iterator[int]:
    """Yield the `seq` of each whole entry of a segment, from the offset `start` on.

    Of a line with a cut entry glued before a whole one it is the last that counts.
    """
    with read_from(path) as lines:
        if start > 0:
            lines.seek(start)
            lines.readline()
        for line in lines:
            if not line.endswith(b"\n"):
                return
            if line.count(_ENTRY) == 1 and (match := _SEQ.match(line)):
                yield int(match[1])
            elif isinstance(seq := (salvage(line) or {}).get("seq"), int):
                yield seq


def _is_low(path: Path) -> bool:
    """Whether so little space is left that only what matters most is written."""
    try:
        import shutil  # on the keeper's thread: it loads slowly

        usage = shutil.disk_usage(path)
    except OSError:
        return False
    return usage.free < min(_LOW_BYTES, usage.total * _LOW_SHARE)


def try_lock(fd: int) -> bool:
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
        return (
            Path("/proc/sys/kernel/random/boot_id").read_bytes().decode("ascii").strip()
        )
    except OSError:
        return None


def _user() -> str | None:
    try:
        import getpass  # only here: it loads slowly

        return getpass.getuser()
    except Exception:  # a container's uid without a name; the kinds differ by version
        return str(os.getuid()) if hasattr(os, "getuid") else None
