"""Handlers for files of the user's own: `JSONLHandler` and `FlightRecorderHandler`."""

import collections
import copy
import logging
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.entry import has_nonfinite
from mlog.folder import GROUP, PRIVATE, OpenFile, append_to
from mlog.formatters import EntryFormatter
from mlog.logger import always
from mlog.record import metric_of
from mlog.segments import Segment
from mlog.tap import ensure_installed
from mlog.types import Mode

__all__ = ["FlightRecorderHandler", "JSONLHandler"]


class JSONLHandler(logging.Handler):
    """Appends every record as one JSON line to a file of the user's choice.

    Like `logging.FileHandler`, but one whole `os.write` per record: a line that a call
    has returned from survives `kill -9`, and several processes may append to one file.
    Metrics at INFO and above are written whatever the loggers' levels say; other
    records obey them. Nothing is opened before the first record.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        level: int | str = logging.NOTSET,
        *,
        mode: Mode = "private",
        formatter: logging.Formatter | None = None,
        **options: Any,
    ) -> None:
        """Prepare.

        Args:
            filename: File to append to; its folder must be there.
            level: As for every handler.
            mode: "private" (0600) or "group" (0660), for a file that is made.
            formatter: Default: an `EntryFormatter`.
            **options: For the `EntryFormatter`: `rename_fields`, `static_fields`,
                `redact`, ….

        Raises:
            ValueError, TypeError: An argument is wrong.
        """
        super().__init__(level)
        ensure_installed()
        if mode not in ("private", "group"):
            raise ValueError(f"mode must be 'private' or 'group', got {mode!r}")
        self.path = Path(os.path.abspath(filename))
        self._access = GROUP if mode == "group" else PRIVATE
        self._segment = Segment(self._open)
        self.setFormatter(formatter or EntryFormatter(**options))
        always.add(weakref.ref(self, always.discard))

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record; what fails goes to `handleError`, never to the caller."""
        try:
            self._segment.append(self.format(record).encode("utf-8", "replace") + b"\n")
        except Exception:  # a lost line is better than a lost training run
            self.handleError(record)

    def createLock(self) -> None:
        """Have no lock: the kernel appends whole lines of any thread in turn."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and append; `logging`'s own takes the lock without asking (3.13)."""
        kept = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def flush(self) -> None:
        """Put everything on the disk (fsync), as far as it lets us."""
        try:
            self._segment.sync()
        except OSError:  # a pipe or a full disk: the lines are with the kernel
            return

    def close(self) -> None:
        """Let go of the file; a later record opens it again, as `FileHandler` does."""
        self._segment.close()
        super().close()

    def _open(self, number: int) -> OpenFile:
        file = append_to(self.path, self._access)
        if number and self._is_torn():  # the line before was cut by a full disk
            os.write(file.fd, b"\n")
        return file

    def _is_torn(self) -> bool:
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return False
            file.seek(size - 1)
            return file.read(1) != b"\n"


class FlightRecorderHandler(logging.Handler):
    """Keeps the latest records in memory and hands them on when trouble comes.

    Trouble is a record at `trigger` or above, or a metric that is not finite. Then the
    kept records go to `target`, oldest first, and the troubling one after them. So a
    file holds DEBUG detail of the moments that matter only.
    """

    def __init__(
        self,
        target: logging.Handler | None = None,
        capacity: int = 1_000,
        trigger: int | str = logging.ERROR,
        level: int | str = logging.NOTSET,
    ) -> None:
        """Prepare.

        Args:
            target: Where records go; may be set later by `setTarget`.
            capacity: Number of records kept.
            trigger: Level of trouble.
            level: As for every handler.

        Raises:
            ValueError: `capacity` is not positive.
        """
        super().__init__(level)
        ensure_installed()
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._target = target
        self._ring: collections.deque[logging.LogRecord] = collections.deque(
            maxlen=capacity
        )
        self._trigger = logging.Handler(trigger).level

    def setTarget(self, target: logging.Handler | None) -> None:
        """Set where records go."""
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, or hand all on; never raises an Exception."""
        try:
            metric = metric_of(record)
            self._ring.append(_frozen(record, metric))
            wrong = metric is not None and has_nonfinite(metric)
            if record.levelno >= self._trigger or wrong:
                self.hand_on()
        except Exception:
            self.handleError(record)

    def hand_on(self) -> None:
        """Hand all kept records to the target."""
        while self._ring and self._target is not None:
            self._target.handle(self._ring.popleft())


def _frozen(
    record: logging.LogRecord, metric: Mapping[Any, Any] | None
) -> logging.LogRecord:
    """Return a copy that later changes of arguments and metrics do not reach."""
    frozen = copy.copy(record)
    if record.args or not isinstance(frozen.msg, str):
        frozen.msg, frozen.args = record.getMessage(), None
    if metric is not None:
        frozen.__dict__["metric"] = dict(metric)
    return frozen
