"""The record that the tap makes, and what a record of any origin says of metrics.

`LeanRecord` stores what an entry needs and fills in what `logging` would have stored
only when somebody reads it: making a stock `LogRecord` costs three times as much as
writing the line.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import CodeType
from typing import Any

from mlog.context import formatting
from mlog.plain import safe_str

__all__ = [
    "STANDARD",
    "LeanMetric",
    "LeanRecord",
    "MetricText",
    "metric_of",
    "metric_text",
]

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "metric",
    "step",
    "taskName",
}
"""Attributes of a record that are not the caller's own fields."""

_FILLED = "pathname"
"""An attribute that a lean record has only once it is filled in."""

_time_ns = time.time_ns
_modules = sys.modules
_get_ident = threading.get_ident
_main_ident = threading.main_thread().ident
_stored = logging.LogRecord.__dict__["__dict__"].__get__
"""Read the real attribute dictionary of a record, past `LeanRecord.__dict__`."""


def _find_main_thread() -> None:
    """In a forked child the thread that forked is the main one."""
    global _main_ident
    _main_ident = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)


class LeanRecord(logging.LogRecord):
    """A record that is cheap to make and complete as soon as anybody looks.

    It keeps the code object and offset of the call instead of path and line, and no
    thread or process fields. Reading `__dict__` (every formatter does) or any missing
    attribute fills them in, so formatters, `copy` and `pickle` see what `logging`
    itself would have stored; a copy is a plain `LogRecord`.
    """

    __slots__ = (
        "_mlog_lasti",
        "_mlog_made_by",
        "mlog_code",
        "mlog_extra",
        "mlog_line",
        "mlog_metric",
        "mlog_step",
        "mlog_time_ns",
    )

    _mlog_own = 4
    """How many attributes it sets in its dictionary when it is made."""

    exc_info = None
    exc_text = None
    stack_info = None

    def __init__(
        self,
        name: str,
        level: int,
        msg: object,
        args: Any,
        metric: Mapping[Any, Any] | None,
        step: object,
        extra: Mapping[str, Any] | None,
        code: CodeType,
        lasti: int,
        lineno: int,
    ) -> None:
        """Store the parts; `code`, `lasti` and `lineno` tell where the call stands."""
        self.mlog_time_ns = _time_ns()
        elsewhere = _get_ident() != _main_ident or "asyncio" in _modules
        self._mlog_made_by = _thread_and_task() if elsewhere else None
        self.name = name
        self.levelno = level
        self.msg = msg  # typeshed: str; any object in fact
        self.args = args
        self.mlog_metric = metric
        self.mlog_step = step
        self.mlog_extra = extra
        self.mlog_code = code
        self._mlog_lasti = lasti
        self.mlog_line = lineno

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # read-only here
        """All attributes, as `logging` would have stored them."""
        stored = _stored(self)
        if _FILLED not in stored:
            self._mlog_fill()
        return stored  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        """Fill the record in when an attribute is asked for that is not there yet."""
        stored = _stored(self)
        if _FILLED not in stored:
            self._mlog_fill()
            if name in stored:
                return stored[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a plain record that needs no mlog to be read."""
        return logging.makeLogRecord, (dict(self.__dict__),)

    def __reduce_ex__(self, protocol: Any, /) -> tuple[Any, ...]:
        """See `__reduce__`."""
        return self.__reduce__()

    @property
    def mlog_path(self) -> str:
        """Path of the source file of the call."""
        return self.mlog_code.co_filename

    @property
    def mlog_function(self) -> str:
        """Name of the calling function."""
        return self.mlog_code.co_name

    def _mlog_fill(self) -> None:
        own = dict(_stored(self))
        whole = vars(_stock_record(self)) | own
        whole.update((k, v) for k, v in (self.mlog_extra or {}).items() if k not in own)
        if self.mlog_metric is not None:
            whole.setdefault("metric", self.mlog_metric)
        if self.mlog_step is not None:
            whole.setdefault("step", self.mlog_step)
        _stored(self).update(whole)

    def mlog_fields(self) -> Mapping[str, Any]:
        """Return the caller's own fields, with those that filters added later."""
        stored = _stored(self)
        if len(stored) == self._mlog_own:
            return self.mlog_extra or {}
        later = {k: v for k, v in stored.items() if k not in STANDARD}
        return {**(self.mlog_extra or {}), **later}


class _Text:
    """Message of metrics that were given none: made when somebody reads it.

    No data descriptor, so that a filter may set `record.msg`.
    """

    def __get__(self, record: Any, owner: Any = None) -> Any:
        if record is None:
            return ""
        return metric_text(record.mlog_metric or {}, record.mlog_step)


class LeanMetric(LeanRecord):
    """A record of metrics given by `metric=`, without a message.

    Its line is looked up only when somebody asks.
    """

    __slots__ = ()

    _mlog_own = 2
    msg = _Text()
    args = ()

    def __init__(
        self,
        name: str,
        level: int,
        metric: Mapping[Any, Any],
        step: object,
        extra: Mapping[str, Any] | None,
        code: CodeType,
        lasti: int,
    ) -> None:
        """Store the parts."""
        self.mlog_time_ns = _time_ns()
        elsewhere = _get_ident() != _main_ident or "asyncio" in _modules
        self._mlog_made_by = _thread_and_task() if elsewhere else None
        self.name = name
        self.levelno = level
        self.mlog_metric = metric
        self.mlog_step = step
        self.mlog_extra = extra
        self.mlog_code = code
        self._mlog_lasti = lasti

    def mlog_message(self) -> object:
        """Return what a filter has set as message, "" where none has."""
        return _stored(self).get("msg", "")

    @property
    def mlog_line(self) -> int:  # type: ignore[override]  # a slot of the other kind
        """Line of the call."""
        return _line_at(self.mlog_code, self._mlog_lasti)


def _stock_record(lean: LeanRecord) -> logging.LogRecord:
    """Build the record `logging` would have made, at the time of the lean one."""
    stock = logging.LogRecord(
        lean.name,
        lean.levelno,
        lean.mlog_path,
        lean.mlog_line,
        lean.msg,
        (),
        None,
        lean.mlog_function,
    )
    created = lean.mlog_time_ns / 1e9
    stock.relativeCreated -= (stock.created - created) * 1_000
    stock.created = created
    if sys.version_info >= (3, 13):
        stock.msecs = lean.mlog_time_ns // 1_000_000 % 1_000 + 0.0
    else:
        stock.msecs = int((created - int(created)) * 1_000) + 0.0
    # Whoever reads it first, a MemoryHandler for one, may do so anywhere.
    thread, task = lean._mlog_made_by or (threading.main_thread(), None)
    if stock.thread is not None:
        stock.thread, stock.threadName = thread.ident, thread.name
    if sys.version_info >= (3, 12):
        stock.taskName = task
    return stock


def _thread_and_task() -> tuple[threading.Thread, str | None]:
    """Return the calling thread, and the name of its task as `logging` stores it."""
    thread = threading.current_thread()
    asyncio = _modules.get("asyncio")
    if asyncio is None or not getattr(logging, "logAsyncioTasks", False):
        return thread, None
    try:
        loop = asyncio._get_running_loop()
        task = asyncio.current_task(loop) if loop is not None else None
        return thread, task.get_name() if task is not None else None
    except Exception:  # half imported, or a foreign loop
        return thread, None


def _line_at(code: CodeType, lasti: int) -> int:
    for start, end, line in code.co_lines():
        if start <= lasti < end and line is not None:
            return line
    return code.co_firstlineno


class MetricText(str):
    """A message made of metrics for the eyes of other handlers; not part of an entry."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain text, which needs no mlog to be read."""
        return str, (str(self),)

    def __deepcopy__(self, memo: Any) -> "MetricText":
        """Stay what it is: texts do not change."""
        return self


def metric_text(metric: Mapping[Any, Any], step: object = None) -> MetricText:
    """Return `loss=0.3 acc=0.9 step=3`, for handlers that show text.

    What a value logs while it is shown goes to the run only; see `Formatting`.
    """
    formatting.depth += 1
    try:
        parts = [f"{safe_str(name)}={_short(value)}" for name, value in metric.items()]
        if step is not None:
            parts.append(f"step={_short(step)}")
        return MetricText(" ".join(parts))
    finally:
        formatting.depth -= 1


def _short(value: object) -> str:
    text = f"{value:.6g}" if type(value) is float else safe_str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def metric_of(record: logging.LogRecord) -> Mapping[Any, Any] | None:
    """Return the metrics a record carries, by keyword, `extra=` or loguru's `extra`.

    Only a Mapping counts; another library's `extra={"metric": "accuracy"}` is its own.
    """
    if isinstance(record, LeanRecord):
        return record.mlog_metric
    fields = record.__dict__
    metric = fields.get("metric")
    if metric is None and isinstance(nested := fields.get("extra"), Mapping):
        metric = nested.get("metric")
    return metric if type(metric) is dict or isinstance(metric, Mapping) else None
