"""Loggers that take `metric=` and `step=` and show every record to the run.

For everybody else nothing changes: a record goes on to the stock path exactly if it
would have gone there without mlog. `mlog.tap` gives the process's loggers this class.

What `MetricLogger` overrides, and why: the level methods (keywords, optional message),
`getEffectiveLevel` (an open run may want more than the program's levels let pass;
`logging` caches the answer), `_log` and `handle` (the run first, then the stock path).
"""

import logging
import sys
import traceback
import weakref
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, TypeAlias

from mlog.context import active, formatting, receivers
from mlog.errors import warn_once
from mlog.record import LeanMetric, LeanRecord, metric_of, metric_text
from mlog.types import Metrics

__all__ = ["MetricLogger", "MetricRootLogger", "always", "to_run"]

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING
ERROR, CRITICAL = logging.ERROR, logging.CRITICAL

ExcInfo: TypeAlias = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)

_get_frame = sys._getframe
_get_factory = logging.getLogRecordFactory
_THIS_FILE = _get_frame().f_code.co_filename
_INTERNAL = frozenset((_THIS_FILE, logging.addLevelName.__code__.co_filename))
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message"}
_NO_MAPPING = frozenset((int, float, str, bool, type(None)))
_STOCK_KEYWORDS = {"exc_info", "stack_info", "stacklevel"}
_stock_make_record = logging.Logger.makeRecord
_stock_find_caller = logging.Logger.findCaller
_stock_call_handlers = logging.Logger.callHandlers
_ASKS_FOR_LEVEL = frozenset(("isEnabledFor", "getEffectiveLevel"))

always: "set[weakref.ref[logging.Handler]]" = set()
"""Handlers that get metrics at INFO and above whatever the loggers' levels say."""


to_run: set[type[logging.Handler]] = set()
"""Classes of handlers that need not be shown what the run was shown."""


class MetricLogger(logging.Logger):
    """A `logging.Logger` whose methods also take metrics.

    `logger.info(metric={"loss": 0.3}, step=3)` records numbers, with or without a
    message. A metric at INFO or above reaches the active run whatever the level of the
    logger, its `disabled` or `logging.disable` say. No method raises for a wrong
    argument: it warns once and keeps what can be kept.
    """

    _makes_stock_records = True

    def __init_subclass__(cls) -> None:
        """Note whether a subclass makes records its own way."""
        cls._makes_stock_records = (
            cls.makeRecord is _stock_make_record
            and cls.findCaller is _stock_find_caller
        )

    # The five level methods are alike on purpose: one more call in between would cost
    # a tenth of the whole way to the disk.

    def debug(
        self,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at DEBUG; metrics obey the level here like any debug line."""
        if self.isEnabledFor(DEBUG):
            if kwargs:
                self._log_with(DEBUG, msg, args, metric, step, kwargs)
            else:
                self._log_plain(DEBUG, msg, args, metric, step)

    def info(
        self,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at INFO.

        Args:
            msg: Message, %-formatted with `args` as everywhere in `logging`; may be
                left out when there are metrics.
            *args: For the message.
            metric: Name to number; "/" groups names, nested mappings are flattened.
                NaN and infinities are kept. Tensors are read by `.item()`, which waits
                for the GPU. Values are read before the call returns.
            step: Position on the x axis in the caller's unit, any order.
            **kwargs: `exc_info`, `stack_info`, `stacklevel`, `extra`, as in `logging`.
        """
        if kwargs:
            self._log_with(INFO, msg, args, metric, step, kwargs)
        elif metric is not None or self.isEnabledFor(INFO):
            self._log_plain(INFO, msg, args, metric, step)

    def warning(
        self,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at WARNING; see `info`."""
        if kwargs:
            self._log_with(WARNING, msg, args, metric, step, kwargs)
        elif metric is not None or self.isEnabledFor(WARNING):
            self._log_plain(WARNING, msg, args, metric, step)

    def error(
        self,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at ERROR; see `info`."""
        if kwargs:
            self._log_with(ERROR, msg, args, metric, step, kwargs)
        elif metric is not None or self.isEnabledFor(ERROR):
            self._log_plain(ERROR, msg, args, metric, step)

    def critical(
        self,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at CRITICAL; see `info`."""
        if kwargs:
            self._log_with(CRITICAL, msg, args, metric, step, kwargs)
        elif metric is not None or self.isEnabledFor(CRITICAL):
            self._log_plain(CRITICAL, msg, args, metric, step)

    fatal = critical

    def exception(
        self,
        msg: object = "",
        *args: object,
        exc_info: ExcInfo = True,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at ERROR with the exception being handled; see `info`."""
        kwargs["exc_info"] = exc_info
        self._log_with(ERROR, msg, args, metric, step, kwargs)

    def log(
        self,
        level: int,
        msg: object = "",
        *args: object,
        metric: Metrics | None = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Log at any level; see `info`."""
        if not isinstance(level, int):
            super().log(level, msg, *args, **kwargs)  # says what stock says
        elif kwargs:
            self._log_with(level, msg, args, metric, step, kwargs)
        elif (metric is not None and level >= INFO) or self.isEnabledFor(level):
            self._log_plain(level, msg, args, metric, step)

    def getEffectiveLevel(self) -> int:
        """Return the lower of the logger's own level and what open runs want."""
        level = super().getEffectiveLevel()
        for run in receivers():
            level = min(level, run.wanted_level(self.name))
        return level

    def handle(self, record: logging.LogRecord) -> None:
        """Show a finished record to the run, then to the handlers, whatever its level.

        As with a stock logger, whoever calls this has decided about the level.
        """
        run = active()
        if run is not None and not self._is_silenced(record):
            run.receive(record, not self.disabled)
        super().handle(record)

    def _log(
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: ExcInfo = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        **kwargs: Any,
    ) -> None:
        """Make a stock record and dispatch it; methods of other libraries call this.

        Most of them ask `isEnabledFor` before, which also says yes for the run; a
        record that nobody asked for is shown whatever its level, as without mlog.
        """
        given = {"exc_info": exc_info, "stack_info": stack_info}
        record = self._make(
            level, msg, args, extra, {**kwargs, **given, "stacklevel": stacklevel + 1}
        )
        if self._is_silenced(record):
            return
        names = _get_frame(1).f_code.co_names
        asked = bool(receivers()) and not _ASKS_FOR_LEVEL.isdisjoint(names)
        self._dispatch(record, level, asked)

    # --- from a call to a record -----------------------------------------------------

    def _log_plain(
        self,
        level: int,
        msg: object,
        args: Any,
        metric: Metrics | None,
        step: object,
    ) -> None:
        """Log a call without further keywords; stands right below the level method."""
        if type(metric) is dict and type(msg) is str and not msg and not args:
            run = active()
            if run is not None and run.receive_metric(self.name, level, metric, step):
                if self._passes(level) and self._is_heard(level):
                    if not formatting.depth:
                        record = self._record(level, msg, args, metric, step, _caller())
                        super().handle(record)
                elif always and not formatting.depth:
                    record = self._record(level, msg, args, metric, step, _caller())
                    self._show_always(record)
                return
        if metric is not None and not _is_mapping(metric):
            self._log_odd_metric(level, msg, args, metric, step, _caller())
            return
        record = self._record(level, msg, args, metric, step, _caller())
        if not self._dispatch(record, level) and metric is not None:
            _warn_of_no_run()

    def _log_with(
        self,
        level: int,
        msg: object,
        args: Any,
        metric: Metrics | None,
        step: object,
        kwargs: dict[str, Any],
    ) -> None:
        """Log a call that has `extra=`, `exc_info=` and the like, or a misspelling."""
        extra = kwargs.pop("extra", None)
        if extra is not None and type(extra) is not dict:
            extra = _read_extra(extra)
        known: dict[str, Any] = {}
        if kwargs:
            known = {k: kwargs.pop(k) for k in _STOCK_KEYWORDS & kwargs.keys()}
            if kwargs:
                _warn_of_keywords(kwargs)
                extra = {**kwargs, **(extra or {})}
        if metric is not None and not _is_mapping(metric):
            extra, metric = {**(extra or {}), **_odd_metric(metric)}, None
        by_keyword = metric is not None
        given = metric if by_keyword or not extra else extra.get("metric")
        if not (level >= INFO and _is_mapping(given)) and not self.isEnabledFor(level):
            return
        record: logging.LogRecord
        if not known and self._is_stock():
            frame = _caller()
            record = _lean(self.name, level, msg, args, metric, step, extra, frame)
        else:
            known["stacklevel"] = known.get("stacklevel", 1) + 2
            known |= {"metric": metric, "step": step}
            record = self._make(level, msg, args, extra, known)
        if not self._dispatch(record, level) and by_keyword:
            _warn_of_no_run()

    def _log_odd_metric(
        self,
        level: int,
        msg: object,
        args: Any,
        metric: object,
        step: object,
        frame: FrameType,
    ) -> None:
        """Log a call whose `metric=` is no mapping as an ordinary line."""
        extra = _odd_metric(metric)
        if not self.isEnabledFor(level):
            return
        record: logging.LogRecord
        if self._is_stock():
            record = _lean(self.name, level, msg, args, None, step, extra, frame)
        else:
            record = self._make(
                level, msg, args, extra, {"stacklevel": 4, "step": step}
            )
        self._dispatch(record, level)

    def _record(
        self,
        level: int,
        msg: object,
        args: Any,
        metric: Metrics | None,
        step: object,
        frame: FrameType,
    ) -> logging.LogRecord:
        """Make the record of a plain call, a lean one where `logging` is as it came."""
        if self._is_stock():
            return _lean(self.name, level, msg, args, metric, step, None, frame)
        known = {"stacklevel": 4, "metric": metric, "step": step}
        return self._make(level, msg, args, None, known)

    def _make(
        self,
        level: int,
        msg: object,
        args: Any,
        extra: Mapping[str, Any] | None,
        known: dict[str, Any],
    ) -> logging.LogRecord:
        """Make a record the way `Logger._log` does, by factory and `makeRecord`.

        Args:
            level, msg, args, extra: As in `Logger._log`.
            known: Other keywords of the call; `stacklevel` counts mlog's own frames,
                this function's excepted.
        """
        metric, step = known.get("metric"), known.get("step")
        if extra is not None:
            extra = _free_names(extra)
        if metric is not None:
            if type(msg) is str and not msg and not args:
                msg = metric_text(metric, step)
            extra = {**(extra or {}), "metric": metric}
        if step is not None:
            extra = {**(extra or {}), "step": step}
        path, line, function, stack = self._find(
            known.get("stack_info", False), known["stacklevel"] + 1
        )
        exc_info = _read_exc_info(known.get("exc_info"))
        parts = (self.name, level, path, line, msg, args, exc_info, function)
        try:
            return self.makeRecord(*parts, extra, stack)
        except KeyError:  # somebody's record factory sets a field of that name, too
            record = self.makeRecord(*parts, None, stack)
            record.__dict__.update(extra or {})
            return record

    def _find(self, stack_info: bool, stacklevel: int) -> tuple[str, int, str, Any]:
        """Return path, line and function of the caller, and the stack if asked."""
        unknown = ("(unknown file)", 0, "(unknown function)", None)
        if not logging._srcfile:
            return unknown
        try:
            found = self.findCaller(stack_info, stacklevel + 1)
        except ValueError:  # as `Logger._log` does
            return unknown
        if type(self).findCaller is _stock_find_caller:
            return found
        # One of another library, which may not count mlog's frames by stacklevel, or,
        # like structlog's, count its own frames that it would have left out.
        frame = _get_frame(1)
        while frame.f_code.co_filename in _INTERNAL and frame.f_back is not None:
            stacklevel -= frame.f_code.co_filename == _THIS_FILE
            frame = frame.f_back
        if not (found[0] == _THIS_FILE or _is_structlog(frame)):
            return found
        while frame.f_back is not None and (_is_structlog(frame) or stacklevel > 1):
            stacklevel -= not _is_structlog(frame)
            frame = frame.f_back
        code = frame.f_code
        stack = None
        if stack_info:
            lines = "".join(traceback.format_stack(frame)).rstrip("\n")
            stack = f"Stack (most recent call last):\n{lines}"
        return code.co_filename, frame.f_lineno, code.co_name, stack

    # --- from a record to the run and to everybody else --------------------------------

    def _dispatch(
        self, record: logging.LogRecord, level: int, asked: bool = True
    ) -> bool:
        """Show a record to the run, then to the stock path if its level lets it pass.

        Args:
            record, level: Of the call.
            asked: Whether `isEnabledFor` was asked; without it every level passes.

        Returns:
            Whether a run or a handler for metrics took part.
        """
        passes = self._passes(level) if asked else not self.disabled
        run = active()
        if run is not None:
            run.receive(record, passes)
        if formatting.depth:
            return True
        if passes:
            super().handle(record)
        elif always and level >= INFO and metric_of(record) is not None:
            self._show_always(record)
        return run is not None or bool(always)

    def _passes(self, level: int) -> bool:
        """Say what `isEnabledFor` would say without mlog."""
        if self.disabled:
            return False
        key = ~level  # beside logging's own keys: it empties this cache at each change
        passes = self._cache.get(key)  # type: ignore[attr-defined]
        if passes is None:
            own = super().getEffectiveLevel()
            passes = self.manager.disable < level and level >= own
            self._cache[key] = passes  # type: ignore[attr-defined]
        return passes  # type: ignore[no-any-return]

    def _is_silenced(self, record: logging.LogRecord) -> bool:
        """Whether nobody gets a finished record, because the logger is disabled."""
        return self.disabled and metric_of(record) is None

    def _is_heard(self, level: int) -> bool:
        """Whether the stock path leads to anybody but handlers that send to the run."""
        if self.filters or logging.Logger.callHandlers is not _stock_call_handlers:
            return True
        handlers = 0
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in logger.handlers:
                if type(handler) not in to_run:
                    return True
                handlers += 1
            logger = logger.parent if logger.propagate else None
        last = logging.lastResort
        return not handlers and (last is None or level >= last.level)

    def _show_always(self, record: logging.LogRecord) -> None:
        """Hand a metric that no level lets pass to the handlers that want it anyway."""
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in logger.handlers:
                if weakref.ref(handler) in always and record.levelno >= handler.level:
                    handler.handle(record)
            logger = logger.parent if logger.propagate else None

    def _is_stock(self) -> bool:
        """Whether records are made as `logging` itself makes them."""
        return (
            _get_factory() is logging.LogRecord
            and self._makes_stock_records
            and logging.Logger.makeRecord is _stock_make_record
            and logging.Logger.findCaller is _stock_find_caller
            and bool(logging._srcfile)
        )


class MetricRootLogger(MetricLogger, logging.RootLogger):
    """The root logger, upgraded."""


def _caller() -> FrameType:
    """Return the frame that called a level method, two calls above this one's caller."""
    try:
        return _get_frame(3)
    except ValueError:  # called by the interpreter itself, by `atexit` for example
        return _get_frame(2)


def _lean(
    name: str,
    level: int,
    msg: object,
    args: Any,
    metric: Metrics | None,
    step: object,
    extra: Mapping[str, Any] | None,
    frame: FrameType,
) -> LeanRecord:
    """Make the lean record of a call that stands in `frame` or above."""
    while frame.f_code.co_filename in _INTERNAL and frame.f_back is not None:
        frame = frame.f_back
    code, offset = frame.f_code, frame.f_lasti
    by_keyword = metric is not None
    if extra:
        metric, step, extra = _take_from_extra(metric, step, extra)
    if by_keyword and metric is not None and type(msg) is str and not msg and not args:
        return LeanMetric(name, level, metric, step, extra, code, offset)
    if len(args) == 1 and _is_mapping(args[0]) and args[0]:
        args = args[0]  # as LogRecord does
    line = frame.f_lineno
    return LeanRecord(name, level, msg, args, metric, step, extra, code, offset, line)


def _is_mapping(value: object) -> bool:
    """Tell a mapping; asking the abstract class is slow."""
    kind = type(value)
    return kind is dict or (kind not in _NO_MAPPING and isinstance(value, Mapping))


def _is_structlog(frame: FrameType) -> bool:
    """Whether a frame is one of structlog, whose `findCaller` leaves them out."""
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] == "structlog"


def _read_extra(extra: object) -> Mapping[str, Any]:
    if isinstance(extra, Mapping):
        return extra
    text = (
        f"extra must be a mapping, got {type(extra).__name__}; kept as field 'extra_'"
    )
    warn_once("extra", text)
    return {"extra_": extra}


def _take_from_extra(
    metric: Metrics | None, step: object, extra: Mapping[str, Any]
) -> tuple[Metrics | None, object, Mapping[str, Any]]:
    """Return metric, step and the other fields of a call; keywords win."""
    fields = dict(_free_names(extra))
    if metric is None and _is_mapping(fields.get("metric")):
        metric = fields.pop("metric")
    if isinstance(fields.get("step"), str):  # another library's word, not ours
        return metric, step, fields
    given_step = fields.pop("step", None)
    return metric, given_step if step is None else step, fields


def _free_names(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields with no name that a record has itself (stock raises KeyError)."""
    if _RESERVED.isdisjoint(extra):
        return extra
    taken = sorted(_RESERVED & extra.keys())
    text = f"extra= may not hold {', '.join(taken)}; kept as {taken[0]}_ and so on"
    warn_once("reserved", text)
    return {f"{k}_" if k in _RESERVED else k: v for k, v in extra.items()}


def _read_exc_info(exc_info: Any) -> Any:
    """Return what a record holds for the `exc_info` of a call."""
    if isinstance(exc_info, BaseException):
        return (type(exc_info), exc_info, exc_info.__traceback__)
    if exc_info and not isinstance(exc_info, tuple):
        return sys.exc_info()
    return exc_info


def _odd_metric(metric: object) -> dict[str, Any]:
    """Return what is no mapping as an ordinary field, with a warning."""
    text = (
        f"metric must be a mapping like {{'loss': 0.3}}, got {type(metric).__name__}; "
        "kept as an ordinary field"
    )
    warn_once("metric", text)
    return {"metric": metric}


def _warn_of_keywords(kwargs: Mapping[str, Any]) -> None:
    names = ", ".join(f"{name}=" for name in kwargs)
    text = (
        f"a logging call has no keyword {names}; write metric={{'name': number}}, step= "
        "or extra={...}; kept as ordinary fields"
    )
    warn_once("keywords", text)


def _warn_of_no_run() -> None:
    text = (
        "metric= was logged with no run open, so no file holds it; "
        "open one with mlog.start_run() or logging.basicConfig(handlers=[mlog.RunHandler()])"
    )
    warn_once("no run", text)
