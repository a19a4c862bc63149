"""Entries as lines for people. Own ANSI: rich costs 18 times as much a line."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from mlog.cli.table import fit
from mlog.escaping import escape, inline
from mlog.reader.follow import Found
from mlog.reader.levels import level_of
from mlog.widths import text_width

__all__ = ["SHOWN_EVENTS", "EntryLines", "run_labels", "wants_colour"]

SHOWN_EVENTS = frozenset(
    """
    run.start run.params run.tags run.properties run.artifact run.child run.alert
    run.dropped run.end
    """.split()
)
"""Events that people want to see; the others are for programs."""

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_EVENT = "\x1b[35m"
_BY_LEVEL = ((50, "\x1b[7;91m"), (40, "\x1b[91m"), (30, "\x1b[33m"), (20, "\x1b[36m"))
_OF_RUNS = ("\x1b[32m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[33m", "\x1b[31m")
_FRESH_ID = re.compile(r"[0-9]{8}-[0-9]{6}-([0-9a-f]{6})")
_MAX_LABEL = 20
_MOST_KEPT = 1_000

_NONFINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_MAX_VALUE = 80
_INDENT = "\n    "


class EntryLines:
    """Makes the text of entries. For one thread at a time."""

    def __init__(
        self,
        *,
        colour: bool = False,
        labels: Mapping[Path, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Choose whether to colour.

        Args:
            colour: Whether the text may have ANSI colours.
            labels: What to call the run in each folder. None: there is only one run.
            now: Gives seconds since 1970; an entry of another day shows its date.
        """
        self._paint = _painted if colour else _plain
        self._key_colours = (_DIM, _RESET) if colour else ("", "")
        self._labels = self._painted_labels(labels or {})
        self._today = time.strftime("%Y-%m-%d ", time.localtime(now()))
        self._second = ("", "")
        self._levels: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def text(self, found: Found, note: str = "", *, sign: str = "") -> str:
        """Return the line of an entry with its newline, and its traceback below it.

        Args:
            found: The entry.
            note: Stands at the end of its first line.
            sign: Stands before the name of its process.
        """
        entry, writer = found.entry, found.segment.writer
        paint = self._paint
        clock = paint(self._clock(entry["ts"]), _DIM)
        if "event" in entry:
            label = paint(f"{'EVENT':<7}", _EVENT)
            name = inline(_text(entry["event"]))
            parts = list(_event_parts(entry, self._key_colours))
        else:
            label = self._label(entry)
            name = self._name(entry.get("logger"))
            parts = _parts(entry, self._key_colours)
        body = "  ".join([part for part in parts if part])
        if note:
            body = _with_note(body, paint(note, _BOLD))
        if "exc" in entry or "stack" in entry or "data" in entry:
            body += "".join(_below(entry))
        run = self._labels.get(found.folder, "") if self._labels else ""
        where = paint(f"{sign}[{writer}] ", _DIM) if writer else sign
        return f"{clock} {run}{label} {where}{name}: {body}\n"

    def _label(self, entry: Mapping[str, Any]) -> str:
        """Return the level of an entry, in its colour."""
        level = entry.get("level")
        if type(level) is not str:
            level = _text(level)
        known = self._levels.get(level)
        if known is None:
            known = self._paint(f"{inline(level):<7}", _colour(entry))
            _keep(self._levels, level, known)
        return known

    def _name(self, logger: object) -> str:
        """Return the name of a logger, safe to show."""
        if type(logger) is not str:
            logger = _text(logger)
        known = self._names.get(logger)
        if known is None:
            known = inline(logger)
            _keep(self._names, logger, known)
        return known

    def clock(self, ts: str) -> str:
        """Return the local time of an entry, as its line has it."""
        return self._clock(ts)

    def _painted_labels(self, labels: Mapping[Path, str]) -> dict[Path, str]:
        width = max(map(len, labels.values()), default=0)
        return {
            folder: self._paint(f"{label:<{width}} ", _OF_RUNS[n % len(_OF_RUNS)])
            for n, (folder, label) in enumerate(labels.items())
        }

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


def run_labels(folders: Sequence[Path]) -> dict[Path, str]:
    """Return short names of some runs: six digits where they tell them apart."""
    matches = [_FRESH_ID.fullmatch(folder.name) for folder in folders]
    short = [
        match[1] if match else folder.name
        for match, folder in zip(matches, folders, strict=True)
    ]
    if len({*short}) < len({*folders}):  # else of all the whole id
        short = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    elif max(map(text_width, short), default=0) > _MAX_LABEL:
        cut = [fit(name, _MAX_LABEL) for name in short]
        short = cut if len({*cut}) == len({*short}) else short
    return dict(zip(folders, map(inline, short), strict=True))


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


def _keep(known: dict[str, str], text: str, shown: str) -> None:
    """Remember how a text is shown; programs use few, but may use any number."""
    if len(known) >= _MOST_KEPT:
        known.clear()
    known[text] = shown


def _colour(entry: Mapping[str, Any]) -> str:
    """Return the colour of a level, by its number."""
    number = level_of(entry)
    for least, colour in _BY_LEVEL:
        if number >= least:
            return colour
    return _DIM


def _with_note(body: str, note: str) -> str:
    """Put a note at the end of the first of some lines."""
    first, newline, rest = body.partition("\n")
    return f"{first}  {note}{newline}{rest}"


def _parts(entry: Mapping[str, Any], colours: tuple[str, str]) -> list[str]:
    """Return message, metrics with their step, and the caller's own fields."""
    parts = []
    message = entry.get("msg")
    if message:
        text = escape(_text(message))
        parts.append(text.replace("\n", _INDENT) if "\n" in text else text)
    if "metric" in entry or "value" in entry or "step" in entry:
        numbers = _pairs(entry.get("metric"), colours)
        numbers += _pairs(entry.get("value"), colours)
        if (step := entry.get("step")) is not None:
            numbers += _pairs({"step": step}, colours)
        parts.append(" ".join(numbers))
    if "extra" in entry:
        parts.append(" ".join(_pairs(entry["extra"], colours)))
    return parts


def _event_parts(entry: Mapping[str, Any], colours: tuple[str, str]) -> Iterator[str]:
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
        yield " ".join(_pairs(data, colours))


def _below(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield traceback and stack, indented."""
    problem = entry.get("exc") or _data(entry).get("error")
    trace = problem.get("traceback") if isinstance(problem, dict) else None
    for text in (trace, entry.get("stack")):
        if isinstance(text, str) and text:
            yield _INDENT + escape(text.rstrip("\n")).replace("\n", _INDENT)


def _pairs(fields: object, colours: tuple[str, str]) -> list[str]:
    """Return `name=value` of each field of an object."""
    if not isinstance(fields, dict):
        return []
    begin, end = colours
    return [
        f"{begin}{inline(name)}={end}{_short(value)}" for name, value in fields.items()
    ]


def _short(value: object) -> str:
    """Return a value on one line, and not too long for one."""
    if type(value) is float:
        return f"{value:.6g}" if isfinite(value) else _NONFINITE[repr(value)]
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
