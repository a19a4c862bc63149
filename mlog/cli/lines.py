"""Entries as lines for people. Own ANSI: rich costs 18 times as much a line."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from mlog.escaping import escape, inline
from mlog.reader.follow import Found

__all__ = ["SHOWN_EVENTS", "EntryLines", "level_of", "wants_colour"]

SHOWN_EVENTS = frozenset(
    """
    run.start run.params run.tags run.properties run.artifact run.child run.alert
    run.dropped run.end
    """.split()
)
"""Events that people want to see; the others are for programs."""

_LEVELS = {
    **{"DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40},
    **{"CRITICAL": 50, "FATAL": 50},
}
_END_LEVELS = {"Failed": logging.ERROR, "Canceled": logging.WARNING}

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_COLOURS = {
    **{"DEBUG": _DIM, "INFO": "\x1b[36m", "WARNING": "\x1b[33m", "ERROR": "\x1b[91m"},
    **{"CRITICAL": "\x1b[7;91m", "EVENT": "\x1b[35m"},
}

_MAX_VALUE = 80
_INDENT = "\n    "


class EntryLines:
    """Makes the text of entries. For one thread at a time."""

    def __init__(
        self, *, colour: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """Choose whether to colour.

        Args:
            colour: Whether the text may have ANSI colours.
            now: Gives seconds since 1970; an entry of another day shows its date.
        """
        self._paint = _painted if colour else _plain
        self._today = time.strftime("%Y-%m-%d ", time.localtime(now()))
        self._second = ("", "")

    def text(self, found: Found) -> str:
        """Return the line of an entry with its newline, and its traceback below it."""
        entry, writer = found.entry, found.segment.writer
        clock = self._paint(self._clock(entry["ts"]), _DIM)
        if "event" in entry:
            level, logger = "EVENT", _text(entry["event"])
            parts = _event_parts(entry)
        else:
            level, logger = _text(entry.get("level")), _text(entry.get("logger"))
            parts = _parts(entry)
        label = self._paint(f"{inline(level):<7}", _COLOURS.get(level, ""))
        where = self._paint(f"[{writer}] ", _DIM) if writer else ""
        body = "  ".join(part for part in parts if part)
        name = inline(logger)
        below = "".join(_below(entry))
        return f"{clock} {label} {where}{name}: {body}{below}\n"

    def _clock(self, ts: str) -> str:
        """Return the local time of day with milliseconds, on other days the date."""
        second, local = self._second
        if ts[:19] != second:
            second, local = ts[:19], self._local(ts)
            self._second = (second, local)
        return f"{local}{ts[19:23]}" if local else inline(ts)

    def _local(self, ts: str) -> str:
        try:
            moment = datetime.fromisoformat(ts).astimezone()
        except (ValueError, OverflowError, OSError):  # no time, or one out of reach
            return ""
        return f"{moment:%Y-%m-%d %H:%M:%S}".removeprefix(self._today)


def level_of(entry: Mapping[str, Any]) -> int:
    """Return the number of an entry's level; for one without a known name INFO.

    Events have none: an alert, a loss and a run that was cancelled count as WARNING, a
    run that failed as ERROR, others as INFO.
    """
    event = entry.get("event")
    if event is None:
        return _level_number(_text(entry.get("level")))
    if event == "run.end":
        status = _text(_data(entry).get("status"))
        return _END_LEVELS.get(status, logging.INFO)
    warns = event in ("run.alert", "run.dropped")
    return logging.WARNING if warns else logging.INFO


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether to colour: on a terminal, without `NO_COLOR`, unless `TERM=dumb`.

    Source: https://no-color.org (a value that is not empty).
    """
    if env.get("NO_COLOR") or env.get("TERM") == "dumb":
        return False
    try:
        return os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def _level_number(name: str) -> int:
    number = _LEVELS.get(name)
    if number is None:
        word, _, digits = name.partition(" ")  # "Level 15"
        known = word == "Level" and digits.isascii() and digits.isdigit()
        number = int(digits[:4]) if known else logging.INFO
    return number


def _parts(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield message, metrics with their step, and the caller's own fields."""
    message = entry.get("msg")
    if message:
        yield escape(_text(message)).replace("\n", _INDENT)
    numbers = [*_pairs(entry.get("metric")), *_pairs(entry.get("value"))]
    if (step := entry.get("step")) is not None:
        numbers.append(f"step={_short(step)}")
    yield " ".join(numbers)
    yield " ".join(_pairs(entry.get("extra")))


def _event_parts(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an event says."""
    data = _data(entry)
    if entry["event"] == "run.end":
        yield inline(_text(data.get("status")))
        error = data.get("error")
        if isinstance(error, dict):
            kind, text = _text(error.get("type")), _text(error.get("msg"))
            yield inline(f"{kind}: {text}" if kind else text)
    elif entry["event"] == "run.start":
        yield inline(_text(data.get("experiment")))
        argv = data.get("argv")
        yield inline(" ".join(map(_text, argv))) if isinstance(argv, list) else ""
    else:
        yield " ".join(_pairs(data))


def _below(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield traceback and stack, indented."""
    problem = entry.get("exc") or _data(entry).get("error")
    trace = problem.get("traceback") if isinstance(problem, dict) else None
    for text in (trace, entry.get("stack")):
        if isinstance(text, str) and text:
            yield _INDENT + escape(text.rstrip("\n")).replace("\n", _INDENT)


def _pairs(fields: object) -> list[str]:
    """Return `name=value` of each field of an object."""
    if not isinstance(fields, dict):
        return []
    return [f"{inline(name)}={_short(value)}" for name, value in fields.items()]


def _short(value: object) -> str:
    """Return a value on one line, and not too long for one."""
    if type(value) is float:
        return f"{value:.6g}"
    if isinstance(value, dict) and isinstance(kind := value.get("type"), str):
        if kind.startswith("mlog."):
            return inline(f"<{kind[:_MAX_VALUE]}>")
    text = value if isinstance(value, str) else str(value)
    return inline(text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…")


def _data(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    data = entry.get("data")
    return data if isinstance(data, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_RESET}" if colour else text


def _plain(text: str, colour: str) -> str:
    return text
