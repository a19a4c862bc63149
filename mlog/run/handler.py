"""`RunHandler`: a run as a `logging.Handler`, for `basicConfig` and `dictConfig`."""

import logging
import os
import threading
import weakref
from collections.abc import Iterable
from logging import LogRecord
from typing import Any

from mlog import context
from mlog.context import Receiver
from mlog.errors import warn_once
from mlog.logger import MetricLogger, to_run
from mlog.record import LeanRecord, metric_of
from mlog.run.api import Run, run_of
from mlog.run.levels import LevelRule, level_number
from mlog.run.recorder import Recorder
from mlog.run.remote import chosen_urls
from mlog.run.start import announce, start_run
from mlog.tap import clear_level_caches, ensure_installed

__all__ = ["RemoteHandler", "RunHandler"]


class RunHandler(logging.Handler):
    """Sends the process's records to a run, which begins with the first of them.

    `logging.basicConfig(level=logging.DEBUG, handlers=[mlog.RunHandler()])` is the
    usual way. While another run is open its records go there. The tap shows records to
    the run before any handler is asked; what the handler itself takes are records of
    loggers that the tap does not reach (foreign classes, other processes' records), so
    no record is written twice. Closing the handler, as `dictConfig` does to all, does
    not end the run; `handler.run.complete()` or the end of the process does.
    """

    def __init__(self, experiment: str | None = None, **options: Any) -> None:
        """Prepare; nothing is opened before the first entry.

        Args:
            experiment: As for `start_run`.
            **options: As for `start_run`; `level` is a level specification, and
                `filters` are filters of this handler.

        Raises:
            ValueError, TypeError: `level` is wrong, or there is no such option.
        """
        super().__init__()
        self._lowest = logging.NOTSET
        unknown = options.keys() - (start_run.__kwdefaults__ or {}).keys()
        if unknown:
            raise TypeError(f"start_run has no argument {', '.join(sorted(unknown))}")
        for each in options.pop("filters", ()):
            self.addFilter(each)
        self._options = {**options, "experiment": experiment}
        self._pending = _Pending(self, LevelRule(options.get("level", "auto")))
        ensure_installed()
        context.add_receiver(self._pending)
        clear_level_caches()

    @property
    def run(self) -> Run:
        """The run; started if it was not."""
        return self._pending.open()

    def setLevel(self, level: int | str) -> None:
        """Take lines from this level on, instead of "auto".

        `handler.level` never shows more than INFO, or `logging` would hold back metrics.
        """
        self._lowest = number = level_number(level)
        super().setLevel(min(number, logging.INFO))
        if hasattr(self, "_pending"):  # not from Handler.__init__
            self._options["level"] = number
            self._pending.set_rule(LevelRule(number))
            clear_level_caches()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record that the tap has not shown to the run."""
        if not _is_tapped(record):
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the active run; never raises an Exception."""
        certain = metric_of(record) is not None and record.levelno >= logging.INFO
        if record.levelno < self._lowest and not certain:
            return
        run = context.active()
        if run is not None:
            run.receive(record, passes=True)

    def flush(self) -> None:
        """Put what was recorded so far on the disk, as far as it lets us."""
        if hasattr(self, "_pending") and self._pending.opened is not None:
            self._pending.opened.flush()


class RemoteHandler(RunHandler):
    """A `RunHandler` whose run is sent to a sink, or several, while it goes on."""

    def __init__(
        self,
        url: str | Iterable[str],
        experiment: str | None = None,
        **options: Any,
    ) -> None:
        """Prepare; nothing is opened or sent before the first entry.

        Args:
            url: As `remote` of `start_run`.
            experiment, **options: As for `RunHandler`.

        Raises:
            ValueError, TypeError: A URL or `level` is wrong, or there is no such option.
        """
        urls = chosen_urls(url, (), {})
        super().__init__(experiment, remote=urls, **options)


to_run.update((RunHandler, RemoteHandler))


def _is_tapped(record: logging.LogRecord) -> bool:
    """Whether the run has seen the record already, before any handler."""
    if isinstance(record, LeanRecord):
        return True
    if record.process not in (None, os.getpid()):
        return False
    if record.name == "root":
        return isinstance(logging.root, MetricLogger)
    return isinstance(logging.root.manager.loggerDict.get(record.name), MetricLogger)


class _Pending:
    """Stands for a handler's run until its first record comes; a `Receiver`."""

    def __init__(self, handler: RunHandler, rule: LevelRule) -> None:
        self.is_open = True
        self.outer: Receiver | None = None
        self.opened: Run | None = None
        self._handler = handler
        self._rule = rule
        self._lock = threading.RLock()
        self._opener: int | None = None
        _pendings.add(self)

    def set_rule(self, rule: LevelRule) -> None:
        """Change which lines are taken, also of the run that is open."""
        self._rule = rule
        receiver = self.opened.receiver if self.opened is not None else None
        if isinstance(receiver, Recorder):
            receiver.rule = rule

    def receive(self, record: logging.LogRecord, passes: bool) -> None:
        """Give the record to the open run, or begin this one with it."""
        run = self._other()
        if run is not None:
            run.receive(record, passes)
            return
        if self._opener == threading.get_ident():  # logged while the run begins
            return
        certain = metric_of(record) is not None and record.levelno >= logging.INFO
        if not (certain or self._rule.accepts(record.name, record.levelno, passes)):
            return
        try:
            kept = self._handler.filter(record)
            if kept:
                self._begin_with(kept if isinstance(kept, LogRecord) else record)
        except Exception as exc:  # a logging call must not raise
            text = f"the run of RunHandler cannot begin, nothing is recorded: {exc!r}"
            warn_once("handler", text)

    def receive_metric(self, logger: str, level: int, metric: Any, step: Any) -> bool:
        """Let the caller make a record: the first one begins the run."""
        return False

    def wanted_level(self, logger: str) -> int:
        """Return the lowest level wanted from the logger of that name."""
        return self._rule.wanted(logger)

    def open(self) -> Run:
        """Return the run, started at the first call."""
        with self._lock:
            if self.opened is None:
                self._opener = threading.get_ident()
                try:
                    self._start()
                finally:
                    self._opener = None
            assert self.opened is not None
            return self.opened

    def after_fork_in_child(self) -> None:
        """Let go of a lock that another thread of the parent may have held."""
        self._lock = threading.RLock()
        self._opener = None

    def _begin_with(self, record: logging.LogRecord) -> None:
        """Open the run and write a record that has passed the filters."""
        try:
            receiver = self.open().receiver
        except Exception:
            context.remove_receiver(self)  # the next record would fare no better
            self.is_open = False
            raise
        if isinstance(receiver, Recorder):
            receiver.receive_kept(record)

    def _start(self) -> None:
        before = context.scope().run
        self.opened = start_run(**self._handler._options)
        self.is_open = False
        context.remove_receiver(self)
        receiver = self.opened.receiver
        if isinstance(receiver, Recorder):  # filters of the handler are the run's
            receiver.filters = self._handler.filters
        # The run is everybody's, not that of the context of the first record.
        context.set_receiver(before)
        announce(self.opened)

    def _other(self) -> Receiver | None:
        """Return an open run that the process has beside this one."""
        if self.opened is not None:
            return self.opened.receiver if self.opened.status == "Running" else None
        others = (r for r in context.receivers() if r is not self and run_of(r))
        return next(others, None)


_pendings: "weakref.WeakSet[_Pending]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pending in list(_pendings):
        pending.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
