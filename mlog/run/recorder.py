"""Where records enter a run: which are taken, and what becomes of them."""

import collections
import logging
import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlog.context import Receiver, Scope, formatting, scope
from mlog.entry import (
    NestingError,
    Redacts,
    fields_of,
    has_nonfinite,
    metric_line,
    text_line,
)
from mlog.errors import StrictWarning, warn_once
from mlog.record import LeanRecord, metric_of
from mlog.run.keeper import keeper
from mlog.run.levels import LevelRule
from mlog.run.writer import Place, Writer

__all__ = ["Recorder", "Silent"]

_INFO = logging.INFO


class Recorder(logging.Filterer):
    """Takes records for one run; a `Receiver`. Safe from any thread.

    Filters added to it (`addFilter`) decide about records of this run only; they may
    replace a record (Python 3.12) but must not change it, as other handlers see it too.

    Attributes:
        is_open: Whether records are still taken.
        outer: The run this one was started inside.
        writer: Appends the entries; another one in a forked child.
    """

    def __init__(
        self,
        writer: Writer,
        rule: LevelRule,
        *,
        outer: Receiver | None = None,
        redactor: Redacts | None = None,
        flight_recorder: int = 0,
        strict: bool = False,
        filters: Iterable[Any] = (),
    ) -> None:
        """Join the parts.

        Args:
            writer: Where entries go.
            rule: Which lines are taken.
            outer: The run this one was started inside.
            redactor: Takes secrets out. None: nothing is taken out.
            flight_recorder: How many of the latest lines that were not taken are kept
                in memory, to be written when an ERROR or a non-finite metric comes.
            strict: Whether failures are raised to the caller, for tests.
            filters: As for `addFilter`.
        """
        super().__init__()
        self.writer = writer
        self.rule = rule
        self.outer = outer
        self.is_open = True
        self.redactor = redactor
        self.strict = strict
        self._uncounted = 0
        self._ring: collections.deque[dict[str, Any]] | None = None
        if flight_recorder:
            self._ring = collections.deque(maxlen=flight_recorder)
        for each in filters:
            self.addFilter(each)
        _recorders.add(self)

    def wanted_level(self, logger: str) -> int:
        """Return the lowest level this run wants from the logger of that name."""
        if self._ring is not None:
            return logging.DEBUG
        return self.rule.wanted(logger)

    def receive(self, record: logging.LogRecord, passes: bool) -> None:
        """Take one record: when this returns, its entry is with the kernel.

        Never raises an Exception (but with `strict`). What cannot be written is
        counted, and told by a `run.dropped` event.
        """
        try:
            self._receive(record, passes, scope())
        except Exception as exc:  # a lost line is better than a lost training run
            self._lose(exc, b"")
            if self.strict:
                raise
        except BaseException:  # Ctrl-C, or a signal handler that raises
            self.interrupted()
            raise

    def receive_kept(self, record: logging.LogRecord) -> None:
        """Take a record that has passed the level and the filters; see `receive`."""
        try:
            self._keep(record, scope(), True)
        except Exception as exc:
            self._lose(exc, b"")
            if self.strict:
                raise
        except BaseException:
            self.interrupted()
            raise

    def receive_metric(self, logger: str, level: int, metric: Any, step: Any) -> bool:
        """Take a metric-only call without a record, if it is one of plain numbers.

        Args:
            logger, level, metric, step: Of the call, unchecked.

        Returns:
            False: nothing was done; make a record and call `receive`.
        """
        line = b""
        try:
            now = scope()
            if now.fields is not None or self.filters or level < _INFO or not metric:
                return False
            if step is None:
                step = now.step
            writer = self.writer
            line = metric_line(logger, level, metric, step, writer.take)
            if not line:
                return False
            writer.metrics.append(line)
        except Exception as exc:  # a lost line is better than a lost training run
            self._lose(exc, line)
            if self.strict:
                raise
        except BaseException:  # Ctrl-C, or a signal handler that raises
            self.interrupted()
            raise
        return True

    def _receive(self, record: logging.LogRecord, passes: bool, now: Scope) -> None:
        metric, level = metric_of(record), record.levelno
        taken = (metric is not None and level >= _INFO) or self.rule.accepts(
            record.name, level, passes
        )
        if self._ring is None:
            if not taken:
                return
            if type(record) is LeanRecord and self._receive_short(record, now):
                return
        if self.filters:
            kept = self.filter(record)
            if not kept:
                return
            if isinstance(kept, logging.LogRecord):
                record = kept
        self._keep(record, now, taken)

    def _receive_short(self, record: LeanRecord, now: Scope) -> bool:
        """Write a record of text and plain numbers; False if it is not one."""
        writer, step = self.writer, record.mlog_step
        if record.mlog_extra or self.filters or now.fields is not None or writer.scarce:
            return False
        redact = None if self.redactor is None else self.redactor.text
        step = now.step if step is None else step
        line = text_line(record, step, writer.take, redact)
        if not line:
            return False
        stream = writer.logs if record.mlog_metric is None else writer.metrics
        try:
            stream.append(line)
        except OSError as exc:
            self._lose(exc, line)
        return True

    def _keep(self, record: logging.LogRecord, now: Scope, taken: bool) -> None:
        """Write a record that has passed the filters, or keep it in memory."""
        metric, level = metric_of(record), record.levelno
        formatting.depth += 1
        try:
            stream, entry = fields_of(record, now, self.redactor)
        finally:
            formatting.depth -= 1
        if not taken:
            assert self._ring is not None
            self._ring.append(entry)
            return
        if stream == "logs" and metric is not None and "msg" not in entry:
            warn_once("empty", "metric= holds no metrics; nothing is recorded")
            return
        if stream == "logs" and self.writer.scarce and level < logging.WARNING:
            self.writer.lose("little disk space is left", None)
            return
        if self._ring and (level >= logging.ERROR or _went_wrong(metric)):
            self._release()
        self.writer.write(stream, entry)

    def _release(self) -> None:
        """Write the lines before the trouble."""
        assert self._ring is not None
        while self._ring:
            entry = self._ring.popleft()
            self.writer.write("metrics" if "metric" in entry else "logs", entry)

    def _lose(self, error: Exception, line: bytes) -> None:
        """Count an entry that could not be made or written; raises as `receive` does."""
        try:
            if isinstance(error, StrictWarning):  # a mistake in the call, and no loss
                raise error
            if not line and not isinstance(error, NestingError):
                self.writer.cut_off()  # it may have had a number
            self.settle()
            seq = int(line.split(b'"seq":', 1)[1].split(b",", 1)[0]) if line else None
            reason = getattr(error, "strerror", None)
            text = str(reason or f"{type(error).__name__}: {error}")
            self.writer.lose(text[:200], seq)
        except Exception as exc:
            if self.strict or exc is error:
                raise
            self._uncounted += 1  # no stack or memory left even to count

    def settle(self) -> None:
        """Count what was lost where there was no stack or memory left to count."""
        while self._uncounted:
            self._uncounted -= 1
            self.writer.lose("no stack or memory left", None)

    def interrupted(self) -> None:
        """Have the number named that the call may have taken when it was cut off."""
        self.writer.cut_off()

    def after_fork_in_child(self) -> None:
        """Go on as a writer of this process's own, begun with its first entry."""
        parent = self.writer
        parent.forget_lock()
        place = Place(main=False, attempt=parent.attempt)
        child = replace(parent, place=place, name="", scarce=False)
        child.on_open = keeper.ensure
        self.writer = child
        if self._ring is not None:
            self._ring.clear()
        keeper.watch(child)


class Silent:
    """Takes the records of a run that is off, and drops them."""

    def __init__(self) -> None:
        """Be open, outside any other run."""
        self.is_open = True
        self.outer: Receiver | None = None

    def receive(self, record: logging.LogRecord, passes: bool) -> None:
        """Drop the record."""

    def receive_metric(self, logger: str, level: int, metric: Any, step: Any) -> bool:
        """Drop the call."""
        return True

    def wanted_level(self, logger: str) -> int:
        """Want nothing that the program's own levels do not let pass."""
        return sys.maxsize


def _went_wrong(metric: Mapping[Any, Any] | None) -> bool:
    return metric is not None and has_nonfinite(metric)


_recorders: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        if recorder.is_open:
            recorder.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
