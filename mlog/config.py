"""`mlog.basicConfig`: a console and a run in one call."""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from mlog.formatters import ConsoleFormatter
from mlog.record import LeanMetric, MetricText
from mlog.run.api import Run
from mlog.run.levels import level_number
from mlog.run.start import announce, start_run

__all__ = ["ConsoleHandler", "basicConfig"]


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Shows records to people; metrics without a message at most once a second each.

    Bare metrics come every step, and a terminal is for reading: of each logger only
    the first of a second gets a line. A run's files hold them all.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        level: int | str = logging.INFO,
        *,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            stream: Default: stderr.
            level: As for every handler.
            interval: Seconds between two lines of bare metrics of one logger.
            clock: Gives seconds.
        """
        stream = stream or sys.stderr
        super().__init__(stream)
        self.setLevel(level)
        self.setFormatter(ConsoleFormatter.for_stream(stream, os.environ))
        self._interval = interval
        self._clock = clock
        self._shown: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, unless it is one bare metric too many."""
        if type(record) is LeanMetric or isinstance(record.msg, MetricText):
            now = self._clock()
            last = self._shown.get(record.name)
            if last is not None and now - last < self._interval:
                return
            self._shown[record.name] = now
        super().emit(record)


def basicConfig(
    experiment: str | None = None,
    *,
    console: bool | TextIO = True,
    console_level: int | str = logging.INFO,
    force: bool = False,
    **options: Any,
) -> Run:
    """Start a run, and show the program's lines on a console: for scripts.

    Says once on stderr where the run is. Like `logging.basicConfig` it leaves root's
    handlers alone where there are some, unless `force`; the run is started in any
    case.

    Args:
        experiment: As for `start_run`.
        console: Whether to add a `ConsoleHandler` to root; a stream other than stderr.
        console_level: Level of the console. Root's level is lowered to it if need be.
        force: Remove and close root's handlers first.
        **options: As for `start_run`.

    Returns:
        The run; it ends with the process, or by `complete`, or as a context manager.

    Raises:
        Everything that `start_run` raises.
    """
    number = level_number(console_level)
    run = start_run(experiment, **options)
    root = logging.root
    if force:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
    if console is not False and not root.handlers:
        stream = sys.stderr if console is True else console
        root.addHandler(ConsoleHandler(stream, number))
        if root.level > number:
            root.setLevel(number)
    announce(run)
    return run
