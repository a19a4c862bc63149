"""What the calling context knows: the active run, the step, and bound fields.

Each thread and each asyncio task has its own scope (one context variable). Where the
scope names no run, the process's default run is active: the oldest open one that was
not started inside another. Everything here is safe from any thread.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

__all__ = [
    "Formatting",
    "Receiver",
    "Scope",
    "active",
    "add_receiver",
    "bind",
    "formatting",
    "receivers",
    "remove_receiver",
    "scope",
    "set_receiver",
    "set_step",
    "step",
]


class Receiver(Protocol):
    """An open run, as the tap sees it: where records go and how low they may be."""

    is_open: bool
    """Whether records are still taken."""

    outer: "Receiver | None"
    """The run this one was started inside; active again when this one has ended."""

    def receive(self, record: logging.LogRecord, passes: bool) -> None:
        """Take one record; called on the thread that logs. Never raises an Exception.

        Args:
            record: Any record; it is not changed.
            passes: Whether the logger's own level lets the record pass, that is,
                whether it would have been handled without mlog.
        """

    def receive_metric(self, logger: str, level: int, metric: Any, step: Any) -> bool:
        """Take a metric-only call without a record; never raises an Exception.

        Args:
            logger, level, metric, step: Of the call, unchecked.

        Returns:
            False: nothing was done; make a record and call `receive`.
        """

    def wanted_level(self, logger: str) -> int:
        """Return the lowest level this run wants from the logger of that name."""


class Scope(NamedTuple):
    """What one context knows; replaced as a whole, never changed."""

    run: Receiver | None = None
    step: int | None = None
    fields: Mapping[str, Any] | None = None


class Formatting(threading.local):
    """Whether this thread is just making an entry of a run, by code of others perhaps.

    What that code logs goes to the run only: the handlers run it again when they format
    the record, and would show its lines twice.
    """

    depth = 0
    """How many entries are being made, one inside the other."""


formatting = Formatting()

_EMPTY = Scope()
_scope: ContextVar[Scope] = ContextVar("mlog_scope", default=_EMPTY)
scope = _scope.get
"""Return the scope of the calling context (a bound method: it is on the hot path)."""

_open: list[Receiver] = []
_default: Receiver | None = None


def active() -> Receiver | None:
    """Return the run that a record made here belongs to, or None."""
    run = _scope.get().run
    if run is None:
        return _default
    while run is not None and not run.is_open:
        run = run.outer
    return run or _default


def receivers() -> list[Receiver]:
    """Return every receiver that asked for records, the oldest first."""
    return list(_open)


def add_receiver(run: Receiver) -> None:
    """Make `run` known to all contexts; the oldest one outside others is the default."""
    _open.append(run)
    _choose_default()


def remove_receiver(run: Receiver) -> None:
    """Forget a run; an unknown one is no error."""
    with contextlib.suppress(ValueError):
        _open.remove(run)
    _choose_default()


def _choose_default() -> None:
    global _default
    outermost = (r for r in list(_open) if r.outer is None or not r.outer.is_open)
    _default = next(outermost, None)


def set_receiver(run: Receiver | None) -> None:
    """Make `run` the active run of the calling context."""
    _scope.set(_scope.get()._replace(run=run))


def set_step(step: int | None) -> None:
    """Give every later entry of this context that names no step this one.

    Args:
        step: Position on the x axis in the caller's unit. None: no step again.
    """
    _scope.set(_scope.get()._replace(step=step))


@contextlib.contextmanager
def step(number: int) -> Iterator[None]:
    """Give every entry made inside the block that names no step this one.

    Example:
        >>> with step(3):
        ...     logging.getLogger("train").info("validating")
    """
    token = _scope.set(_scope.get()._replace(step=number))
    try:
        yield
    finally:
        _scope.reset(token)


@contextlib.contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Add fields to the `extra` of every entry made inside the block.

    Fields of an inner `bind` and of the call itself win over outer ones. Values are
    kept by reference and written as they are when an entry is made.

    Example:
        >>> with bind(fold=3):
        ...     logging.getLogger("train").info("fitting")
    """
    now = _scope.get()
    token = _scope.set(now._replace(fields={**(now.fields or {}), **fields}))
    try:
        yield
    finally:
        _scope.reset(token)
