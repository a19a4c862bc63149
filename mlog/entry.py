"""From a `LogRecord` to an entry: one JSON line of the file format.

Two ways lead there. `metric_line` is the short one: a metric-only call with plain
Python numbers, which costs little more than encoding the numbers. `fields_of` and
`encode` are the general one and take any record, any value and any misfortune.

Source of the layout of an entry: the README, "File format".
"""

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any, Protocol

import orjson

from mlog.context import Scope
from mlog.plain import MAX_TEXT, clean_text, cut_text, safe_str, to_json
from mlog.record import STANDARD, LeanMetric, LeanRecord, MetricText, metric_of
from mlog.types import Stream
from mlog.values import split_metric, step_of

__all__ = [
    "MAX_LINE",
    "MAX_NESTING",
    "NestingError",
    "Redacts",
    "encode",
    "event_fields",
    "fields_of",
    "halves",
    "has_nonfinite",
    "metric_line",
    "now_us",
    "salvage",
    "shrink",
    "stamp",
    "text_line",
]

MAX_LINE = 1_048_576
"""Longest entry in bytes, newline included."""

MAX_NESTING = 3
"""How deep a message may log again while it is being formatted."""

_MAX_NAMES = 10_000
_BIG = 1 << 63
_SECOND = 1_000_000_000
_PLAIN = frozenset((float, int))
_PLAIN_ARGS = frozenset((float, int, str, bool, type(None)))
_LEVEL_NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_dumps = orjson.dumps
_time_ns = time.time_ns
_modules = sys.modules
_get_ident = threading.get_ident
_main_ident = threading.main_thread().ident


class Redacts(Protocol):
    """What takes secrets out of an entry; see `mlog.redaction.Redactor`."""

    count: int
    """How many it has taken out."""

    def text(self, text: str) -> str:
        """Return the text without its secrets."""

    def fields(self, fields: Any) -> Any:
        """Return JSON-ready fields without their secrets."""


class NestingError(RecursionError):
    """A message logged itself while it was being formatted, too deep to go on."""


def _find_main_thread() -> None:
    """In a forked child the thread that forked is the main one."""
    global _main_ident
    _main_ident = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)


# --- the short way -----------------------------------------------------------------

_names: set[str] = set()
"""Metric names seen before: clean, and not too long."""

_labels: dict[int, dict[str, bytes]] = {}
"""Level to logger name to the bytes `"level":…,"logger":…`."""

_last_second: tuple[int, bytes] = (-1, b"")
"""Start of the second of the last entry, in ns since 1970, and its text."""


def metric_line(
    logger: str, level: int, metric: Any, step: Any, take: Callable[[], int]
) -> bytes:
    """Encode a metric-only call of plain numbers, or return b"" if it is not one.

    Args:
        logger, level: Of the call.
        metric: A mapping.
        step: The step, of the call or of the scope.
        take: Gives the next `seq`; called only when the line can be made.

    Returns:
        The whole line with its newline. b"": nothing was taken, go the general way;
        that learns names and labels, so that the next call of its kind is short.
    """
    try:
        values = metric.values()
        if (  # `_plain_numbers` for the most usual case, without the call
            type(metric) is dict
            and metric
            and _names.issuperset(metric)
            and _PLAIN.issuperset(map(type, values))
            and isfinite(sum(values))
        ):
            numbers = _dumps(metric)
        elif not (numbers := _plain_numbers(metric)):
            return b""
        label = _labels[level][logger]
    except (AttributeError, TypeError, KeyError, ArithmeticError):
        return b""
    now = _time_ns()
    start, text = _last_second
    if not 0 <= now - start < _SECOND:
        start, text = _begin_second(now)
    if _get_ident() != _main_ident or "asyncio" in _modules:
        numbers += _place_bytes()
    micros = (now - start) // 1_000
    if step is None:
        parts = (text, micros, take(), label, numbers)
        return b'{"ts":"%b%06dZ","seq":%d,%b,"metric":%b}\n' % parts
    if type(step) is not int or not -_BIG <= step < _BIG:
        return b""
    more = (text, micros, take(), label, step, numbers)
    return b'{"ts":"%b%06dZ","seq":%d,%b,"step":%d,"metric":%b}\n' % more


def text_line(
    record: LeanRecord,
    step: Any,
    take: Callable[[], int],
    redact: Callable[[str], str] | None,
) -> bytes:
    """Encode a lean record of a message and perhaps plain numbers, without fields.

    Args:
        record: Its message and arguments may be anything.
        step: The step, of the call or of the scope.
        take: Gives the next `seq`; called only when the line can be made.
        redact: Takes secrets out of the message.

    Returns:
        As `metric_line`.
    """
    msg, args, metric = record.msg, record.args, record.mlog_metric
    try:
        if type(msg) is not str or not msg or len(msg) > MAX_TEXT:
            return b""
        if args:
            if type(args) is not tuple or not _PLAIN_ARGS.issuperset(map(type, args)):
                return b""  # formatting would run code of others
            msg = msg % args
        label = _labels[record.levelno][record.name]
        middle = b""
        if step is not None:
            if type(step) is not int or not -_BIG <= step < _BIG:
                return b""
            middle = b',"step":%d' % step
        if metric is not None:
            if not (numbers := _plain_numbers(metric)):
                return b""
            middle = b'%b,"metric":%b' % (middle, numbers)
        text = _dumps(msg if redact is None else redact(msg))
        code = record.mlog_code
        path, function = _dumps(code.co_filename), _dumps(code.co_name)
    except (AttributeError, TypeError, KeyError, ValueError, ArithmeticError):
        return b""
    if len(text) > MAX_TEXT:
        return b""
    now = record.mlog_time_ns
    start, second = _last_second
    if not 0 <= now - start < _SECOND:
        start, second = _begin_second(now)
    if _get_ident() != _main_ident or "asyncio" in _modules:
        function += _place_bytes()
    parts = (second, (now - start) // 1_000, take(), label, text, middle)
    return _TEXT_LINE % (*parts, path, record.mlog_line, function)


_TEXT_LINE = b'{"ts":"%b%06dZ","seq":%d,%b,"msg":%b%b,"file":%b,"line":%d,"func":%b}\n'


def _plain_numbers(metric: Any) -> bytes:
    """Encode metrics of known names and plain finite numbers; b"" for others.

    May raise an AttributeError, TypeError or ArithmeticError for others, too.
    """
    values = metric.values()
    if not _PLAIN.issuperset(map(type, values)):
        metric = _without_numpy(metric)
        values = metric.values()
    if (
        type(metric) is not dict
        or not metric
        or not _names.issuperset(metric)
        or not isfinite(sum(values))
    ):
        return b""
    return _dumps(metric)  # raises a TypeError for integers beyond 64 bit


def _without_numpy(metric: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics with NumPy's scalars as plain numbers.

    Raises a TypeError where other values than numbers are left.
    """
    generic = _modules["numpy"].generic
    plain = {k: v.item() if isinstance(v, generic) else v for k, v in metric.items()}
    if not _PLAIN.issuperset(map(type, plain.values())):
        raise TypeError("not numbers")
    return plain


def _learn_label(logger: str, level: int) -> None:
    """Remember the label of an entry, so that the next one is short."""
    labels = _labels.setdefault(level, {})
    if len(labels) > _MAX_NAMES:
        labels.clear()
    label = {"level": level_name(level), "logger": clean_text(logger)}
    labels[logger] = _dumps(label)[1:-1]


def _begin_second(now: int) -> tuple[int, bytes]:
    """Return the start of a second in ns and `2026-11-23T18:27:00.`; the last is kept."""
    global _last_second
    second = now // _SECOND
    last = _last_second
    if last[0] != second * _SECOND:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _last_second = last = (second * _SECOND, text.encode())
    return last


def _place_bytes() -> bytes:
    """Return `,"thread":…,"task":…` of the calling thread, or b""."""
    place = _place()
    return b"," + _dumps(place)[1:-1] if place else b""


def _place() -> dict[str, str]:
    """Return thread (not the main one) and asyncio task of the caller."""
    place = {}
    if _get_ident() != _main_ident:
        place["thread"] = clean_text(threading.current_thread().name)
    if task := _task_name():
        place["task"] = clean_text(task)
    return place


def _task_name() -> str | None:
    asyncio = sys.modules.get("asyncio")  # not imported: then nothing runs in it
    if asyncio is None:
        return None
    try:
        loop = asyncio._get_running_loop()
        task = asyncio.current_task(loop) if loop is not None else None
        return task.get_name() if task is not None else None
    except Exception:  # half imported, or a foreign loop: a name is not worth a failure
        return None


# --- the general way ---------------------------------------------------------------


def stamp(microseconds: int) -> str:
    """Return RFC 3339 in UTC with microseconds, from microseconds since 1970.

    Source: RFC 3339, section 5.6.
    """
    start, text = _begin_second(microseconds * 1_000)
    return f"{text.decode()}{microseconds - start // 1_000:06d}Z"


def level_name(level: int) -> str:
    """Return the level's name; the five standard ones whatever `addLevelName` did."""
    return _LEVEL_NAMES.get(level) or clean_text(logging.getLevelName(level))


def fields_of(
    record: logging.LogRecord, scope: Scope, redactor: Redacts | None
) -> tuple[Stream, dict[str, Any]]:
    """Return the stream and the entry of any record, ready for `encode`.

    All code of others that an entry needs (`__str__`, `.item()`, …) runs in here.

    Args:
        record: Any record; it is not changed.
        scope: Step and bound fields of the calling context.
        redactor: Takes secrets out of texts and fields. None: nothing is taken out.

    Returns:
        The entry has `seq` 0 in its place; the writer sets it.

    Raises:
        NestingError: The message logged itself again and again while being formatted.
    """
    depth = getattr(_nesting, "depth", 0)
    if depth >= MAX_NESTING:
        raise NestingError("a record logs itself while it is being written")
    _nesting.depth = depth + 1
    try:
        return _fields_of(record, scope, redactor)
    finally:
        _nesting.depth = depth


_nesting = threading.local()


def _fields_of(
    record: logging.LogRecord, scope: Scope, redactor: Redacts | None
) -> tuple[Stream, dict[str, Any]]:
    extra, metric, step = _parts(record, scope)
    if record.name not in _labels.get(record.levelno, ()):
        _learn_label(record.name, record.levelno)
    lean = record if isinstance(record, LeanRecord) else None
    entry: dict[str, Any] = {
        "ts": stamp(
            lean.mlog_time_ns // 1_000 if lean else round(record.created * 1e6)
        ),
        "seq": 0,
        "level": level_name(record.levelno),
        "logger": clean_text(record.name),
    }
    cut = None
    message = _message(record)
    if message:
        entry["msg"], cut = _safe_text(message, redactor)
    if step is not None and (position := step_of(step)) is not None:
        entry["step"] = position
    if metric is not None:
        _add_metric(entry, record, metric, redactor)
    if message:
        if lean:
            entry["file"] = clean_text(lean.mlog_path)
            entry["line"] = lean.mlog_line
            entry["func"] = clean_text(lean.mlog_function)
        else:
            _add_call(entry, record)
    _add_place(entry, record)
    if record.exc_info or record.exc_text or record.stack_info:
        _add_trouble(entry, record, redactor)
    if extra:
        ready = to_json(extra)
        entry["extra"] = redactor.fields(ready) if redactor else ready
    if cut is not None:
        entry["cut"] = cut
    is_metric = metric is not None and ("metric" in entry or "value" in entry)
    return "metrics" if is_metric else "logs", entry


def _parts(
    record: logging.LogRecord, scope: Scope
) -> tuple[Mapping[str, Any], Mapping[Any, Any] | None, object]:
    """Return the caller's own fields, the metrics and the step of a record."""
    if isinstance(record, LeanRecord):
        extra, metric, step = (
            record.mlog_fields(),
            record.mlog_metric,
            record.mlog_step,
        )
    else:
        extra, metric, step = _stock_parts(record)
    if scope.fields:
        extra = {**scope.fields, **extra}
    return extra, metric, scope.step if step is None else step


def _stock_parts(
    record: logging.LogRecord,
) -> tuple[dict[str, Any], Mapping[Any, Any] | None, object]:
    fields = record.__dict__
    metric = metric_of(record)
    extra = {k: v for k, v in fields.items() if k not in STANDARD}
    step = fields.get("step")
    if isinstance(nested := extra.get("extra"), Mapping):  # loguru's way
        extra = {**extra, **nested}
        del extra["extra"]
        nested_step = extra.pop("step", None)
        step = nested_step if step is None else step
        if metric is not None:
            extra.pop("metric", None)
    if metric is None and (other := fields.get("metric")) is not None:
        extra["metric"] = other  # another library's word, not ours
    if isinstance(step, str):  # the same
        extra["step"], step = step, None
    return extra, metric, step


def _message(record: logging.LogRecord) -> str:
    """Return the formatted message; what cannot be formatted is shown as it came."""
    if isinstance(record, LeanMetric):
        msg = record.mlog_message()  # `msg` itself would make a text of the metrics
    else:
        msg = record.msg
    if type(msg) is str and not record.args:
        return msg
    if isinstance(msg, MetricText):
        return ""
    try:
        text = safe_str(msg)
        return text % record.args if record.args else text
    except Exception:  # wrong arguments: `logging` would print a traceback
        return f"{safe_str(msg)} {safe_str(record.args)}"


def _safe_text(text: str, redactor: Redacts | None) -> tuple[str, int | None]:
    """Return the text clean, short enough and without secrets, and its size if cut."""
    if len(text) > MAX_TEXT:
        return _safe_long_text(text, redactor)
    text = clean_text(text)
    return (redactor.text(text) if redactor else text), None


def _safe_long_text(text: str, redactor: Redacts | None) -> tuple[str, int | None]:
    """Cut a text to head and tail, having redacted twice as much as is kept.

    A secret that the cut goes through is thereby redacted, or not kept at all.
    """
    _, size = cut_text(text)
    head, tail = clean_text(text[:MAX_TEXT]), clean_text(text[-MAX_TEXT:])
    if redactor:
        head, tail = redactor.text(head), redactor.text(tail)
    half = MAX_TEXT // 2
    note = f"…[{len(text) - MAX_TEXT} characters cut]…"
    return f"{head[:half]}{note}{tail[-half:]}", size


def _add_metric(
    entry: dict[str, Any],
    record: logging.LogRecord,
    metric: Mapping[Any, Any],
    redactor: Redacts | None,
) -> None:
    numbers, values = split_metric(metric)
    if len(_names) > _MAX_NAMES:
        _names.clear()
    _names.update(numbers)
    if numbers:
        entry["metric"] = numbers
    if values:
        entry["value"] = redactor.fields(values) if redactor else values


def _add_call(entry: dict[str, Any], record: logging.LogRecord) -> None:
    """Add where the call of a stock record stands."""
    line: object = record.lineno
    entry["file"] = clean_text(safe_str(record.pathname))
    entry["line"] = line if type(line) is int else 0
    entry["func"] = clean_text(safe_str(record.funcName or ""))


def _add_place(entry: dict[str, Any], record: logging.LogRecord) -> None:
    """Add thread and task; a stock record may have been made on another thread."""
    if isinstance(record, LeanRecord) or record.thread == _get_ident():
        if _get_ident() != _main_ident or "asyncio" in _modules:
            entry.update(_place())
        return
    if record.thread is not None and record.thread != _main_ident:
        entry["thread"] = clean_text(safe_str(record.threadName))
    if task := getattr(record, "taskName", None):
        entry["task"] = clean_text(safe_str(task))


def _add_trouble(
    entry: dict[str, Any], record: logging.LogRecord, redactor: Redacts | None
) -> None:
    """Add the exception and the stack."""
    if record.exc_info:
        entry["exc"] = _exception(record.exc_info, redactor)
    elif record.exc_text:
        entry["exc"] = {"traceback": _safe_text(record.exc_text, redactor)[0]}
    if record.stack_info:
        entry["stack"] = _safe_text(safe_str(record.stack_info), redactor)[0]


def _exception(exc_info: Any, redactor: Redacts | None) -> dict[str, str]:
    try:
        kind, error, trace = exc_info
    except (TypeError, ValueError):  # `True` on a record that nobody completed
        kind, error, trace = sys.exc_info()
    try:
        lines = "".join(traceback.format_exception(kind, error, trace))
    except Exception:  # an exception whose own code fails while it is shown
        lines = "".join(traceback.format_tb(trace))
    return {
        "type": clean_text(exception_type(kind)),
        "msg": _safe_text(safe_str(error), redactor)[0],
        "traceback": _safe_text(lines, redactor)[0],
    }


def exception_type(kind: object) -> str:
    """Return `ValueError`, or with its module where it is not a builtin."""
    if not isinstance(kind, type):
        return "None" if kind is None else type(kind).__name__
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def has_nonfinite(metric: Mapping[Any, Any]) -> bool:
    """Whether one of the metrics is NaN or an infinity."""
    numbers, _ = split_metric(metric)
    return any(isinstance(value, str) for value in numbers.values())


def now_us() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1_000


def event_fields(
    name: str,
    data: Mapping[str, Any],
    redactor: Redacts | None = None,
    *,
    at: int | None = None,
) -> dict[str, Any]:
    """Return the entry of an event; `seq` is 0 in its place.

    Args:
        name, data: Of the event.
        redactor: Takes secrets out of the data.
        at: Microseconds since 1970. None: it happens now.
    """
    ready = to_json(data)
    return {
        "ts": stamp(now_us() if at is None else at),
        "seq": 0,
        "event": name,
        "data": redactor.fields(ready) if redactor else ready,
    }


def encode(entry: Mapping[str, Any]) -> bytes:
    """Return the line of an entry, newline last."""
    return _dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


_HEAD = b'{"ts":"'


def salvage(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line, None if there is none.

    Of a line with an entry cut short (by a full disk) glued before a whole one it is
    the whole one.
    """
    at = 0
    end = len(line)
    while at >= 0:
        try:
            entry = orjson.loads(line[at:])
        except ValueError:
            at = line.rfind(_HEAD, 1, end)
            end = at + len(_HEAD) - 1
            continue
        return entry if isinstance(entry, dict) else None
    return None


# --- entries that are too long -----------------------------------------------------


def halves(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Split a metric entry of several names in two, which lose nothing together.

    Message, fields and the like stay with the first. Yields nothing where there is at
    most one name.
    """
    names = [*entry.get("metric", ()), *entry.get("value", ())]
    middle = len(names) // 2
    if not middle:
        return
    yield _with_names(entry, set(names[:middle]))
    rest = {key: entry[key] for key in _OF_EVERY_PART if key in entry}
    yield _with_names(rest, set(names[middle:]))


_OF_EVERY_PART = (
    *("ts", "seq", "level", "logger", "step", "metric", "value", "thread", "task"),
)


def _with_names(entry: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the entry with these metrics and values only."""
    part: dict[str, Any] = {}
    for key, value in entry.items():
        if key in ("metric", "value"):
            value = {name: v for name, v in value.items() if name in names}
        if value or key not in ("metric", "value"):
            part[key] = value
    return part


def shrink(entry: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the entry with its longest parts cut until it fits in a line.

    Args:
        entry: An entry whose line is too long.
        size: The length of that line in bytes; kept as `cut`.
    """
    short = dict(entry)
    limit = MAX_LINE // 8
    while len(encode(short)) > MAX_LINE - 64 and limit:
        for key in ("extra", "value", "data", "exc", "stack", "msg"):
            if key in short:
                short[key] = _cut(short[key], limit)
        limit //= 4
    short.setdefault("cut", size)
    return short


def _cut(part: Any, limit: int) -> Any:
    """Return a text, or what a mapping holds, cut to about `limit` bytes."""
    if isinstance(part, str):
        return cut_text(part, limit // 4)[0]
    if len(_dumps(part)) <= limit:
        return part
    if isinstance(part, dict):
        room = max(1, limit // 256)
        few = dict(list(part.items())[:room])
        kept = {
            name: _cut(value, limit // (len(few) + 1)) for name, value in few.items()
        }
        if left := len(part) - len(kept):
            kept["…"] = f"{left} left out"
        return kept
    return {"type": "mlog.repr", "value": cut_text(safe_str(part), limit // 4)[0]}
